//! The paths in a file: each leaf of each `use`, and each path in the code, made absolute.

use super::source::{Token, closing, stands};
use std::collections::{BTreeMap, BTreeSet};

/// Where a path leads, from the root of the crate.
pub(crate) struct Path {
    /// Without `crate`.
    pub(crate) segments: Vec<String>,
    /// `pub(in path)`, which imports nothing.
    pub(crate) is_visibility: bool,
}

/// The paths of a module that lead into the crate. `modules` are those that there are.
pub(crate) fn paths(module: &[String], tokens: &[Token], modules: &BTreeSet<Vec<String>>) -> Vec<Path> {
    let mut reader = Reader { tokens, modules, names: children(module, tokens), found: Vec::new() };
    // Names that `use` gives to modules may be used before it, so there are two rounds.
    for _ in 0..2 {
        reader.found.clear();
        reader.read(module);
    }
    reader.found
}

/// A module within another.
pub(crate) fn child(module: &[String], name: &str) -> Vec<String> {
    module.iter().cloned().chain([name.to_string()]).collect()
}

/// The child modules that are declared here, by the name that they have here.
fn children(module: &[String], tokens: &[Token]) -> BTreeMap<String, Vec<String>> {
    let declared = tokens.windows(3).filter(|w| w[0].is("mod") && w[1].is_name() && w[2].is(";"));
    declared.map(|w| (w[1].text.clone(), child(module, &w[1].text))).collect()
}

struct Reader<'a> {
    tokens: &'a [Token],
    modules: &'a BTreeSet<Vec<String>>,
    /// Modules that have a name of their own here.
    names: BTreeMap<String, Vec<String>>,
    found: Vec<Path>,
}

/// What a `use` brings: the path as it is written, and the name that it gets.
struct Leaf {
    segments: Vec<String>,
    name: String,
}

impl Reader<'_> {
    fn read(&mut self, module: &[String]) {
        // The module at each place, with the place where it ends.
        let mut inside = vec![(module.to_vec(), self.tokens.len())];
        let mut at = 0;
        while at < self.tokens.len() {
            while inside.len() > 1 && inside.last().is_some_and(|(_, end)| at >= *end) {
                inside.pop();
            }
            let here = inside.last().expect("the file is a module").0.clone();
            let token = &self.tokens[at];
            if token.is("mod") && stands(self.tokens, at + 2, &["{"]) {
                let name = &self.tokens[at + 1].text;
                inside.push((child(&here, name), closing(self.tokens, at + 2)));
                at += 3;
            } else if token.is("use") && !stands(self.tokens, at + 1, &["<"]) {
                at = self.use_item(at + 1, &here);
            } else if self.starts_path(at) {
                at = self.inline_path(at, &here);
            } else {
                at += 1;
            }
        }
    }

    fn use_item(&mut self, start: usize, here: &[String]) -> usize {
        let mut leaves = Vec::new();
        let other_crate = stands(self.tokens, start, &["::"]);
        let end = tree(self.tokens, start, &[], &mut leaves);
        for leaf in leaves {
            let Some(segments) = self.absolute(&leaf.segments, here).filter(|_| !other_crate) else {
                continue;
            };
            if self.modules.contains(&segments) {
                self.names.insert(leaf.name, segments.clone());
            }
            self.found.push(Path { segments, is_visibility: false });
        }
        end
    }

    fn starts_path(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        let continues = at > 0 && (self.tokens[at - 1].is("::") || self.tokens[at - 1].is("."));
        token.is_name() && !continues && (stands(self.tokens, at + 1, &["::"]) || self.is_after_in(at))
    }

    fn is_after_in(&self, at: usize) -> bool {
        at >= 3 && stands(self.tokens, at - 3, &["pub", "(", "in"])
    }

    fn inline_path(&mut self, start: usize, here: &[String]) -> usize {
        let mut segments = vec![self.tokens[start].text.clone()];
        let mut at = start + 1;
        while stands(self.tokens, at, &["::"]) && self.tokens.get(at + 1).is_some_and(Token::is_name) {
            segments.push(self.tokens[at + 1].text.clone());
            at += 2;
        }
        if let Some(segments) = self.absolute(&segments, here) {
            self.found.push(Path { segments, is_visibility: self.is_after_in(start) });
        }
        at
    }

    /// From the root of the crate; none for paths into other crates, and for those that begin with a
    /// type.
    fn absolute(&self, segments: &[String], here: &[String]) -> Option<Vec<String>> {
        let (first, rest) = segments.split_first()?;
        let start = match first.as_str() {
            "crate" => Vec::new(),
            "self" => here.to_vec(),
            "super" => here.split_last()?.1.to_vec(),
            name => self.names.get(name)?.clone(),
        };
        let up = rest.iter().take_while(|segment| *segment == "super").count();
        let start = &start[..start.len().checked_sub(up)?];
        Some([start, &rest[up..]].concat())
    }
}

