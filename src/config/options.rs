//! The one table of commands and their options: parsing, validation, the effect of a reload, `-h` and
//! the reference come from it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `spec` | what a row can say |
//! | `settings` | an agent's settings, with and without flags; how to add one |
//! | `control` | the control commands |
//!
//! What a row means is written there and nowhere else. How arguments are read is in `flags`, how the
//! table becomes help text in `usage`, how the values of an agent are read and checked in `reading`.

mod control;
mod settings;
mod spec;

pub(crate) use control::{
    COMPLETION, EVENT, FORCE_LEAVE, INFO, JOIN, KEYGEN, KEYS, LEAVE, MEMBERS, MONITOR, QUERY, REACHABILITY,
    RTT, SHELLS, TAGS, VERSION,
};
pub use settings::{AGENT, settings};
pub(crate) use settings::{FILE_ONLY, RPC_PORT, row};
pub use spec::{CommandSpec, OptionSpec};
pub(crate) use spec::{DefaultValue, Form, Limits, Operands, Reload, SettingKind};

/// Every command, in alphabetical order.
#[cfg(test)]
pub(crate) const COMMANDS: &[&CommandSpec] = &[
    &AGENT,
    &COMPLETION,
    &EVENT,
    &FORCE_LEAVE,
    &INFO,
    &JOIN,
    &KEYGEN,
    &KEYS,
    &LEAVE,
    &MEMBERS,
    &MONITOR,
    &QUERY,
    &REACHABILITY,
    &RTT,
    &TAGS,
    &VERSION,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of these words that are not in the list.
    fn missing(words: &'static str, list: &[&str]) -> Vec<&'static str> {
        words.split_whitespace().filter(|word| !list.contains(word)).collect()
    }

    #[test]
    fn the_agent_has_every_flag_of_serf() {
        let names: Vec<&str> = AGENT.options.iter().map(|o| o.name()).collect();
        let of_serf = "advertise bind broadcast-timeout config-dir config-file disable-compression discover \
                       encrypt event-handler iface join keyring-file log-level mdns-disable-ipv4 \
                       mdns-disable-ipv6 mdns-iface node profile protocol rejoin replay retry-interval \
                       retry-join retry-max role rpc-addr snapshot syslog tag tags-file";
        assert_eq!(missing(of_serf, &names), [""; 0]);
    }

    #[test]
    fn files_have_every_key_of_serf() {
        let keys: Vec<&str> = settings().filter_map(|o| o.key).collect();
        let of_serf = "advertise bind broadcast_timeout disable_coordinates disable_name_resolution discover \
                       enable_compression enable_syslog encrypt_key event_handlers interface keyring_file \
                       leave_on_terminate log_level mdns.disable_ipv4 mdns.disable_ipv6 mdns.interface node_name \
                       profile protocol query_response_size_limit query_size_limit reconnect_interval \
                       reconnect_timeout rejoin_after_leave replay_on_join retry_interval retry_join \
                       retry_max_attempts role rpc_addr rpc_auth skip_leave_on_interrupt snapshot_path start_join \
                       statsd_addr statsite_addr syslog_facility tags tags_file tombstone_timeout \
                       user_event_size_limit validate_node_names";
        assert_eq!(missing(of_serf, &keys), [""; 0]);
    }

    #[test]
    fn rows_are_well_formed() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for command in COMMANDS {
            for (i, option) in command.options.iter().enumerate() {
                let at = format!("{} -{}", command.name, option.name());
                assert!(!option.name().is_empty(), "{at}");
                assert!(command.options[..i].iter().all(|o| o.name() != option.name()), "{at} twice");
                // These are answered before the table is asked.
                assert!(!["h", "help", "v", "version"].contains(&option.name()), "{at}");
                well_formed(option, &at);
            }
        }
        assert!(FILE_ONLY.is_sorted_by_key(|row| row.key()));
        let keys: Vec<&str> = settings().map(|row| row.key()).collect();
        for (i, row) in settings().enumerate() {
            let at = row.key();
            assert!(at.chars().all(|c| c.is_ascii_lowercase() || "_.46".contains(c)), "{at}");
            assert!(!keys[..i].contains(&at), "{at} twice");
            well_formed(row, at);
        }
        assert!(FILE_ONLY.iter().all(|row| row.flag().is_none()));
    }

    fn well_formed(row: &OptionSpec, at: &str) {
        let (form, shown) = (row.kind.form(), row.placeholder());
        assert_eq!(form == Form::Switch, shown.is_empty(), "{at}");
        assert!(row.help().ends_with('.'), "{at}");
        // Where a list is asked for all values count, and elsewhere the last.
        assert!(!row.repeatable || matches!(form, Form::Text | Form::Pair), "{at}");
        let default = match row.default {
            DefaultValue::None | DefaultValue::Words(_) => None,
            DefaultValue::On => Some(Form::Switch),
            DefaultValue::Text(_) => Some(Form::Text),
            DefaultValue::Number(_) => Some(Form::Number),
            DefaultValue::Duration(_) => Some(Form::Duration),
        };
        assert!(default.is_none_or(|default| default == form), "{at}: the default is of another form");
        let limited = match row.limits {
            Limits::None => None,
            Limits::Between(..) | Limits::NotBelow(_) => Some(Form::Number),
            Limits::AtLeast(_) => Some(Form::Duration),
            Limits::Length(_) => Some(Form::Text),
        };
        assert!(limited.is_none_or(|limited| limited == form), "{at}: the limits are of another form");
        assert!(
            row.kind != SettingKind::Size || matches!(row.limits, Limits::Between(..)),
            "{at}: a size is limited"
        );
        if let SettingKind::Choice(words) = row.kind {
            assert!(words.iter().all(|word| row.help().contains(word) || shown.contains(word)), "{at}");
        }
    }

    #[test]
    fn a_row_is_found_by_its_key() {
        for setting in settings() {
            assert_eq!(row(setting.key()).key, setting.key);
        }
        assert!(std::panic::catch_unwind(|| row("bogus")).is_err(), "which the compiler says as an error");
    }
}
