//! Durations as Go writes them (`300ms`, `1h15m`, `1.5s`), for flags and configuration.

use std::fmt;
use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationError(pub String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid duration '{}' (expected a number with a unit, such as 300ms, 30s or 1h15m)",
            self.0
        )
    }
}

impl std::error::Error for DurationError {}

const UNITS: [(&str, u64); 8] = [
    // Longer names first, so that "ms" is not read as "m".
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a sequence of decimal numbers, each with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`).
/// `0` needs no unit. Negative durations are refused: nothing here can use one.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.to_string());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, tail) = rest.split_at(end);
        let (unit, scale) = UNITS.iter().find(|(u, _)| tail.starts_with(u)).ok_or_else(bad)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(bad());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
        total += u128::from(whole) * u128::from(*scale);
        let mut digit_value = u128::from(*scale);
        for digit in fraction.bytes() {
            digit_value /= 10;
            total += u128::from(digit - b'0') * digit_value;
        }
        rest = &tail[unit.len()..];
    }
    u64::try_from(total).ok().filter(|n| *n <= i64::MAX as u64).map(Duration::from_nanos).ok_or_else(bad)
}

/// Writes a duration as Go prints it: `1h15m0s`, `1.5s`, `300ms`, `0s`.
pub fn format_duration(d: Duration) -> String {
    let nanos = d.as_nanos();
    match nanos {
        0 => "0s".to_string(),
        1..=999 => format!("{nanos}ns"),
        1_000..=999_999 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..=999_999_999 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let minutes = d.as_secs() / 60;
            let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, m) => format!("{m}m{seconds}s"),
                (h, m) => format!("{h}h{m}m{seconds}s"),
            }
        }
    }
}

/// `nanos / scale` in decimal, exactly, without trailing zeros. `scale` is a power of ten.
fn decimal(nanos: u128, scale: u128) -> String {
    let text = format!("{}.{:0width$}", nanos / scale, nanos % scale, width = scale.ilog10() as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("300ms", 300_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1h15m", 4_500_000_000_000),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("+3ns", 3),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "5", "s", ".s", "1.2.3s", "-1s", "1x", "1s5", "99999999999h", "+"] {
            assert_eq!(parse_duration(text), Err(DurationError(text.into())), "{text}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (4_500_000_000_000, "1h15m0s"),
        ] {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn round_trips_to_the_millisecond(ms in 0u64..1_000_000_000) {
            let d = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(d)), Ok(d));
        }

        #[test]
        fn never_panics(text in ".{0,20}") {
            let _ = parse_duration(&text);
        }
    }
}
