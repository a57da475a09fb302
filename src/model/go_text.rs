//! Text that is not UTF-8, as Go shows it.

/// Bytes as text, as Go's JSON has them: each byte that is none becomes one U+FFFD. (What Rust
/// calls lossy makes one of several.)
pub fn go_text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                out.push_str(text);
                return out;
            }
            Err(e) => {
                let (text, after) = rest.split_at(e.valid_up_to());
                out.push_str(&String::from_utf8_lossy(text));
                out.push(char::REPLACEMENT_CHARACTER);
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_that_is_no_text_becomes_one_replacement() {
        for (bytes, text) in [
            (&b"plain \xc3\xa9"[..], "plain é"),
            (b"", ""),
            (b"a\xff\xe2\x82<", "a\u{fffd}\u{fffd}\u{fffd}<"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xe2\x82", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(go_text(bytes), text, "{bytes:x?}");
        }
    }
}
