//! What was probably meant by a key that does not exist.

use super::options::settings;

/// The known key that is most like this one, if any is like it at all.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let flat = key.replace('.', "_");
    let keys = || settings().filter_map(|option| option.key);
    // Some flags have other names than their keys: `snapshot` is `snapshot_path`.
    let flag = settings().find(|option| option.flag().is_some_and(|flag| flag.replace('-', "_") == flat));
    // And where the object is left out: `disable_ipv4` is `mdns.disable_ipv4`.
    let part = || keys().find(|k| k.split('.').any(|part| part == key));
    let inside = || keys().find(|k| key.len() > 4 && (k.contains(&key) || key.contains(k)));
    let like = || nearest_among(&key, keys());
    flag.and_then(|option| option.key).or_else(like).or_else(part).or_else(inside)
}

/// The known word that is most like this one, if any is like it at all.
pub(crate) fn nearest_among<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (known, distance) = known.map(|known| (known, distance(known, word))).min_by_key(|(_, d)| *d)?;
    (distance <= 2.max(known.len() / 4)).then_some(known)
}

/// Letters to add, remove or change to get from one text to the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    // Nothing as long as this is like a key.
    if other.len() > 64 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_names_of_flags_are_understood() {
        for (key, meant) in [
            ("node_nam", Some("node_name")),
            ("node-name", Some("node_name")),
            ("node", Some("node_name")),
            ("snapshot", Some("snapshot_path")),
            ("retry_max", Some("retry_max_attempts")),
            ("Join", Some("start_join")),
            ("leave_on_interrupt", Some("skip_leave_on_interrupt")),
            ("event_handler", Some("event_handlers")),
            ("log-level", Some("log_level")),
            ("disable_ipv4", Some("mdns.disable_ipv4")),
            ("mdns.iface", Some("mdns.interface")),
            ("bogus", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(key), meant, "{key}");
        }
        assert_eq!(nearest(&"bind".repeat(1000)), Some("bind"));
    }

    #[test]
    fn a_word_among_others() {
        for (word, meant) in
            [("limts", Some("limits")), ("tag", Some("tags")), ("snapshots", None), ("", None)]
        {
            assert_eq!(nearest_among(word, ["limits", "tags"].into_iter()), meant, "{word}");
        }
        assert_eq!(nearest_among("x", [].into_iter()), None);
    }

    #[test]
    fn distances() {
        for (one, other, n) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("bind", "bnid", 2), ("tags", "tag", 1)]
        {
            assert_eq!(distance(one, other), n, "{one} {other}");
        }
    }
}
