//! Sets of characters: Unicode's general categories, and which characters differ by case alone.

use std::sync::LazyLock;
use unicode_general_category::{GeneralCategory, get_general_category};

/// The first and the last of the code points that are no characters.
const SURROGATES: (u32, u32) = (0xD800, 0xDFFF);
const LAST: u32 = char::MAX as u32;
/// No letter beyond has another case.
const LAST_WITH_CASE: char = '\u{1FFFF}';

/// A set of characters: pairs of first and last, in order, with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CharSet(Vec<(u32, u32)>);

impl CharSet {
    /// The characters of these pairs of first and last.
    pub(super) fn of(pairs: &[(char, char)]) -> CharSet {
        let mut set = CharSet(pairs.iter().map(|&(a, b)| (u32::from(a), u32::from(b))).collect());
        set.order();
        set
    }

    /// A general category as Go names it, for instance `L`, `Lu` or `Any`; none if it has no such name.
    pub(super) fn category(name: &str) -> Option<CharSet> {
        if name == "Any" {
            return Some(CharSet(vec![(0, LAST)]));
        }
        // In Go, what is not assigned (`Cn`) belongs to no category.
        let is_meant = |short: &str| short != "Cn" && short.starts_with(name);
        let meant = RUNS.iter().filter(|(_, _, category)| is_meant(category.abbreviation()));
        let mut set = CharSet(meant.map(|&(first, last, _)| (first, last)).collect());
        set.order();
        (!name.is_empty() && !set.0.is_empty()).then_some(set)
    }

    /// Adds the characters of another set.
    pub(super) fn add(&mut self, other: &CharSet) {
        self.0.extend_from_slice(&other.0);
        self.order();
    }

    /// Adds what differs by case alone from what is in the set.
    pub(super) fn add_cases(&mut self) {
        let touched = ORBITS.iter().filter(|(_, orbit)| orbit.iter().any(|c| self.has(*c)));
        let more: Vec<(u32, u32)> = touched.flat_map(|(_, orbit)| orbit).map(|c| (*c, *c)).collect();
        self.0.extend(more);
        self.order();
    }

    /// Every other character.
    pub(super) fn inverted(&self) -> CharSet {
        let (mut gaps, mut next) = (Vec::new(), 0);
        for &(first, last) in &self.0 {
            if next < first {
                gaps.push((next, first - 1));
            }
            next = last + 1;
        }
        if next <= LAST {
            gaps.push((next, LAST));
        }
        CharSet(gaps)
    }

    /// Pairs of first and last, without the code points that are no characters.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (char, char)> {
        let (low, high) = SURROGATES;
        let halves = self
            .0
            .iter()
            .flat_map(move |&(first, last)| [(first, last.min(low - 1)), (first.max(high + 1), last)]);
        halves
            .filter(|(first, last)| first <= last)
            .filter_map(|(first, last)| Some((char::from_u32(first)?, char::from_u32(last)?)))
    }

    fn has(&self, c: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= c);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| c <= *last)
    }

    fn order(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by(|(first, last), (_, before)| {
            let touches = *first <= before.saturating_add(1);
            if touches {
                *before = (*before).max(*last);
            }
            touches
        });
    }
}

/// Neighbours of one category: first, last, which. Found once, when an expression first needs it.
static RUNS: LazyLock<Vec<(u32, u32, GeneralCategory)>> = LazyLock::new(|| {
    let mut runs: Vec<(u32, u32, GeneralCategory)> = Vec::new();
    for c in '\0'..=char::MAX {
        let (c, category) = (u32::from(c), get_general_category(c));
        match runs.last_mut() {
            Some((_, last, before)) if *before == category => *last = c,
            _ => runs.push((c, c, category)),
        }
    }
    runs
});

/// Characters that differ by case alone, by what they have in common. Found once, like [`RUNS`].
static ORBITS: LazyLock<Vec<(u32, Vec<u32>)>> = LazyLock::new(|| {
    let folds = ('\0'..=LAST_WITH_CASE).map(|c| (u32::from(folded(c)), u32::from(c)));
    let mut cased: Vec<(u32, u32)> = folds.filter(|(common, c)| common != c).collect();
    let common: Vec<(u32, u32)> = cased.iter().map(|(common, _)| (*common, *common)).collect();
    cased.extend(common);
    cased.sort_unstable();
    cased.dedup();
    let mut orbits: Vec<(u32, Vec<u32>)> = Vec::new();
    for (common, c) in cased {
        match orbits.last_mut() {
            Some((before, orbit)) if *before == common => orbit.push(c),
            _ => orbits.push((common, vec![c])),
        }
    }
    orbits
});

/// The characters that differ from `c` by case alone, itself included; only itself if it has no case.
pub(super) fn cases(c: char) -> CharSet {
    let found = ORBITS.binary_search_by_key(&u32::from(folded(c)), |(common, _)| *common);
    let mut set = CharSet::of(&[(c, c)]);
    if let Some((_, orbit)) = found.ok().and_then(|at| ORBITS.get(at)) {
        set.0.extend(orbit.iter().map(|c| (*c, *c)));
        set.order();
    }
    set
}

/// The form that all characters have in common that differ by case alone (Unicode's simple folding).
fn folded(c: char) -> char {
    fn single(mut mapped: impl Iterator<Item = char>, c: char) -> char {
        match (mapped.next(), mapped.next()) {
            (Some(other), None) => other,
            _ => c,
        }
    }
    match c {
        // Its capital is `I` in Turkish texts only.
        'ı' => c,
        _ => {
            let upper = single(c.to_uppercase(), c);
            single(upper.to_lowercase(), upper)
        }
    }
}
