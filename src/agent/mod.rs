//! The threads: sockets, clocks, processes, files. One file per thread.

pub mod bind;
pub mod rpc;
