//! A piece of text: marks taken off, and broken into lines.

use crate::config::usage::wrap;

/// The columns of a line; examples may be wider.
pub(super) const WIDTH: usize = 80;
/// Code up to this length is not broken between lines.
const LONGEST_UNBROKEN: usize = 40;
/// Stands for a space at which no line is broken.
pub(super) const UNBROKEN: char = '\u{1f}';

/// Breaks text into lines of at most `width` columns; only a word that is longer has a longer line.
pub(super) fn fill(text: &str, width: usize) -> Vec<String> {
    wrap(text, width).into_iter().map(|line| line.replace(UNBROKEN, " ").trim_end().to_string()).collect()
}

/// Text without its marks. Code stays as it is, between quotes if that is wanted and it has spaces,
/// so that a reader sees where it ends.
pub(super) fn inline(text: &str, quote: bool) -> String {
    let mut out = String::new();
    // Behind every second backtick is code, unless none closes it.
    let parts: Vec<&str> = text.split('`').collect();
    for (i, part) in parts.iter().enumerate() {
        let (is_code, closed) = (i % 2 == 1, i + 1 < parts.len());
        match (is_code, closed) {
            (false, _) => out.push_str(&without_emphasis(part)),
            (true, false) => {
                out.push('`');
                out.push_str(part);
            }
            (true, true) => {
                let quote = match (part.contains('\''), part.contains('"')) {
                    _ if !quote || !part.contains(' ') => "",
                    (_, true) => "",
                    (true, false) => "\"",
                    (false, false) => "'",
                };
                let unbroken = part.chars().count() <= LONGEST_UNBROKEN;
                let code = if unbroken { part.replace(' ', &UNBROKEN.to_string()) } else { part.to_string() };
                out.extend([quote, &code, quote]);
            }
        }
    }
    out
}

/// Drops `**` and pairs of `*` around words; `*.json` keeps its star.
fn without_emphasis(text: &str) -> String {
    let text = text.replace("**", "");
    let Some((before, rest)) = text.split_once('*') else { return text };
    match rest.split_once('*') {
        Some((inside, after)) if !inside.is_empty() && inside.trim() == inside => {
            format!("{before}{inside}{}", without_emphasis(after))
        }
        _ => text,
    }
}
