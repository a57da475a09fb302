//! Metrics as text: for SIGUSR1 as go-metrics dumps them, for statsd and statsite, and for
//! Prometheus. Sends nothing anywhere.

use super::metrics::{self, Metric, SERVICE, Sample, Tally, Unit};
use super::zone::Zone;
use std::collections::HashMap;
use std::fmt::Write;

/// All metrics since the start, one a line, in the form in which go-metrics dumps an interval.
/// `unix` is the time in seconds since 1970. What has not been counted yet is left out.
pub fn dump(unix: i64) -> String {
    let mut stamp = String::new();
    Zone::of_process().go_stamp(unix, &mut stamp);
    let mut kinds = [String::new(), String::new(), String::new()];
    let [gauges, counters, samples] = &mut kinds;
    // Writing to a `String` cannot fail.
    for metric in metrics::all() {
        let name = format!("{SERVICE}.{}", metric.dotted());
        let _ = match metric {
            Metric::Gauge(gauge) => writeln!(gauges, "[{stamp}][G] '{name}': {}.000", gauge.value()),
            Metric::Counter(counter) => count_line(counters, &stamp, &name, counter.value()),
            Metric::Family(family) => family.counts().iter().try_for_each(|(of, count)| {
                count_line(counters, &stamp, &format!("{name}.{}", printable(of)), *count as u64)
            }),
            Metric::Sample(sample) => {
                sample_line(samples, &stamp, &name, &in_serfs_unit(sample, sample.total()))
            }
        };
    }
    kinds.concat()
}

fn count_line(out: &mut String, stamp: &str, name: &str, count: u64) -> std::fmt::Result {
    match count {
        0 => Ok(()),
        n => writeln!(out, "[{stamp}][C] '{name}': Count: {n} Sum: {n}.000"),
    }
}

fn sample_line(out: &mut String, stamp: &str, name: &str, tally: &Tally) -> std::fmt::Result {
    let (count, sum) = (tally.count, tally.sum);
    if count == 0 {
        return Ok(());
    }
    let spread = match tally.stddev() {
        0.0 => String::new(),
        stddev => {
            let Tally { min, max, .. } = tally;
            format!("Min: {min:.3} Mean: {:.3} Max: {max:.3} Stddev: {stddev:.3} ", tally.mean())
        }
    };
    writeln!(out, "[{stamp}][S] '{name}': Count: {count} {spread}Sum: {sum:.3}")
}

/// Serf reports times in milliseconds.
fn in_serfs_unit(sample: &Sample, tally: Tally) -> Tally {
    match sample.unit() {
        Unit::Seconds => tally.scaled(1000.0),
        Unit::Bytes | Unit::Items => tally,
    }
}

/// What changed between two reports to statsd and statsite.
#[derive(Debug, Default)]
pub struct Deltas {
    /// The counts of the last report, by name with dots.
    reported: HashMap<String, usize>,
}

impl Deltas {
    /// The lines of one report, without line ends: what was counted since the last one, every
    /// level, and what was measured since then. Levels carry the name of the `host`, as with Serf.
    ///
    /// Measurements are reported as their smallest, their largest, and the mean of the others with the
    /// rate that stands for their number, so that the receiver's minimum, maximum, sum, mean and
    /// count come out right however many there were.
    pub fn lines(&mut self, host: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for metric in metrics::all() {
            let dotted = metric.dotted();
            let name = format!("{SERVICE}.{dotted}");
            match metric {
                Metric::Counter(counter) => self.count(name, counter.value() as usize, &mut lines),
                Metric::Family(family) => {
                    for (of, count) in family.counts() {
                        self.count(format!("{name}.{}", plain(&of)), count, &mut lines);
                    }
                }
                Metric::Gauge(gauge) => {
                    lines.push(format!("{SERVICE}.{}.{dotted}:{}.000000|g", plain(host), gauge.value()));
                }
                Metric::Sample(sample) => {
                    let tally = in_serfs_unit(sample, sample.take_interval());
                    sample_lines(&name, &tally, &mut lines);
                }
            }
        }
        lines
    }

    fn count(&mut self, name: String, count: usize, lines: &mut Vec<String>) {
        let reported = self.reported.get(&name).copied().unwrap_or(0);
        // A narrow counter that began again has still counted the difference.
        let more = count.wrapping_sub(reported);
        if more > 0 {
            lines.push(format!("{name}:{more}.000000|c"));
            self.reported.insert(name, count);
        }
    }
}

fn sample_lines(name: &str, tally: &Tally, lines: &mut Vec<String>) {
    let Tally { count, sum, min, max, .. } = *tally;
    if count >= 1 {
        lines.push(format!("{name}:{min:.6}|ms"));
    }
    if count >= 2 {
        lines.push(format!("{name}:{max:.6}|ms"));
    }
    if count >= 3 {
        let others = (count - 2) as f64;
        let mean = ((sum - min - max) / others).clamp(min, max);
        let rate = if count > 3 { format!("|@{:.9}", 1.0 / others) } else { String::new() };
        lines.push(format!("{name}:{mean:.6}|ms{rate}"));
    }
}

/// A part of a name without what has a meaning in a line to statsd.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_control() || ": |@#,".contains(c) { '_' } else { c };
    text.chars().map(plain).collect()
}

