//! The two forms of output that scripts rely on: aligned columns and Go's JSON.

use super::console::Failure;
use crate::model::lossy;
use serde::Serialize;

/// `-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl OutputFormat {
    /// Reads the value of `-format`.
    pub(super) fn parse(text: Option<&str>) -> Result<OutputFormat, Failure> {
        match text {
            None | Some("text") => Ok(OutputFormat::Text),
            Some("json") => Ok(OutputFormat::Json),
            Some(other) => {
                Err(Failure::Message(format!("Encoding error: Invalid output format \"{other}\"")))
            }
        }
    }
}

/// Rows as lines: every column as wide as its widest cell, two blanks between columns.
///
/// An empty last cell leaves the two blanks before it at the end of its line, except on the
/// last line. Serf does so, and scripts compare.
pub(super) fn columns<const N: usize>(rows: &[[Vec<u8>; N]]) -> Vec<u8> {
    // In characters: a byte that is none is shown as one.
    let width_of = |cell: &[u8]| lossy(cell).chars().count();
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(width_of(cell));
        }
    }
    let mut out = Vec::new();
    for row in rows {
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            out.extend_from_slice(cell);
            if i + 1 < N {
                let blanks = width - width_of(cell) + 2;
                out.extend(std::iter::repeat_n(b' ', blanks));
            }
        }
        out.push(b'\n');
    }
    out.trim_ascii().to_vec()
}

/// JSON as Go's `MarshalIndent` writes it with an indent of two blanks.
///
/// Go escapes what could end a script element in a web page. Outside of strings JSON has none
/// of these characters, so the finished text can be searched for them.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    let plain = serde_json::to_string_pretty(value).map_err(|e| Failure::message("Encoding error", e))?;
    let mut out = String::with_capacity(plain.len());
    let mut chars = plain.chars();
    while let Some(c) = chars.next() {
        match c {
            // Serf knows no short form for these two.
            '\\' => match chars.next() {
                Some('b') => out.push_str("\\u0008"),
                Some('f') => out.push_str("\\u000c"),
                other => out.extend(['\\'].into_iter().chain(other)),
            },
            // The last one is what stands for a byte that is no text; Go escapes it then.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{fffd}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)))
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn columns_are_those_of_serf() {
        // Printed by Serf 0.8.2, up to its random order of tags.
        let rows = [
            ["a", "127.8.2.1:7946", "alive", "h=<a&b>,x=1"],
            ["a-longer", "127.8.2.2:7946", "alive", ""],
            ["éééééééééééé", "127.8.2.5:7946", "alive", ""],
        ]
        .map(|row| row.map(|cell| cell.as_bytes().to_vec()));
        assert_eq!(
            String::from_utf8(columns(&rows)).unwrap(),
            "a             127.8.2.1:7946  alive  h=<a&b>,x=1\n\
             a-longer      127.8.2.2:7946  alive  \n\
             éééééééééééé  127.8.2.5:7946  alive"
        );
        assert_eq!(columns::<3>(&[]), b"");
        let rows = [[&b"\xe9\xff"[..], b"x"], ["éa".as_bytes(), b"y"]].map(|row| row.map(<[u8]>::to_vec));
        assert_eq!(columns(&rows), b"\xe9\xff  x\n\xc3\xa9a  y");
    }

    #[test]
    fn json_is_that_of_go() {
        let map = BTreeMap::from([("k", "<a>&\"\\\u{2028}\n\u{1}")]);
        assert_eq!(json(&map).unwrap(), "{\n  \"k\": \"\\u003ca\\u003e\\u0026\\\"\\\\\\u2028\\n\\u0001\"\n}");
        assert_eq!(json(&"\u{8}\u{c}\\b\t").unwrap(), "\"\\u0008\\u000c\\\\b\\t\"");
        assert_eq!(json(&BTreeMap::<String, String>::new()).unwrap(), "{}");
        assert_eq!(json(&None::<u8>).unwrap(), "null");
    }

    #[test]
    fn formats_by_name() {
        assert_eq!(OutputFormat::parse(None).unwrap(), OutputFormat::Text);
        assert_eq!(OutputFormat::parse(Some("text")).unwrap(), OutputFormat::Text);
        assert_eq!(OutputFormat::parse(Some("json")).unwrap(), OutputFormat::Json);
        let Err(Failure::Message(text)) = OutputFormat::parse(Some("xml")) else { panic!("accepted") };
        assert_eq!(text, "Encoding error: Invalid output format \"xml\"");
    }
}
