//! How control commands find their agent: flags, then the environment, then the default.

use super::console::Failure;
use crate::config::Flags;
use crate::model::Text;
use crate::rpc::{Client, ClientConfig};
use std::os::unix::ffi::OsStringExt;

/// Where an agent listens unless configured otherwise.
const DEFAULT_ADDR: &str = "127.0.0.1:7373";

/// Connects to the agent that the flags or the environment name.
pub(super) fn connect(flags: &Flags) -> Result<Client, Failure> {
    Client::connect(&target(flags, |name| Some(std::env::var_os(name)?.into_vec().into())))
        .map_err(|e| Failure::message("Error connecting to Serf agent", e))
}

/// Address and token. An empty variable counts as not set; an empty flag is the value that was given, as
/// with Serf, so that what was to name one agent never reaches another.
fn target(flags: &Flags, environment: impl Fn(&str) -> Option<Text>) -> ClientConfig {
    let pick = |flag: &str, variable: &str| {
        let given = flags.given_bytes(flag).cloned();
        given.or_else(|| environment(variable).filter(|text| !text.is_empty()))
    };
    let addr = pick("rpc-addr", "SERF_RPC_ADDR").map_or_else(|| DEFAULT_ADDR.to_string(), |a| a.to_string());
    ClientConfig {
        auth_key: pick("rpc-auth", "SERF_RPC_AUTH").unwrap_or_default(),
        ..ClientConfig::new(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::LEAVE;
    use crate::config::{Parsed, parse};

    #[test]
    fn flags_win_over_the_environment_over_the_default() {
        let both = |name: &str| Some(if name == "SERF_RPC_ADDR" { "env:1".into() } else { "envkey".into() });
        let empty = |_: &str| Some(Text::default());
        let nothing = |_: &str| None;
        let flags = |arguments: &[&str]| match parse(&LEAVE, arguments.iter().map(Into::into).collect()) {
            Ok(Parsed::Run(flags)) => flags,
            other => panic!("{other:?}"),
        };
        let check =
            |arguments: &[&str], environment: &dyn Fn(&str) -> Option<Text>, expected: (&str, &str)| {
                let found = target(&flags(arguments), environment);
                assert_eq!((found.addr.as_str(), &*found.auth_key.to_lossy()), expected, "{arguments:?}");
            };
        check(&["-rpc-addr=flag:1", "-rpc-auth=key"], &both, ("flag:1", "key"));
        check(&[], &both, ("env:1", "envkey"));
        check(&["-rpc-addr=", "-rpc-auth="], &both, ("", ""));
        check(&[], &empty, (DEFAULT_ADDR, ""));
        check(&[], &nothing, (DEFAULT_ADDR, ""));
    }
}
