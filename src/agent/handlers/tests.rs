//! The running thread with real scripts. Waits are polls with a deadline.

pub mod samples;
