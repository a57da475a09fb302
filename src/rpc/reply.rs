//! What the agent replies to a request.

use super::codec::Body;
use super::commands::Call;
use super::member_list::MemberList;
use std::fmt::Display;

/// A reply on its way to a connection: an error or none, and the bytes of the command's response.
#[derive(Clone, Debug, Default)]
pub(crate) struct RpcReply {
    /// Text for the client; empty when all went well.
    pub(super) error: String,
    /// None where the command has no response; after an error the connection adds an empty one.
    pub(super) body: Option<Vec<u8>>,
    /// The response, if it is a list of members.
    pub(super) list: Option<MemberList>,
}

impl RpcReply {
    /// How a call went.
    pub(crate) fn to<C: Call>(result: Result<C::Response, impl Display>) -> RpcReply {
        match result {
            Ok(response) => RpcReply::with::<C>(&response),
            Err(why) => RpcReply::refusal(why),
        }
    }

    /// A response without an error.
    pub(crate) fn with<C: Call>(response: &C::Response) -> RpcReply {
        let mut body = Vec::new();
        response.write(&mut body);
        RpcReply { error: String::new(), body: C::Response::PRESENT.then_some(body), list: None }
    }

    /// A list of members, or why there is none.
    pub(crate) fn listing(list: Result<MemberList, impl Display>) -> RpcReply {
        match list {
            Ok(list) => RpcReply { error: String::new(), body: None, list: Some(list) },
            Err(why) => RpcReply::refusal(why),
        }
    }

    /// The same with an error besides, if there is one: it has worked in part.
    pub(crate) fn but(mut self, error: Option<impl Display>) -> RpcReply {
        self.error = error.map(|why| why.to_string()).unwrap_or_default();
        self
    }

    /// An error alone.
    pub(crate) fn refusal(why: impl Display) -> RpcReply {
        RpcReply { error: why.to_string(), body: None, list: None }
    }
}
