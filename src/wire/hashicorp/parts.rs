//! What several records have in common: names, addresses, versions, the sender.

use crate::model::{NodeName, Versions};
use crate::wire::error::WireError;
use crate::wire::message::{Message, Source};
use crate::wire::msgpack::{Fault, Reader, Writer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads a record with `read`; `what` is its name in errors.
pub(crate) fn record<T: Into<Message>>(
    what: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader) -> Result<T, Fault>,
) -> Result<Message, WireError> {
    read(&mut Reader::new(bytes)).map(T::into).map_err(malformed(what))
}

/// The error of a record that does not decode.
pub(crate) fn malformed(what: &'static str) -> impl FnOnce(Fault) -> WireError {
    move |fault| WireError::Malformed { what, why: fault.describe() }
}

pub(crate) fn name(text: &[u8]) -> Result<NodeName, Fault> {
    NodeName::new(text).map_err(|e| Fault::Name(e.to_string()))
}

/// Four bytes or sixteen. HashiCorp's agents compare addresses byte by byte, so that the form
/// matters: theirs of IPv4 is the short one.
pub(crate) fn write_ip(w: &mut Writer, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => w.raw(&ip.octets()),
        IpAddr::V6(ip) => w.raw(&ip.octets()),
    }
}

pub(crate) fn read_ip(r: &mut Reader) -> Result<IpAddr, Fault> {
    let bytes = r.bytes()?;
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| Fault::Not("address"))?;
    Ok(Ipv6Addr::from(sixteen).to_canonical())
}

pub(crate) fn write_versions(w: &mut Writer, v: &Versions) {
    w.raw(&v.to_bytes());
}

/// A vector that is cut short says nothing; the rules refuse what says nothing.
pub(crate) fn read_versions(r: &mut Reader) -> Result<Versions, Fault> {
    Ok(r.bytes()?.first_chunk().map_or(Versions::default(), |bytes| Versions::from_bytes(*bytes)))
}

pub(crate) fn write_source(w: &mut Writer, source: &Source) {
    write_ip(w.field("SourceAddr"), source.addr.ip());
    w.field("SourceNode").raw(source.node.as_bytes());
    w.field("SourcePort").unsigned(source.addr.port());
}

/// The source of a message, field by field. Agents from before 2020 leave it out.
#[derive(Default)]
pub(crate) struct SourceFields {
    ip: Option<IpAddr>,
    node: Option<NodeName>,
    pub port: u16,
}

impl SourceFields {
    pub(crate) fn read_node(&mut self, r: &mut Reader) -> Result<(), Fault> {
        let text = r.bytes()?;
        self.node = if text.is_empty() { None } else { Some(name(text)?) };
        Ok(())
    }

    pub(crate) fn read_ip(&mut self, r: &mut Reader) -> Result<(), Fault> {
        self.ip = if r.nil() { None } else { Some(read_ip(r)?) };
        Ok(())
    }

    pub(crate) fn finish(self) -> Source {
        let ip = self.ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        Source { node: self.node.unwrap_or_else(Source::nameless), addr: SocketAddr::new(ip, self.port) }
    }
}