/// A name in quotes, on one line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '\'' { '_' } else { c }).collect()
}

/// Everything in Prometheus' text format, version 0.0.4.
pub fn prometheus() -> String {
    let mut out = String::with_capacity(16 * 1024);
    for metric in metrics::all() {
        let name = metric.prometheus();
        let kind = match metric {
            Metric::Counter(_) | Metric::Family(_) => "counter",
            Metric::Gauge(_) => "gauge",
            Metric::Sample(_) => "summary",
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help());
        let _ = match metric {
            Metric::Counter(counter) => writeln!(out, "{name} {}", counter.value()),
            Metric::Gauge(gauge) => writeln!(out, "{name} {}", gauge.value()),
            Metric::Family(family) => family
                .counts()
                .iter()
                .try_for_each(|(of, count)| writeln!(out, "{name}{{name=\"{}\"}} {count}", escaped(of))),
            Metric::Sample(sample) => {
                let Tally { count, sum, .. } = sample.total();
                writeln!(out, "{name}_sum {sum}\n{name}_count {count}")
            }
        };
    }
    out
}

/// The value of a label between its quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::counters;
    use super::*;

    // The counters are those of the whole test process, so these look for lines, not for values.

    #[test]
    fn dumps_as_go_metrics_does() {
        counters::SUSPICIONS.inc();
        metrics::USER_EVENTS_BY_NAME.inc("dump'\nme");
        for ms in [1, 2, 4] {
            metrics::PROBE_TIME.record_time(std::time::Duration::from_millis(ms));
        }
        let text = dump(1_795_362_094);
        let line = |part: &str| {
            let found = text.lines().find(|line| line.contains(part));
            found.unwrap_or_else(|| panic!("no {part} in:\n{text}")).to_string()
        };
        let shape = line("'serf-agent.runtime.num_goroutines'");
        assert!(shape.starts_with("[2026-11-2") && shape.contains("][G] '"), "{shape}");
        assert!(line("'serf-agent.serf.suspicions'").contains("][C] '"));
        assert!(line("'serf-agent.serf.events.dump__me'").ends_with(": Count: 1 Sum: 1.000"));
        let sample = line("'serf-agent.memberlist.probeNode'");
        for part in ["][S] '", "Count: ", "Min: ", "Mean: ", "Max: ", "Stddev: ", "Sum: "] {
            assert!(sample.contains(part), "{sample}");
        }
        assert!(text.lines().all(|line| line.starts_with("[2026-11-2")));
    }

    #[test]
    fn statsd_gets_differences() {
        let mut deltas = Deltas::default();
        let mut lines = Vec::new();
        for count in [3, 3, 5, usize::MAX, 1] {
            deltas.count("x".to_string(), count, &mut lines);
        }
        let big = usize::MAX - 5;
        assert_eq!(lines, ["x:3.000000|c", "x:2.000000|c", &format!("x:{big}.000000|c"), "x:2.000000|c"]);

        counters::CONFLICTS.inc();
        let lines = Deltas::default().lines("a host");
        assert!(lines.iter().any(|l| l.starts_with("serf-agent.serf.conflicts:") && l.ends_with("|c")));
        assert!(lines.iter().any(|l| l.starts_with("serf-agent.a_host.runtime.num_goroutines:")));
        assert!(lines.iter().all(|l| !l.contains([' ', '\n']) && l.len() < 300), "{lines:?}");
    }

    #[test]
    fn statsd_can_put_measurements_together_again() {
        let lines = |values: &[f64]| {
            let sum = values.iter().sum();
            let min = values.iter().copied().fold(f64::INFINITY, f64::min);
            let max = values.iter().copied().fold(0.0, f64::max);
            let tally = Tally { count: values.len() as u64, sum, min, max, ..Tally::default() };
            let mut lines = Vec::new();
            sample_lines("t", &tally, &mut lines);
            lines
        };
        assert!(lines(&[]).is_empty());
        assert_eq!(lines(&[2.0]), ["t:2.000000|ms"]);
        assert_eq!(lines(&[2.0, 1.0]), ["t:1.000000|ms", "t:2.000000|ms"]);
        assert_eq!(lines(&[2.0, 1.0, 9.0]), ["t:1.000000|ms", "t:9.000000|ms", "t:2.000000|ms"]);
        assert_eq!(
            lines(&[2.0, 1.0, 9.0, 4.0]),
            ["t:1.000000|ms", "t:9.000000|ms", "t:3.000000|ms|@0.500000000"]
        );
    }

    #[test]
    fn no_name_breaks_a_line() {
        assert_eq!(plain("a:b c|d\n@é"), "a_b_c_d__é");
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn prometheus_gets_types_before_values() {
        metrics::QUERIES_BY_NAME.inc("load");
        let text = prometheus();
        for metric in metrics::all() {
            let head =
                format!("# HELP {} {}\n# TYPE {} ", metric.prometheus(), metric.help(), metric.prometheus());
            assert!(text.contains(&head), "{head}");
        }
        assert!(text.contains("\nserf_queries_by_name_total{name=\"load\"} "));
        assert!(text.contains("\nserf_gossip_seconds_count ") && text.contains("\nserf_threads "));
        assert!(text.ends_with('\n'));
    }
}
