//! What `stats` answers. Some programs ask it of each agent ten times a second, so it costs little: the table
//! is walked once, and the system is asked now and then.

use super::metrics::ProcessFacts;
use super::net::gossip::Depths;
use crate::membership::{Members, Row};
use crate::model::{Moment, Text};
use crate::rpc::record::Stats;
use crate::telemetry::counters;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Group = BTreeMap<Text, Text>;

/// What is known apart from the table.
#[derive(Debug)]
pub(super) struct StatsFacts {
    /// Depths of queues and Lamport times.
    pub(super) depths: Arc<Depths>,
    /// The event handlers: filter to script.
    pub(super) handlers: BTreeMap<String, String>,
    /// Whether gossip is encrypted.
    pub(super) encrypted: bool,
    /// What the system says about this process.
    pub(super) process: ProcessFacts,
}

impl StatsFacts {
    /// The answer.
    pub(super) fn stats(&mut self, members: &Members, now: Moment) -> Stats {
        self.process.refresh(now);
        let me = members.my_row();
        let handlers = self.handlers.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into()));
        let counted = counters::ALL.iter().filter(|counter| counter.value() > 0);
        let counted = counted.map(|c| (format!("{}_total", c.name()).into(), number(c.value())));
        let groups = [
            ("agent", [("name".into(), (&me.name).into())].into()),
            ("runtime", self.runtime()),
            ("serf", self.serf(members)),
            ("tags", me.meta.tags().0),
            ("event_handlers", handlers.collect()),
            ("native", self.native(members)),
            ("counters", counted.collect()),
            (
                "probe_trouble",
                members.troubled_rows().map(|row| ((&row.name).into(), trouble(row))).collect(),
            ),
        ];
        groups.into_iter().map(|(name, group)| (name.to_string(), group)).collect()
    }

    fn runtime(&self) -> Group {
        let ProcessFacts { threads, cpus, .. } = self.process;
        texts([
            ("arch", go_arch(std::env::consts::ARCH).into()),
            ("os", std::env::consts::OS.into()),
            ("cpu_count", number(cpus)),
            // Serf runs on Go; what comes closest to its goroutines and processors are our threads.
            ("goroutines", number(threads)),
            ("max_procs", number(cpus)),
            ("version", env!("CARGO_PKG_VERSION").into()),
        ])
    }

    fn serf(&self, members: &Members) -> Group {
        let mut stats = texts([
            ("members", number(members.len())),
            ("failed", number(members.failed())),
            ("left", number(members.left())),
            ("health_score", number(members.awareness().score())),
            ("member_time", number(members.time())),
            ("event_time", depth(&self.depths.event_time)),
            ("query_time", depth(&self.depths.query_time)),
            ("intent_queue", depth(&self.depths.intents)),
            ("event_queue", depth(&self.depths.events)),
            ("query_queue", depth(&self.depths.queries)),
            ("encrypted", number(self.encrypted)),
        ]);
        if let Some(resets) = members.coordinate_resets() {
            stats.insert("coordinate_resets".into(), number(resets));
        }
        stats
    }

    /// What Serf does not have. No key ends in one of Serf's, so that `grep 'members = '` finds one line.
    fn native(&self, members: &Members) -> Group {
        let hashicorp = members.rings().hashicorp();
        texts([
            ("incarnation", number(members.my_row().incarnation)),
            ("membership_queue", depth(&self.depths.membership)),
            ("resident_bytes", number(self.process.resident_bytes)),
            ("speaking_hashicorp", number(hashicorp)),
            ("speaking_native", number(members.present() - hashicorp)),
            ("threads", number(self.process.threads)),
        ])
    }
}

/// How probes of a member and exchanges with it went.
fn trouble(row: &Row) -> Text {
    let p = row.probes;
    let (udp, tcp) = ((p.udp_ok, p.udp_failed), (p.tcp_ok, p.tcp_failed));
    format!("udp {} ok, {} failed; tcp {} ok, {} failed", udp.0, udp.1, tcp.0, tcp.1).into()
}

fn number(value: impl ToString) -> Text {
    value.to_string().into()
}

fn depth(depth: &AtomicUsize) -> Text {
    number(depth.load(Ordering::Relaxed))
}

fn texts<const N: usize>(pairs: [(&str, Text); N]) -> Group {
    pairs.into_iter().map(|(key, value)| (key.into(), value)).collect()
}

/// The name that Serf, built with Go, has for a processor.
fn go_arch(arch: &'static str) -> &'static str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}
