//! What comes in for one query, to be iterated over.

use super::calls::Client;
use super::error::ClientError;
use super::streamed::{QueryAnswer, Record};
use crate::rpc::codec::RecordError;
use crate::rpc::commands::RpcCommand;
use crate::rpc::record::QueryCall;
use std::time::Duration;

/// The acks and responses of one query, as they come in; the iterator ends when the query does.
///
/// An error is the last item. Records of other streams that come in meanwhile are kept for
/// [`Client::next_record`]. Dropped early, what is still to come is thrown away.
#[derive(Debug)]
pub struct Answers<'a> {
    client: &'a mut Client,
    query: u64,
    patience: Option<Duration>,
    ended: bool,
}

impl Answers<'_> {
    fn end(&mut self, result: Result<QueryAnswer, ClientError>) -> Option<Result<QueryAnswer, ClientError>> {
        self.ended = true;
        self.client.forget(self.query);
        match result {
            Ok(_) => None,
            error => Some(error),
        }
    }
}

impl Iterator for Answers<'_> {
    type Item = Result<QueryAnswer, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.client.next_record_of(self.query, self.patience) {
            Ok(Some(Record::Answer(QueryAnswer::Done))) => self.end(Ok(QueryAnswer::Done)),
            Ok(Some(Record::Answer(answer))) => Some(Ok(answer)),
            Ok(Some(_)) => {
                let error = RecordError("not a record of a query".into());
                self.end(Err(ClientError::Reply { command: RpcCommand::Query, error }))
            }
            Ok(None) => self.end(Err(ClientError::Closed)),
            Err(error) => self.end(Err(error)),
        }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.client.forget(self.query);
        }
    }
}

impl Client {
    /// Asks a query and iterates over what comes in. Between two answers, or before the end, it
    /// waits `patience` at most, or for ever; an agent collects answers for seconds.
    pub fn ask(&mut self, query: &QueryCall, patience: Option<Duration>) -> Result<Answers<'_>, ClientError> {
        let query = self.query(query)?;
        Ok(Answers { client: self, query, patience, ended: false })
    }
}
