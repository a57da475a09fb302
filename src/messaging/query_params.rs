//! What the one that asks a query decides about it.

use crate::model::{Footprint, NodeName, Text};
use crate::wire::message::QueryFilter;
use std::collections::BTreeMap;
use std::time::Duration;

/// A query as it is asked, before it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryParams {
    /// What it is called.
    pub name: Text,
    /// What it carries.
    pub payload: Vec<u8>,
    /// Only these members are asked, of an empty list nobody; `None` for everyone.
    pub nodes: Option<Vec<NodeName>>,
    /// Only members whose tags match these expressions, each anywhere in the value, are asked.
    pub tags: BTreeMap<Text, Text>,
    /// Whether every member that is asked confirms that the query arrived.
    pub request_ack: bool,
    /// Through how many other members each answer is sent as well, against loss.
    pub relay_factor: u8,
    /// How long answers are collected; `None` for the default, which grows with the cluster.
    pub timeout: Option<Duration>,
}

impl Footprint for QueryParams {
    fn footprint(&self) -> usize {
        let nodes: usize = self.nodes.iter().flatten().map(Footprint::footprint).sum();
        let tags: usize = self.tags.iter().map(|(tag, value)| tag.footprint() + value.footprint()).sum();
        size_of::<QueryParams>() + self.name.len() + self.payload.len() + nodes + tags
    }
}

impl QueryParams {
    /// Which members are asked, as a query says it.
    pub fn filters(&self) -> Vec<QueryFilter> {
        let nodes = self.nodes.iter().map(|nodes| QueryFilter::Nodes(nodes.clone()));
        let of_tag = |(tag, expression): (&Text, &Text)| QueryFilter::Tag {
            tag: tag.clone(),
            expression: expression.clone(),
        };
        nodes.chain(self.tags.iter().map(of_tag)).collect()
    }
}

/// What is reported about a query to the one that asked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryProgress {
    /// The query arrived at this member.
    Ack {
        /// Its name.
        from: NodeName,
    },
    /// This member answered.
    Response {
        /// Its name.
        from: NodeName,
        /// Its answer.
        payload: Vec<u8>,
    },
    /// The query is over: the time is up, or every member that should answer has.
    Done,
}
