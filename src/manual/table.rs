//! Tables in plain text. One that fits the line becomes aligned columns; in one that is a little too
//! wide the widest columns wrap; one that would leave them too narrow to read becomes a list of
//! entries.

use super::text::{UNBROKEN, WIDTH, fill, inline};

/// Between columns.
const GAP: usize = 2;
/// A column narrower than this is no place for a sentence.
const NARROWEST: usize = 18;
/// How far the text of an entry is indented.
const INDENT: usize = 4;

/// The lines of a table whose first row is its head.
pub(super) fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| (0..count).map(|i| row.get(i).map_or(String::new(), |cell| inline(cell, false))).collect())
        .collect();
    match widths(&rows, count) {
        Some(widths) => columns(&rows, &widths),
        None => entries(&rows),
    }
}

/// How wide each column is to be; none if there is no room to read them side by side.
fn widths(rows: &[Vec<String>], count: usize) -> Option<Vec<usize>> {
    let natural: Vec<usize> = (0..count).map(|i| longest(rows.iter().map(|row| row[i].as_str()))).collect();
    let room = WIDTH.checked_sub(GAP * count.saturating_sub(1))?;
    let with = |cap: usize| natural.iter().map(|width| *width.min(&cap)).collect::<Vec<usize>>();
    // The widest columns share what the narrower ones leave.
    let cap = (0..=room).rev().find(|cap| with(*cap).iter().sum::<usize>() <= room)?;
    let fits = |i: usize| {
        let word = longest(rows.iter().flat_map(|row| row[i].split_whitespace()));
        natural[i] <= cap || (cap >= NARROWEST && word <= cap)
    };
    (0..count).all(fits).then(|| with(cap))
}

fn longest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

fn columns(rows: &[Vec<String>], widths: &[usize]) -> Vec<String> {
    let mut wrapped: Vec<Vec<String>> = rows.iter().map(|row| row_lines(row, widths)).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    // Where the first cell does not begin each row and nothing else, a blank line between rows does.
    let first_lines = |row: &Vec<String>| row.first().map_or(0, |cell| fill(cell, widths[0]).len());
    let several = wrapped.iter().skip(1).any(|lines| lines.len() > 1);
    let apart = several && rows.iter().skip(1).any(|row| first_lines(row) != 1);
    if let Some(head) = wrapped.first_mut() {
        head.push(rule.join(&" ".repeat(GAP)).trim_end().to_string());
    }
    let separators = wrapped.len().saturating_sub(1);
    let mut out = Vec::new();
    for (i, lines) in wrapped.into_iter().enumerate() {
        out.extend(lines);
        if apart && i > 0 && i < separators {
            out.push(String::new());
        }
    }
    out
}

/// One row, each cell wrapped within its column.
fn row_lines(row: &[String], widths: &[usize]) -> Vec<String> {
    let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| fill(cell, *width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let line = |at: usize| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let text = cell.get(at).map_or("", String::as_str);
            line.push_str(&format!("{text:width$}{:GAP$}", ""));
        }
        line.trim_end().to_string()
    };
    (0..height).map(line).collect()
}

/// Each row as an entry: its first cell, then the others with the names of their columns, then the
/// last, which says what it is.
fn entries(rows: &[Vec<String>]) -> Vec<String> {
    let Some((head, body)) = rows.split_first() else { return Vec::new() };
    let mut out = Vec::new();
    for row in body {
        if !out.is_empty() {
            out.push(String::new());
        }
        let mut cells = row.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
        out.extend(cells.next().into_iter().flat_map(|(_, cell)| fill(cell, WIDTH)));
        let (last, between): (Vec<_>, Vec<_>) = cells.partition(|(i, _)| i + 1 == row.len());
        let between: Vec<String> =
            between.iter().map(|(i, cell)| format!("{}:{UNBROKEN}{cell}", head[*i])).collect();
        let texts = [between.join("; "), last.into_iter().map(|(_, cell)| cell.as_str()).collect()];
        let indented = texts.iter().flat_map(|text| fill(text, WIDTH - INDENT));
        out.extend(indented.map(|line| format!("{:INDENT$}{line}", "")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| cell.to_string()).collect()).collect()
    }

    #[test]
    fn a_small_table_is_aligned() {
        let rows = table(&[&["what", "limit"], &["a `name`", "255"], &["", "1"], &["ü"]]);
        assert_eq!(lines(&rows), ["what    limit", "------  -----", "a name  255", "        1", "ü"]);
    }

    #[test]
    fn a_wider_one_wraps_its_widest_columns() {
        let long = "streams that others have open here and that wait for more than one thing";
        let rows = table(&[&["what", "limit", "beyond it"], &[long, "128", long], &["b", "1", "c"]]);
        let expected = [
            "what                                 limit  beyond it",
            "-----------------------------------  -----  -----------------------------------",
            "streams that others have open here   128    streams that others have open here",
            "and that wait for more than one             and that wait for more than one",
            "thing                                       thing",
            "",
            "b                                    1      c",
        ];
        assert_eq!(lines(&rows), expected);
    }

    #[test]
    fn one_without_room_for_its_columns_becomes_entries() {
        let name = "a-name-that-cannot-be-broken-anywhere-because-it-is-a-name";
        let rows = table(&[
            &["flag", "key", "value", "meaning"],
            &["`-x`", name, "`a number`", "What it does."],
            &["", name, "", "What it does, and why, and when, and for whom, and for how long, and what not."],
        ]);
        let expected = [
            "-x".to_string(),
            format!("    key: {name};"),
            "    value: a number".to_string(),
            "    What it does.".to_string(),
            String::new(),
            name.to_string(),
            "    What it does, and why, and when, and for whom, and for how long, and what".to_string(),
            "    not.".to_string(),
        ];
        assert_eq!(lines(&rows), expected);
    }

    #[test]
    fn a_head_alone_and_nothing_at_all() {
        assert_eq!(lines(&table(&[&["a", "b"]])), ["a  b", "-  -"]);
        assert_eq!(lines(&[]), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_table_is_too_wide_or_loses_a_letter(
            rows in proptest::collection::vec(proptest::collection::vec("([a-z]{0,9} ){0,6}", 1..6), 2..5),
        ) {
            let lines = lines(&rows);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= WIDTH && !line.ends_with(' ')));
            let count = |texts: &[String]| texts.concat().bytes().filter(u8::is_ascii_lowercase).count();
            prop_assert!(count(&lines) >= count(&rows[1..].concat()));
        }
    }
}
