//! SIGHUP: reads the configuration again and applies what does not need a restart, all of it or
//! nothing.

use super::main_loop::Agent;
use super::parts::handlers_shown;
use crate::agent::channels::ToEvents;
use crate::agent::rpc::RpcMessage;
use crate::config::AgentConfig;
use crate::membership::Origin;
use std::time::Duration;

/// How long the main thread waits for room in another thread's channel.
const PATIENCE: Duration = Duration::from_secs(1);

impl Agent {
    /// Reloads. A configuration with any error leaves everything as it is.
    pub(super) fn reload(&mut self) {
        self.say("Reloading configuration...");
        let refuse = |why: String| {
            log::error!(target: "agent", "Failed to reload configuration, nothing has changed: {why}");
        };
        let (new, warnings) = match AgentConfig::load(&self.flags) {
            Ok(loaded) => loaded,
            Err(why) => return refuse(why.to_string()),
        };
        let tags = match self.tags.reconfigured(new.tags.clone()) {
            Ok(tags) => tags,
            Err(why) => return refuse(why.to_string()),
        };
        for warning in warnings {
            log::warn!(target: "agent", "{warning}");
        }
        if tags.effective() != self.tags.effective()
            && let Err(why) = self.running.set_tags(tags.effective())
        {
            return refuse(why.to_string());
        }
        self.tags = tags;
        let changes = self.config.reload(new);
        if changes.applied("log_level") {
            self.logger.set_level(self.config.log_level);
        }
        if changes.applied("rpc_auth") {
            let key = self.config.rpc_auth.clone().unwrap_or_default();
            self.running.threads.rpc.sender().send(RpcMessage::AuthKey(key));
        }
        if changes.applied("event_handlers") {
            self.change_handlers();
        }
        // An attempt that is under way ends as it began; the next one is for these.
        if changes.applied("retry_join") {
            self.running.channels.keep_seeds(self.config.retry_join.clone(), Origin::Configured);
        }
        log::info!(target: "agent", "Reloaded configuration; changed: {}", list(&changes.applied));
        if !changes.at_restart.is_empty() {
            log::warn!(target: "agent", "These settings changed and take effect after a restart: {}", list(&changes.at_restart));
        }
    }

    fn change_handlers(&mut self) {
        let scripts = self.config.event_handlers.clone();
        self.running.threads.rpc.sender().send(RpcMessage::Handlers(handlers_shown(&self.config)));
        self.running.threads.handlers.set_scripts(scripts.clone());
        if !self.running.channels.events.send_within(ToEvents::Scripts(scripts), PATIENCE) {
            // It only decides whether an answer to a query is announced; the handlers themselves
            // are in place.
            log::warn!(target: "agent", "serf-events did not hear of the changed event handlers");
        }
    }
}

fn list(keys: &[&str]) -> String {
    if keys.is_empty() { "nothing".to_string() } else { keys.join(", ") }
}
