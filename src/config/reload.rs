//! What a reload of the configuration changes, and what of it takes effect at once.

use super::agent::AgentConfig;

/// When a changed setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// With the reload.
    Now,
    /// When the agent starts again.
    AtRestart,
}

/// The settings that differ, by their keys, in the order of the configuration.
pub fn differences(old: &AgentConfig, new: &AgentConfig) -> Vec<(&'static str, Effect)> {
    use Effect::{AtRestart, Now};
    // Taken apart by name, so that a new setting cannot be forgotten here.
    macro_rules! compare {
        ($($field:ident = $key:literal, $effect:ident;)+) => {{
            let AgentConfig { $($field),+ } = old;
            let all = [$(($key, $effect, $field == &new.$field)),+];
            all.into_iter().filter(|(_, _, same)| !same).map(|(key, effect, _)| (key, effect)).collect()
        }};
    }
    compare! {
        node_name = "node_name", AtRestart;
        bind = "bind", AtRestart;
        advertise = "advertise", AtRestart;
        interface = "interface", AtRestart;
        rpc_addr = "rpc_addr", AtRestart;
        rpc_auth = "rpc_auth", Now;
        keys = "encrypt_key", AtRestart;
        encrypt_verify_incoming = "encrypt_verify_incoming", AtRestart;
        encrypt_verify_outgoing = "encrypt_verify_outgoing", AtRestart;
        label = "label", AtRestart;
        tags = "tags", Now;
        tags_file = "tags_file", AtRestart;
        profile = "profile", AtRestart;
        protocol = "protocol", AtRestart;
        log_level = "log_level", Now;
        log_format = "log_format", AtRestart;
        enable_syslog = "enable_syslog", AtRestart;
        syslog_facility = "syslog_facility", AtRestart;
        start_join = "start_join", AtRestart;
        replay_on_join = "replay_on_join", AtRestart;
        retry_join = "retry_join", Now;
        retry_interval = "retry_interval", AtRestart;
        retry_max_attempts = "retry_max_attempts", AtRestart;
        snapshot_path = "snapshot_path", AtRestart;
        rejoin_after_leave = "rejoin_after_leave", AtRestart;
        discover = "discover", AtRestart;
        mdns = "mdns", AtRestart;
        reconnect_interval = "reconnect_interval", AtRestart;
        reconnect_timeout = "reconnect_timeout", AtRestart;
        tombstone_timeout = "tombstone_timeout", AtRestart;
        disable_coordinates = "disable_coordinates", AtRestart;
        disable_name_resolution = "disable_name_resolution", AtRestart;
        validate_node_names = "validate_node_names", AtRestart;
        enable_compression = "enable_compression", AtRestart;
        native_only = "native_only", AtRestart;
        leave_on_terminate = "leave_on_terminate", Now;
        skip_leave_on_interrupt = "skip_leave_on_interrupt", Now;
        broadcast_timeout = "broadcast_timeout", Now;
        event_handlers = "event_handlers", Now;
        handler_timeout = "handler_timeout", AtRestart;
        query_size_limit = "query_size_limit", AtRestart;
        query_response_size_limit = "query_response_size_limit", AtRestart;
        user_event_size_limit = "user_event_size_limit", AtRestart;
        statsite_addr = "statsite_addr", AtRestart;
        statsd_addr = "statsd_addr", AtRestart;
        metrics_addr = "metrics_addr", AtRestart;
    }
}

impl AgentConfig {
    /// Takes over those settings of `new` that take effect without a restart.
    pub fn take_live(&mut self, new: AgentConfig) {
        self.rpc_auth = new.rpc_auth;
        self.tags = new.tags;
        self.log_level = new.log_level;
        self.retry_join = new.retry_join;
        self.leave_on_terminate = new.leave_on_terminate;
        self.skip_leave_on_interrupt = new.skip_leave_on_interrupt;
        self.broadcast_timeout = new.broadcast_timeout;
        self.event_handlers = new.event_handlers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::AGENT;
    use crate::config::{Flags, Parsed, parse};
    use std::time::Duration;

    fn config() -> AgentConfig {
        AgentConfig::load(&Flags::default()).unwrap().0
    }

    #[test]
    fn what_is_live_is_taken_over_and_the_rest_is_not() {
        let old = config();
        let mut new = old.clone();
        new.log_level = log::LevelFilter::Trace;
        new.rpc_auth = Some("secret".into());
        new.tags.0.insert("a".into(), "b".into());
        new.retry_join = vec!["seed".into()];
        new.leave_on_terminate = true;
        new.skip_leave_on_interrupt = true;
        new.broadcast_timeout = Duration::from_secs(9);
        new.event_handlers = vec![crate::config::EventScript::parse("true").unwrap()];
        let live = differences(&old, &new);
        assert_eq!(live.len(), 8);
        assert!(live.iter().all(|(_, effect)| *effect == Effect::Now), "{live:?}");
        new.bind.set_port(1);
        new.metrics_addr = Some(new.bind);
        let both = differences(&old, &new);
        assert!(
            both.contains(&("bind", Effect::AtRestart))
                && both.contains(&("metrics_addr", Effect::AtRestart))
        );
        let mut taken = old.clone();
        taken.take_live(new.clone());
        // What is left is what waits for a restart, again and again.
        assert_eq!(
            differences(&taken, &new).iter().map(|(key, _)| *key).collect::<Vec<_>>(),
            ["bind", "metrics_addr"]
        );
        assert_eq!(differences(&old, &old), []);
    }

    #[test]
    fn keys_are_those_of_the_option_table() {
        let Ok(Parsed::Run(flags)) = parse(
            &AGENT,
            ["-bind=1.2.3.4:5", "-profile=wan", "-snapshot=s", "-node=other"].map(Into::into).to_vec(),
        ) else {
            panic!("flags");
        };
        let other = AgentConfig::load(&flags);
        for (key, _) in other.map(|(other, _)| differences(&config(), &other)).unwrap_or_default() {
            assert!(AGENT.options.iter().any(|o| o.key == Some(key)), "{key}");
        }
    }
}
