//! Markdown as blocks, as far as the manual uses it: headings, paragraphs, lists without lists
//! inside, tables, and examples indented by four spaces.

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// `# text`; the number of `#`.
    Heading(usize, String),
    /// Lines that belong together, joined by spaces.
    Paragraph(String),
    /// An item of a list: its mark (`*`, `1.`) and its text.
    Item(String, String),
    /// An example, line by line, without its indentation.
    Example(Vec<String>),
    /// The cells of a table, row by row. The first row is its head.
    Table(Vec<Vec<String>>),
}

/// How far an example is indented.
const INDENT: &str = "    ";

/// Takes a text apart. Every text has blocks: what is nothing else is a paragraph.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut after_blank = true;
    for line in text.lines() {
        if line.trim().is_empty() {
            after_blank = true;
            continue;
        }
        match blocks.last_mut() {
            Some(Block::Example(lines)) if line.starts_with(INDENT) => {
                if after_blank {
                    lines.push(String::new());
                }
                lines.push(line[INDENT.len()..].to_string());
            }
            Some(Block::Table(rows)) if line.starts_with('|') && !after_blank => {
                if !is_rule(line) {
                    rows.push(cells(line));
                }
            }
            Some(Block::Paragraph(text) | Block::Item(_, text)) if !after_blank && continues(line) => {
                text.push(' ');
                text.push_str(line.trim());
            }
            _ => blocks.push(begin(line, after_blank)),
        }
        after_blank = false;
    }
    blocks
}

/// Whether a line goes on with the paragraph or item before it.
fn continues(line: &str) -> bool {
    !line.starts_with(['#', '|']) && item(line).is_none()
}

/// The block that begins with this line.
fn begin(line: &str, after_blank: bool) -> Block {
    if after_blank && line.starts_with(INDENT) {
        return Block::Example(vec![line[INDENT.len()..].to_string()]);
    }
    if line.starts_with('|') {
        return Block::Table(vec![cells(line)]);
    }
    let text = line.trim_start_matches('#');
    if line.len() > text.len() && text.starts_with(' ') {
        return Block::Heading(line.len() - text.len(), text.trim().to_string());
    }
    match item(line) {
        Some((mark, text)) => Block::Item(mark.to_string(), text.trim().to_string()),
        None => Block::Paragraph(line.trim().to_string()),
    }
}

/// The mark and the text of a line that begins an item.
fn item(line: &str) -> Option<(&str, &str)> {
    let (mark, text) = line.split_once(' ')?;
    let number =
        mark.strip_suffix('.').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    (mark == "*" || number).then_some((mark, text))
}

/// The line between a table's head and its body.
fn is_rule(row: &str) -> bool {
    row.contains('-') && row.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// The cells of a row. `\|` is a bar inside a cell.
fn cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut chars = row.trim().trim_start_matches('|').chars().peekable();
    while let Some(c) = chars.next() {
        let last = cells.len() - 1;
        match c {
            '\\' if chars.peek() == Some(&'|') => cells[last].extend(chars.next()),
            '|' => cells.push(String::new()),
            c => cells[last].push(c),
        }
    }
    // Behind the bar that ends a row there is no cell.
    if cells.len() > 1 && cells.last().is_some_and(|cell| cell.trim().is_empty()) {
        cells.pop();
    }
    cells.iter().map(|cell| cell.trim().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> String {
        text.to_string()
    }

    #[test]
    fn each_kind_of_block() {
        let source = "# limits: all\n\nOne\ntwo.\n\n* a\n  b\n* c\n\n1. d\n12. e\n\n    $ x\n\n      y\nEnd.\n## Next\n\
                      | a | b |\n| --- | :-: |\n| `c` | d\\|e |\n| f | |\n";
        let expected = [
            Block::Heading(1, text("limits: all")),
            Block::Paragraph(text("One two.")),
            Block::Item(text("*"), text("a b")),
            Block::Item(text("*"), text("c")),
            Block::Item(text("1."), text("d")),
            Block::Item(text("12."), text("e")),
            Block::Example(vec![text("$ x"), text(""), text("  y")]),
            Block::Paragraph(text("End.")),
            Block::Heading(2, text("Next")),
            Block::Table(vec![
                vec![text("a"), text("b")],
                vec![text("`c`"), text("d|e")],
                vec![text("f"), text("")],
            ]),
        ];
        assert_eq!(blocks(source), expected);
    }

    #[test]
    fn what_only_looks_like_a_mark_is_text() {
        for line in ["#1 of all", "**bold** text", "*one*", "1.5 s", "-flag", "    ", "1 2"] {
            let expected = if line.trim().is_empty() { vec![] } else { vec![Block::Paragraph(text(line))] };
            assert_eq!(blocks(line), expected, "{line}");
        }
        assert_eq!(blocks("a\n    b"), [Block::Paragraph(text("a b"))], "an indented line of a paragraph");
        assert_eq!(blocks("||"), [Block::Table(vec![vec![text("")]])]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost(source in "([#*|`\\\\ a-c1.\n-]|    ){0,60}") {
            let letters = |s: &str| s.chars().filter(char::is_ascii_lowercase).collect::<String>();
            let flat = |block: Block| match block {
                Block::Heading(_, text) | Block::Paragraph(text) | Block::Item(_, text) => text,
                Block::Example(lines) => lines.concat(),
                Block::Table(rows) => rows.concat().concat(),
            };
            prop_assert_eq!(letters(&blocks(&source).into_iter().map(flat).collect::<String>()), letters(&source));
        }
    }
}
