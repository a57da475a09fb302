//! `serf keygen`: a fresh encryption key.

use super::console::{Console, Failure};
use crate::config::Flags;
use crate::wire::base64_text;

/// The longest key that AES takes, in bytes.
const KEY_LEN: usize = 32;

/// Runs the command.
pub(super) fn run(_flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut key = [0u8; KEY_LEN];
    getrandom::fill(&mut key).map_err(|e| Failure::message("Error reading random data", e))?;
    console.line(base64_text::encode(&key).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_32_bytes_and_differ() {
        let mut printed = [Vec::new(), Vec::new()];
        for out in &mut printed {
            run(&Flags::default(), &mut Console::new(out, &mut Vec::new())).unwrap();
            let text = std::str::from_utf8(out).unwrap().strip_suffix('\n').unwrap();
            assert_eq!(base64_text::decode(text).unwrap().len(), KEY_LEN);
        }
        assert_ne!(printed[0], printed[1]);
    }
}
