//! Where syslog files a line: the facilities, by the names that Serf knows.

use std::fmt;
use std::str::FromStr;

/// A facility of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

/// Names in the order of their codes; 12 to 15 have none.
const NAMES: [&str; 12] =
    ["KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP"];
const FIRST_LOCAL: u8 = 16;
const LOCALS: u8 = 8;

impl Facility {
    /// Serf's default.
    pub const LOCAL0: Facility = Facility(FIRST_LOCAL);

    /// Every facility.
    pub fn all() -> impl Iterator<Item = Facility> {
        (0..FIRST_LOCAL + LOCALS)
            .filter(|code| usize::from(*code) < NAMES.len() || *code >= FIRST_LOCAL)
            .map(Facility)
    }

    /// Its number, as the first part of a priority.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl Default for Facility {
    fn default() -> Self {
        Facility::LOCAL0
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "LOCAL{}", self.0.saturating_sub(FIRST_LOCAL)),
        }
    }
}

/// A text that names no facility.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacilityError(String);

impl fmt::Display for FacilityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid syslog facility: {}. Valid facilities are: [", self.0)?;
        for (i, facility) in Facility::all().enumerate() {
            write!(f, "{}{facility}", if i == 0 { "" } else { " " })?;
        }
        f.write_str("]")
    }
}

impl std::error::Error for FacilityError {}

impl FromStr for Facility {
    type Err = FacilityError;

    /// Reads a name in upper or lower case.
    fn from_str(text: &str) -> Result<Self, FacilityError> {
        let named = |facility: &Facility| facility.to_string().eq_ignore_ascii_case(text);
        Facility::all().find(named).ok_or_else(|| FacilityError(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_serf() {
        assert_eq!(Facility::all().count(), 20);
        for facility in Facility::all() {
            assert_eq!(facility.to_string().to_lowercase().parse(), Ok(facility));
        }
        let code = |name: &str| name.parse::<Facility>().map(Facility::code).ok();
        assert_eq!(["KERN", "daemon", "FTP", "LOCAL0", "local7"].map(code), [0, 3, 11, 16, 23].map(Some));
        assert_eq!(["LOCAL8", "LOCAL", "", "16"].map(code), [None; 4]);
        let why = "LOCAL8".parse::<Facility>().unwrap_err().to_string();
        assert!(
            why.starts_with("Invalid syslog facility: LOCAL8. Valid facilities are: [KERN USER"),
            "{why}"
        );
        assert!(why.ends_with("LOCAL6 LOCAL7]"), "{why}");
    }
}
