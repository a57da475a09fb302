//! The manual's Markdown as plain text: lines of at most 80 columns, nothing but characters.

use super::markdown::{Block, blocks};
use super::table;
use super::text::{WIDTH, fill, inline};

/// How far examples are indented.
const EXAMPLE_INDENT: usize = 4;

/// A text in Markdown as plain text, without a final line break.
pub(super) fn render(markdown: &str) -> String {
    let blocks = blocks(markdown);
    let mut out: Vec<String> = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 && !goes_on(&blocks[i - 1], block) {
            out.push(String::new());
        }
        out.extend(lines(block));
    }
    out.join("\n")
}

/// Whether two blocks are items of one list.
fn goes_on(before: &Block, block: &Block) -> bool {
    match (before, block) {
        (Block::Item(before, _), Block::Item(mark, _)) => (before == "*") == (mark == "*"),
        _ => false,
    }
}

fn lines(block: &Block) -> Vec<String> {
    match block {
        Block::Heading(level, text) => {
            let text = fill(&inline(text, true), usize::MAX).concat();
            let rule = if *level == 1 { "=" } else { "-" };
            let rule = rule.repeat(text.chars().count());
            vec![text, rule]
        }
        Block::Paragraph(text) => fill(&inline(text, true), WIDTH),
        Block::Item(mark, text) => {
            let indent = mark.chars().count() + 1;
            let mut lines = fill(&inline(text, true), WIDTH - indent);
            for (i, line) in lines.iter_mut().enumerate() {
                let before = if i == 0 { mark.as_str() } else { "" };
                *line = format!("{before:indent$}{line}");
            }
            lines
        }
        Block::Example(lines) => {
            lines.iter().map(|l| format!("{:EXAMPLE_INDENT$}{l}", "").trim_end().to_string()).collect()
        }
        Block::Table(rows) => table::lines(rows),
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::UNBROKEN;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_reads_like_this() {
        let markdown = "# mixed: two kinds of agents\n\nNothing has to be `configured`. **An agent** joins with \
                        `serf join`, or *by itself*,\nwhen it reads `*.json`.\n\n* One.\n* Two, which is so long \
                        that it does not fit on a single line and goes on below.\n\n1. First.\n\n## Next\n\n    $ serf \
                        info\n      x\n\n| what | limit |\n| --- | --- |\n| a `b c` | 1 |\n";
        let expected = "\
mixed: two kinds of agents
==========================

Nothing has to be configured. An agent joins with 'serf join', or by itself,
when it reads *.json.

* One.
* Two, which is so long that it does not fit on a single line and goes on below.

1. First.

Next
----

    $ serf info
      x

what   limit
-----  -----
a b c  1";
        assert_eq!(render(markdown), expected);
    }

    #[test]
    fn marks_inside_a_line() {
        for (markdown, text) in [
            ("*a* and *b*", "a and b"),
            ("Directory whose *.json files are read", "Directory whose *.json files are read"),
            ("2 * 3 * 4", "2 * 3 * 4"),
            ("**a *b* c**", "a b c"),
            ("`*a*` and `x", "*a* and `x"),
            ("`it's here`", "\"it's\u{1f}here\""),
            ("`{\"a\": 1}`", "{\"a\":\u{1f}1}"),
            ("", ""),
        ] {
            assert_eq!(inline(markdown, true), text, "{markdown}");
        }
    }

    #[test]
    fn code_is_not_broken_unless_it_is_long() {
        let words = "a ".repeat(38);
        assert_eq!(render(&format!("{words}`b c`")), format!("{}\n'b c'", words.trim_end()));
        let long = "b ".repeat(40);
        assert_eq!(render(&format!("{words}`{long}`")).lines().count(), 2);
    }

    proptest! {
        #[test]
        fn no_text_panics_or_keeps_what_stands_for_spaces(source in "([#*|`\\\\ a-c1.\n-]|    ){0,80}") {
            let plain = render(&source);
            prop_assert!(!plain.contains(UNBROKEN));
            prop_assert!(plain.lines().all(|line| line.trim_end() == line), "{:?}", plain);
        }
    }
}
