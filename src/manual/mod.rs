//! The manual: a Markdown file for each topic, printed as plain text by `serf help TOPIC`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `*.md` | the topics; the first line of each is `# NAME: what it is about` |
//! | `markdown` | a text as blocks: headings, paragraphs, lists, tables, examples |
//! | `plain` | blocks as lines for a terminal or a pager |
//! | `roff` | blocks for pages of `man` |
//! | `table` | tables as aligned columns or, where they are too wide, as entries |
//!
//! To add a topic, write its file and name it in [`TOPICS`].
//!
//! Architecture invariant: only the program `serf` names [`TOPICS`], so that the linker leaves the
//! texts out of `serf-ctl`.

mod markdown;
mod plain;
pub(crate) mod roff;
mod table;
mod text;

/// A topic of the manual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    /// The word after `serf help`.
    pub(crate) name: &'static str,
    /// Its file, in Markdown.
    text: &'static str,
}

macro_rules! topics {
    ($($name:literal),+ $(,)?) => {
        /// Every topic, in the order in which `serf help` lists them.
        pub(crate) const TOPICS: &[Topic] =
            &[$(Topic { name: $name, text: include_str!(concat!($name, ".md")) }),+];
    };
}

topics![
    "commands",
    "settings",
    "running",
    "containers",
    "minimal",
    "joining",
    "names",
    "snapshot",
    "coordinates",
    "events",
    "handlers",
    "encryption",
    "security",
    "mixed",
    "compatibility",
    "rpc",
    "logs",
    "metrics",
    "timings",
    "limits",
    "performance",
    "scale",
    "changes",
];

impl Topic {
    /// What it is about, in a line.
    pub(crate) fn about(&self) -> &'static str {
        let title = self.text.lines().next().unwrap_or_default();
        title.split_once(": ").map_or("", |(_, about)| about)
    }

    /// The whole text for a terminal or a pager, without a final line break.
    pub(crate) fn plain(&self) -> String {
        plain::render(self.text)
    }

    /// The text as a section of a page for `man`.
    pub(crate) fn roff(&self) -> String {
        roff::section(self.text)
    }
}

#[cfg(test)]
mod tests;
