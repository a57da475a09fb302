//! This member's tags: those of the configuration, and what was changed at run time.
//!
//! Both are kept apart, so that a reload of the configuration does not undo what an operator or a
//! script has set since. With a tags file the configuration has none, and the file holds the result.
//! What is announced to the cluster is the table's business.

use crate::agent::durable;
use crate::model::{Tags, TagsError, Text, lossy};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Larger than any tags that fit into an `Alive` message, whitespace included.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// Why tags were not restored or changed. The tags are as they were.
#[derive(Debug)]
pub(crate) enum TagsChangeError {
    /// The tags file cannot be read.
    Read(PathBuf, io::Error),
    /// It holds something else than a JSON object of strings.
    Decode(PathBuf, String),
    /// It cannot be written.
    Write(PathBuf, io::Error),
    /// The tags do not fit.
    Tags(TagsError),
}

impl fmt::Display for TagsChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TagsChangeError::Read(path, why) => {
                write!(f, "Failed to read tags file: {}: {why}", path.display())
            }
            TagsChangeError::Decode(path, why) => write!(
                f,
                "Failed to decode tags file: {}: {why} (expected a JSON object of texts, such as {{\"role\": \"web\"}})",
                path.display()
            ),
            TagsChangeError::Write(path, why) => {
                write!(f, "Failed to write tags file: {}: {why}", path.display())
            }
            TagsChangeError::Tags(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for TagsChangeError {}

/// The tags in force, and where they come from.
#[derive(Clone, Debug)]
pub(crate) struct OwnTags {
    file: Option<PathBuf>,
    configured: Tags,
    set: BTreeMap<Text, Text>,
    deleted: BTreeSet<Text>,
}

impl OwnTags {
    /// The tags to start with: the configured ones, or those in the tags file. A file that does
    /// not exist is one without tags.
    pub(crate) fn restore(configured: Tags, file: Option<PathBuf>) -> Result<OwnTags, TagsChangeError> {
        let mut own = OwnTags { file, configured, set: BTreeMap::new(), deleted: BTreeSet::new() };
        if let Some(path) = &own.file {
            let text = match read(path) {
                Ok(text) => text,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(own),
                Err(e) => return Err(TagsChangeError::Read(path.clone(), e)),
            };
            own.set = decode(&text).map_err(|e| TagsChangeError::Decode(path.clone(), e.to_string()))?;
            check(&own.effective())?;
            log::info!(target: "agent", "Restored {} tag(s) from {}", own.set.len(), path.display());
        }
        Ok(own)
    }

    /// The tags as the cluster is to see them.
    pub(crate) fn effective(&self) -> Tags {
        self.over(&self.configured)
    }

    /// What was changed at run time, on top of these.
    fn over(&self, configured: &Tags) -> Tags {
        let mut tags = configured.clone();
        tags.0.retain(|key, _| !self.deleted.contains(key));
        tags.0.extend(self.set.clone());
        tags
    }

    /// Deletes tags, then sets others, and writes the tags file if there is one. Answers with the
    /// tags to announce to the cluster.
    pub(crate) fn change(
        &mut self,
        set: BTreeMap<Text, Text>,
        delete: Vec<Text>,
    ) -> Result<Tags, TagsChangeError> {
        let mut new = self.clone();
        for key in delete {
            new.set.remove(&key);
            // Also one that is not configured now: a reload may configure it.
            new.deleted.insert(key);
        }
        for (key, value) in set {
            new.deleted.remove(&key);
            new.set.insert(key, value);
        }
        let tags = new.effective();
        check(&tags)?;
        new.store(&tags)?;
        *self = new;
        Ok(tags)
    }

    /// These tags with other configured ones: what was changed at run time stays changed. Refused
    /// if they do not fit together.
    pub(crate) fn reconfigured(&self, configured: Tags) -> Result<OwnTags, TagsChangeError> {
        check(&self.over(&configured))?;
        Ok(OwnTags { configured, ..self.clone() })
    }

    fn store(&self, tags: &Tags) -> Result<(), TagsChangeError> {
        let Some(path) = &self.file else { return Ok(()) };
        let failed = |why| TagsChangeError::Write(path.clone(), why);
        let text = serde_json::to_string_pretty(&tags.0).map_err(|e| failed(io::Error::other(e)))?;
        durable::replace(path, text.as_bytes()).map_err(failed)
    }
}

fn check(tags: &Tags) -> Result<(), TagsChangeError> {
    tags.encode().map(drop).map_err(TagsChangeError::Tags)
}

/// The tags in the text of a file. As with Serf null is nothing, where a text belongs an empty one.
fn decode(text: &str) -> Result<BTreeMap<Text, Text>, serde_json::Error> {
    let tags: Option<BTreeMap<Text, Option<Text>>> = serde_json::from_str(text)?;
    let tags = tags.unwrap_or_default().into_iter();
    Ok(tags.map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

fn read(path: &PathBuf) -> io::Result<String> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX_FILE_LEN + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE_LEN {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 64 KiB"));
    }
    Ok(lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn tags(pairs: &[&str]) -> Tags {
        Tags::from_pairs(pairs).unwrap()
    }

    fn change(own: &mut OwnTags, set: &[&str], delete: &[&str]) -> Result<String, String> {
        let delete = delete.iter().map(|key| Text::from(*key)).collect();
        own.change(tags(set).0, delete).map(|t| t.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_was_changed_at_run_time_survives_a_reload() {
        let mut own = OwnTags::restore(tags(&["role=web", "rack=1", "dc=a"]), None).unwrap();
        assert_eq!(
            change(&mut own, &["role=db", "new=x"], &["rack", "none"]),
            Ok("dc=a,new=x,role=db".into())
        );
        // Deleted first, then set.
        assert_eq!(change(&mut own, &["new=y"], &["new"]), Ok("dc=a,new=y,role=db".into()));
        let reloaded = own.reconfigured(tags(&["role=web", "rack=2", "none=1", "dc=b"])).unwrap();
        assert_eq!(reloaded.effective(), tags(&["dc=b", "new=y", "role=db"]));
        let back = reloaded.reconfigured(Tags::default()).unwrap();
        assert_eq!(back.effective(), tags(&["new=y", "role=db"]));
    }

    #[test]
    fn tags_that_do_not_fit_change_nothing() {
        let mut own = OwnTags::restore(tags(&["a=b"]), None).unwrap();
        let long = format!("long={}", "x".repeat(600));
        assert!(change(&mut own, &[&long], &["a"]).unwrap_err().contains("exceeds limit of 512 bytes"));
        assert!(own.reconfigured(tags(&[&long])).is_err());
        assert_eq!(own.effective(), tags(&["a=b"]));
    }

    #[test]
    fn the_file_keeps_them() {
        let directory = std::env::temp_dir().join(format!("serf-own-tags-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("tags.json");
        let restore = || OwnTags::restore(Tags::default(), Some(path.clone()));
        let mut own = restore().unwrap();
        assert_eq!(own.effective(), Tags::default());
        change(&mut own, &["role=web", "a=b"], &[]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\n  \"a\": \"b\",\n  \"role\": \"web\"\n}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        change(&mut own, &[], &["a"]).unwrap();
        assert_eq!(restore().unwrap().effective(), tags(&["role=web"]));
        // The control protocol lets a tag have no name, as in Serf.
        own.change([(Text::default(), "x".into())].into(), vec![]).unwrap();
        assert_eq!(restore().unwrap().effective().to_string(), "=x,role=web");
        own.change(BTreeMap::new(), vec![Text::default()]).unwrap();
        assert_eq!(restore().unwrap().effective(), tags(&["role=web"]));

        for (content, complaint) in [
            ("[]", "Failed to decode tags file"),
            ("{\"a\": 1}", "invalid type: integer `1`, expected a text at line 1 column 7"),
            ("", "expected a JSON object"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = restore().unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
        for (content, restored) in [
            (&b"null"[..], tags(&[])),
            (b"{\"a\": null}", tags(&["a="])),
            (b"{\"a\": \"caf\xe9\"}", tags(&["a=caf\u{fffd}"])),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(restore().unwrap().effective(), restored);
        }
        std::fs::write(&path, vec![b' '; MAX_FILE_LEN as usize + 1]).unwrap();
        assert!(restore().unwrap_err().to_string().contains("larger than 64 KiB"));

        // The directory is gone: the change fails, and the tags stay as they are.
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(change(&mut own, &["b=c"], &[]).unwrap_err().starts_with("Failed to write tags file: /"));
        assert_eq!(own.effective(), tags(&["role=web"]));
    }
}
