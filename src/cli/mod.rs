//! One file per command; talks to a human.
