//! The control protocol: records, a connection as a state machine, a blocking client.
