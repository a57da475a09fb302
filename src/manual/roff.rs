//! The manual's Markdown for `man`: roff with the macros of man(7).

use super::markdown::{Block, blocks};
use super::text::{UNBROKEN, inline};
use std::fmt::Write;

/// A topic as a section: its name as the heading, and the headings in it one level below.
pub(super) fn section(markdown: &str) -> String {
    let mut out = String::new();
    for block in blocks(markdown) {
        match block {
            Block::Heading(1, title) => {
                let name = title.split(':').next().unwrap_or_default();
                let _ = writeln!(out, ".SH {}", escaped(&name.to_uppercase()));
            }
            Block::Heading(_, title) => drop(writeln!(out, ".SS {}", text(&title))),
            Block::Paragraph(words) => drop(writeln!(out, "{}{}", paragraph(&out), text(&words))),
            Block::Item(mark, words) if mark == "*" => drop(writeln!(out, ".IP \\(bu 2\n{}", text(&words))),
            Block::Item(mark, words) => drop(writeln!(out, ".IP {mark} 4\n{}", text(&words))),
            Block::Example(lines) => {
                let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
                let _ = writeln!(out, "{}.EX\n{}\n.EE", paragraph(&out), lines.join("\n"));
            }
            Block::Table(rows) => table(&mut out, &rows),
        }
    }
    out
}

/// What begins a paragraph: nothing right behind a heading, which does.
fn paragraph(before: &str) -> &'static str {
    let last = before.lines().next_back().unwrap_or_default();
    if last.starts_with(".SH ") || last.starts_with(".SS ") { "" } else { ".PP\n" }
}

/// A table as entries: the first cell of a row, and below it the others with what they are.
fn table(out: &mut String, rows: &[Vec<String>]) {
    let Some((head, rows)) = rows.split_first() else { return };
    for row in rows {
        let Some((first, rest)) = row.split_first() else { continue };
        let _ = writeln!(out, ".TP\n.B {}", argument_of(first));
        let only = rest.len() == 1;
        let mut said = Vec::new();
        for (what, cell) in head.iter().skip(1).zip(rest).filter(|(_, cell)| !cell.is_empty()) {
            let what = inline(what, false);
            said.push(if only || what.is_empty() {
                text(cell)
            } else {
                format!("{}: {}", text(&what), text(cell))
            });
        }
        let _ = writeln!(out, "{}", if said.is_empty() { "\\&".to_string() } else { said.join("\n.br\n") });
    }
}

/// A piece of Markdown, on one line.
fn text(markdown: &str) -> String {
    escaped(&inline(markdown, true)).replace(UNBROKEN, "\\~")
}

/// A piece of Markdown as the one argument of a macro.
fn argument_of(markdown: &str) -> String {
    argument(&inline(markdown, false).replace(UNBROKEN, " "))
}

/// A text as one argument of a macro.
pub(crate) fn argument(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// A text in which nothing means anything to roff.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Elsewhere than at the start of a line they are characters like others.
    if text.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '"' => out.push_str("\\(dq"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            UNBROKEN => out.push(c),
            c if c.is_ascii() => out.push(c),
            c => drop(write!(out, "\\[u{:04X}]", u32::from(c))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_reads_like_this() {
        let markdown = "# mixed: two kinds\n\n.profile is `a b` in 'x' – \"it\".\n\n* One\n* Two\n\n1. First\n\n## Next\n\n    \
                        $ serf\n      .x\n\n| what | limit | beyond |\n| --- | --- | --- |\n| a `-b` | 1 | no |\n| c | | |\n";
        let expected = "\
.SH MIXED
\\&.profile is \\(aqa\\~b\\(aq in \\(aqx\\(aq \\[u2013] \\(dqit\\(dq.
.IP \\(bu 2
One
.IP \\(bu 2
Two
.IP 1. 4
First
.SS Next
.EX
$ serf
  .x
.EE
.TP
.B \"a \\-b\"
limit: 1
.br
beyond: no
.TP
.B \"c\"
\\&
";
        assert_eq!(section(markdown), expected);
    }
}
