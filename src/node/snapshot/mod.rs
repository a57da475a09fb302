//! What a snapshot keeps, so that an agent that crashed knows which members there were and how far
//! the clocks had come: the lines of the file, what is known from them, and what is to be written.
//! Rules only; the file is the business of `agent/`.

pub mod known;
pub mod line;
pub mod notes;
pub mod reading;

pub use known::Known;
pub use line::{ClockKind, Clocks, Line};
pub use notes::Notes;
pub use reading::{Reading, Recalled};
