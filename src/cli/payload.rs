//! What `event` and `query` carry: the second argument, or standard input.

use super::console::Failure;
use crate::model::Text;
use std::io::Read;

/// The most that is read from standard input, in bytes. No agent takes as much; it says what it
/// does take.
const MAX_INPUT: u64 = 256 * 1024;

/// Name and payload from the arguments. `what` is what has the name.
pub(super) fn name_and_payload<'a>(
    what: &str,
    arguments: &'a [Text],
    input: impl Read,
) -> Result<(&'a Text, Vec<u8>), Failure> {
    match arguments {
        [] => Err(Failure::Misuse(format!("{what} name must be specified."))),
        [name] => Ok((name, Vec::new())),
        [name, dash] if *dash == "-" => {
            let mut payload = Vec::new();
            let read = input.take(MAX_INPUT + 1).read_to_end(&mut payload);
            match read {
                Err(e) => Err(Failure::message("Error reading the payload", e)),
                Ok(len) if len as u64 > MAX_INPUT => {
                    Err(Failure::Message(format!("The payload is larger than {MAX_INPUT} bytes")))
                }
                Ok(_) => Ok((name, payload)),
            }
        }
        [name, payload] => Ok((name, payload.as_bytes().to_vec())),
        _ => Err(Failure::Misuse(
            "Too many command line arguments. Only a name and payload must be specified.".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], input: &[u8]) -> Result<(String, Vec<u8>), String> {
        let arguments: Vec<Text> = arguments.iter().map(|a| Text::from(*a)).collect();
        match name_and_payload("An event", &arguments, input) {
            Ok((name, payload)) => Ok((name.to_string(), payload)),
            Err(Failure::Misuse(text) | Failure::Message(text)) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_payload_is_an_argument_or_what_is_read() {
        let input = b"from \xff\x00 input\n";
        for (arguments, payload) in [
            (&["x"][..], &b""[..]),
            (&["x", ""], b""),
            (&["x", "y z"], b"y z"),
            (&["x", "--"], b"--"),
            (&["x", "-"], input),
        ] {
            assert_eq!(read(arguments, input), Ok(("x".into(), payload.to_vec())), "{arguments:?}");
        }
        assert_eq!(read(&[], b"").unwrap_err(), "An event name must be specified.");
        let many = "Too many command line arguments. Only a name and payload must be specified.";
        assert_eq!(read(&["x", "-", "z"], b"").unwrap_err(), many);
        let most = usize::try_from(MAX_INPUT).unwrap();
        assert_eq!(read(&["x", "-"], &vec![0; most]).unwrap().1.len(), most);
        assert_eq!(
            read(&["x", "-"], &vec![0; most + 1]).unwrap_err(),
            "The payload is larger than 262144 bytes"
        );
    }
}
