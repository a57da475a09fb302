//! What a row of the table says.

/// Which agent the line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// None: nobody listens where the commands look for it.
    Nobody,
    /// One without encryption.
    Agent,
    /// One that encrypts.
    Encrypted,
    /// One that asks for a token.
    Guarded,
    /// One that the line starts. What is compared is whether it does start, and its warnings: why an agent
    /// does not start ours says in other words, with the file and the line.
    Start,
}

/// What is expected of ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// What HashiCorp's program does.
    Same,
    /// The same exit code, and other words.
    Meant(&'static str),
    /// Another exit code.
    Otherwise(&'static str),
}

/// A command line and what is expected of it.
pub(super) struct Row {
    pub(super) at: At,
    pub(super) line: &'static str,
    pub(super) expected: Expected,
}

/// A row in which nothing differs.
pub(super) const fn same(at: At, line: &'static str) -> Row {
    Row { at, line, expected: Expected::Same }
}

/// A row in which the words differ.
pub(super) const fn meant(at: At, line: &'static str, reason: &'static str) -> Row {
    Row { at, line, expected: Expected::Meant(reason) }
}

/// A row in which the exit code differs.
pub(super) const fn otherwise(at: At, line: &'static str, reason: &'static str) -> Row {
    Row { at, line, expected: Expected::Otherwise(reason) }
}
