//! Who is here: the membership table and the rules that change it. No I/O.

mod config;

pub use config::{Config, Profile};