/// Reads a tree of `use` and returns the place behind it.
fn tree(tokens: &[Token], mut at: usize, before: &[String], leaves: &mut Vec<Leaf>) -> usize {
    let mut segments = before.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                let end = closing(tokens, at);
                at += 1;
                while at < end {
                    at = tree(tokens, at, &segments, leaves);
                    at += usize::from(stands(tokens, at, &[","]));
                }
                return end + 1;
            }
            "*" => {
                at += 1;
                break;
            }
            "as" => break,
            _ if token.is_name() => {
                segments.push(token.text.clone());
                at += 1;
            }
            _ => break,
        }
    }
    // `a::{self}` is `a`.
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    let name = match tokens.get(at + 1) {
        Some(name) if stands(tokens, at, &["as"]) => {
            at += 2;
            name.text.clone()
        }
        _ => segments.last().cloned().unwrap_or_default(),
    };
    leaves.push(Leaf { segments, name });
    at
}

// ---- Shown to work ----

#[cfg(test)]
fn found(module: &[&str], text: &str) -> Vec<String> {
    let owned = |path: &[&str]| path.iter().map(|segment| segment.to_string()).collect::<Vec<_>>();
    let modules = [&["a"][..], &["a", "b"], &["a", "c"], &["d"]].map(owned).into();
    let source = super::source::Source::of(text);
    let mut found: Vec<String> = paths(&owned(module), &source.production, &modules)
        .into_iter()
        .map(|p| p.segments.join("::"))
        .collect();
    found.sort();
    found
}

#[test]
fn every_way_to_write_a_path_is_found() {
    for (text, expected) in [
        ("use crate::d::{self, E, f::{G as H, *}};", &["d", "d::E", "d::f", "d::f::G"][..]),
        ("use super::X; use super::super::d::Y; use self::inner::Z;", &["a::X", "a::b::inner::Z", "d::Y"]),
        ("fn f() -> crate::d::T { super::g::<u8>(1) }", &["a::g", "d::T"]),
        ("use crate::{a::c, d as e}; fn f() { c::g(); e::h() }", &["a::c", "a::c::g", "d", "d::h"]),
        ("pub use child::X; mod child; fn f() { child::g() }", &["a::b::child::X", "a::b::child::g"]),
        (
            "mod inner { use super::X; fn f() { super::super::g() } } use super::Y;",
            &["a::Y", "a::b::X", "a::g"],
        ),
        ("use std::fs; use ::d::x; fn f(d: D) { d.a::<u8>(); std::fs::read(); }", &[]),
        ("fn f() -> impl Iterator + use<'_> { $crate::d::g!() }", &["d::g"]),
        ("pub(in crate::a) use crate::d;", &["a", "d"]),
        ("mod child; // use crate::d;\n #[cfg(test)] mod tests { use crate::d; }", &[]),
    ] {
        assert_eq!(found(&["a", "b"], text), expected, "{text}");
    }
}
