//! What reads a stream of a program, and how words of other hosts are printed for it.

use crate::model::lossy;

/// What reads the output, which may hold words of other hosts: names, tags, answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A pipe or a file: a script that feeds a name back needs its very bytes.
    Program,
    /// A terminal, which can be made to do things.
    Person,
}

impl Reader {
    /// By whether it is a terminal.
    pub(super) fn of(terminal: bool) -> Reader {
        if terminal { Reader::Person } else { Reader::Program }
    }

    /// Words of others in one line: for a person everything is escaped that could drive a terminal,
    /// and what is no text is U+FFFD.
    pub(super) fn show(self, text: impl AsRef<[u8]>) -> Vec<u8> {
        match self {
            Reader::Program => text.as_ref().to_vec(),
            Reader::Person => printable(&lossy(text.as_ref())).into_bytes(),
        }
    }

    /// The same in several lines.
    pub(super) fn show_lines(self, text: impl AsRef<[u8]>) -> Vec<u8> {
        let lines: Vec<_> = text.as_ref().split(|byte| *byte == b'\n').map(|line| self.show(line)).collect();
        lines.join(&b'\n')
    }
}

fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_for_programs_and_characters_for_people() {
        let odd = b"a\xff\x1b\xc3\xa9\nb";
        assert_eq!(Reader::Program.show(odd), odd);
        assert_eq!(Reader::Program.show_lines(odd), odd);
        assert_eq!(Reader::Person.show(odd), "a\u{fffd}\\u{1b}é\\nb".as_bytes());
        assert_eq!(Reader::Person.show_lines(odd), "a\u{fffd}\\u{1b}é\nb".as_bytes());
    }
}
