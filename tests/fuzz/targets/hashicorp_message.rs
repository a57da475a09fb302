//! Fuzzes `hashicorp_message`.
#![no_main]

#[path = "../decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::hashicorp_message(bytes));
