//! Flags and files, and the validated configuration they become.
