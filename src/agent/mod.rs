//! The threads: sockets, clocks, processes, files. One file per thread.

pub mod rpc;
