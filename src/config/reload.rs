//! What a reload of the configuration changes, and what of it takes effect at once.

use super::options::{OptionSpec, Reload};

/// The settings that differ after the configuration was read again, by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Those that took effect.
    pub(crate) applied: Vec<&'static str>,
    /// Those that take effect when the agent starts again.
    pub(crate) at_restart: Vec<&'static str>,
}

impl Changes {
    /// Notes a setting that differs. Whether it takes effect at once.
    pub(super) fn add(&mut self, row: &'static OptionSpec) -> bool {
        // Settings of one object are one to people.
        let key = row.key().split('.').next().unwrap_or_default();
        match row.reload {
            Reload::Applied => self.applied.push(key),
            Reload::Restart => self.at_restart.push(key),
        }
        row.reload == Reload::Applied
    }

    /// Whether this setting has changed and took effect.
    pub(crate) fn applied(&self, key: &str) -> bool {
        self.applied.contains(&key)
    }
}
