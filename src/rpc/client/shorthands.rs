//! Names for calls that are made in several places, and for those that are more than a call.

use super::calls::Client;
use super::error::ClientError;
use super::streamed::Streamed;
use crate::model::Text;
use crate::rpc::record::*;

impl Client {
    /// Every member.
    pub fn members(&mut self) -> Result<Vec<MemberInfo>, ClientError> {
        self.call(&MembersCall).map(|reply| reply.members)
    }

    /// Facts and counters, in groups.
    pub fn stats(&mut self) -> Result<Stats, ClientError> {
        self.call(&StatsCall)
    }

    /// Sends a user event.
    pub fn event(
        &mut self,
        name: impl AsRef<[u8]>,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<(), ClientError> {
        self.call(&EventCall { coalesce, name: Text::from(name.as_ref()), payload: payload.to_vec() })
    }

    /// Answers the query with the `ID` of its record.
    pub fn respond(&mut self, id: u64, payload: &[u8]) -> Result<(), ClientError> {
        self.call(&RespondCall { id, payload: payload.to_vec() })
    }

    /// Subscribes to events; answers the number of the stream.
    pub fn stream(&mut self, filter: &str) -> Result<u64, ClientError> {
        self.subscribe(&StreamCall { kind: filter.into() }, Streamed::Events)
    }

    /// Subscribes to log lines from `level` (`debug`, `info`, …) on; answers the stream's number.
    pub(crate) fn monitor(&mut self, level: &str) -> Result<u64, ClientError> {
        self.subscribe(&MonitorCall { log_level: level.into() }, Streamed::Log)
    }

    /// Asks a query; its acknowledgements and responses are records, and the last one says that it
    /// is over. Answers the number of their stream. [`Client::ask`] is simpler where nothing else is
    /// waited for.
    pub fn query(&mut self, query: &QueryCall) -> Result<u64, ClientError> {
        self.subscribe(query, Streamed::Answers)
    }
}
