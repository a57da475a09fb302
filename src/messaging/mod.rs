//! What is said: the broadcast queue. Rules, no I/O.
