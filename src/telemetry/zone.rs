//! Local time for log lines, as Serf stamps them: `2026/11/22 15:41:34`.
//!
//! The zone is read once, when the logger starts. `TZ` decides when it is set: empty means UTC,
//! a zone's name (`Europe/Vienna`) or a rule (`CET-1CEST,M3.5.0,M10.5.0/3`) means that zone, and
//! what cannot be read means UTC. Without `TZ` it is `/etc/localtime`, then the rule in `/etc/TZ`
//! (where OpenWrt keeps it), then UTC.

use std::fmt::Write;
use tz::{DateTime, TimeZone, TimeZoneRef};

/// The most of `/etc/TZ` that is looked at; a rule is a few dozen bytes.
const MAX_RULE_LEN: usize = 256;

/// A time zone.
pub(super) struct Zone(TimeZone);

impl Zone {
    /// The zone of this process.
    pub(super) fn of_process() -> Zone {
        match std::env::var_os("TZ") {
            Some(name) => Zone::named(&name.to_string_lossy()),
            None => Zone::of_host(),
        }
    }

    fn named(name: &str) -> Zone {
        let zone = if name.is_empty() { None } else { TimeZone::from_posix_tz(name).ok() };
        Zone(zone.unwrap_or_else(TimeZone::utc))
    }

    // Read before anything runs that could be made to wait.
    #[allow(clippy::disallowed_methods)]
    fn of_host() -> Zone {
        if let Ok(zone) = TimeZone::local() {
            return Zone(zone);
        }
        let rule = std::fs::read_to_string("/etc/TZ").unwrap_or_default();
        match rule.lines().next() {
            Some(rule) if rule.len() <= MAX_RULE_LEN => Zone::named(rule.trim()),
            _ => Zone(TimeZone::utc()),
        }
    }

    /// Appends `unix` (seconds since 1970 UTC) as a log line begins.
    pub(super) fn stamp(&self, unix: i64, out: &mut String) {
        let time = DateTime::from_timespec(unix, 0, self.0.as_ref())
            .or_else(|_| DateTime::from_timespec(unix, 0, TimeZoneRef::utc()));
        // Writing to a `String` cannot fail.
        let _ = match time {
            Ok(t) => write!(
                out,
                "{:04}/{:02}/{:02} {:02}:{:02}:{:02}",
                t.year(),
                t.month(),
                t.month_day(),
                t.hour(),
                t.minute(),
                t.second()
            ),
            Err(_) => write!(out, "{unix}"),
        };
    }

    /// Appends `unix` as Go prints a time: `2026-11-22 15:41:34 +0000 UTC`.
    pub(super) fn go_stamp(&self, unix: i64, out: &mut String) {
        let time = DateTime::from_timespec(unix, 0, self.0.as_ref())
            .or_else(|_| DateTime::from_timespec(unix, 0, TimeZoneRef::utc()));
        let _ = match time {
            Ok(t) => {
                let kind = t.local_time_type();
                let minutes = kind.ut_offset().unsigned_abs() / 60;
                let sign = if kind.ut_offset() < 0 { '-' } else { '+' };
                write!(
                    out,
                    "{:04}-{:02}-{:02} {:02}:{:02}:{:02} {sign}{:02}{:02} {}",
                    t.year(),
                    t.month(),
                    t.month_day(),
                    t.hour(),
                    t.minute(),
                    t.second(),
                    minutes / 60,
                    minutes % 60,
                    kind.time_zone_designation()
                )
            }
            Err(_) => write!(out, "{unix}"),
        };
    }

    /// Appends `unix` as syslog (RFC 3164) begins a line: `Nov  2 15:41:34`.
    pub(super) fn syslog_stamp(&self, unix: i64, out: &mut String) {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let time = DateTime::from_timespec(unix, 0, self.0.as_ref())
            .or_else(|_| DateTime::from_timespec(0, 0, TimeZoneRef::utc()));
        if let Ok(t) = time {
            let month = MONTHS.get(usize::from(t.month()).wrapping_sub(1)).unwrap_or(&"Jan");
            let _ = write!(
                out,
                "{month} {:2} {:02}:{:02}:{:02}",
                t.month_day(),
                t.hour(),
                t.minute(),
                t.second()
            );
        }
    }

    /// Appends `unix` as RFC 3339 in UTC, for machines.
    pub(super) fn rfc3339(unix: i64, millis: u32, out: &mut String) {
        let _ = match DateTime::from_timespec(unix, 0, TimeZoneRef::utc()) {
            Ok(t) => write!(
                out,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}Z",
                t.year(),
                t.month(),
                t.month_day(),
                t.hour(),
                t.minute(),
                t.second()
            ),
            Err(_) => write!(out, "{unix}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(zone: &str, unix: i64) -> String {
        let mut out = String::new();
        Zone::named(zone).stamp(unix, &mut out);
        out
    }

    #[test]
    fn stamps_in_the_zone() {
        let winter = 1_795_362_094; // 2026-11-22 15:41:34 UTC
        assert_eq!(stamp("", winter), "2026/11/22 15:41:34");
        assert_eq!(stamp("CET-1CEST,M3.5.0,M10.5.0/3", winter), "2026/11/22 16:41:34");
        let summer = winter - 120 * 86_400;
        assert_eq!(stamp("CET-1CEST,M3.5.0,M10.5.0/3", summer), "2026/07/25 17:41:34");
        assert_eq!(stamp("IST-5:30", winter), "2026/11/22 21:11:34");
    }

    #[test]
    fn stamps_as_go_and_as_syslog() {
        let (mut go, mut syslog) = (String::new(), String::new());
        Zone::named("IST-5:30").go_stamp(1_795_362_094, &mut go);
        Zone::named("NST3:30").go_stamp(1_795_362_094, &mut go);
        assert_eq!(go, "2026-11-22 21:11:34 +0530 IST2026-11-22 12:11:34 -0330 NST");
        Zone::named("").syslog_stamp(1_795_362_094 - 20 * 86_400, &mut syslog);
        assert_eq!(syslog, "Nov  2 15:41:34");
    }

    #[test]
    fn nonsense_is_utc() {
        assert_eq!(stamp("No/Such_Zone", 0), "1970/01/01 00:00:00");
        assert_eq!(stamp("../../../etc/passwd", 0), "1970/01/01 00:00:00");
        assert_eq!(stamp("", i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn rfc3339_is_utc() {
        let mut out = String::new();
        Zone::rfc3339(1_795_362_094, 7, &mut out);
        assert_eq!(out, "2026-11-22T15:41:34.007Z");
    }
}
