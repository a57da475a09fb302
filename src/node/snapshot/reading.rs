//! Reading a snapshot file, whatever is in it.
//!
//! Every byte is hostile: what is no line of a snapshot is skipped and counted, whatever its length,
//! and so is a last line without its end, which a crash has torn.

use super::known::Known;
use super::line::{Line, MAX_LINE, NoLine};

/// Reads a file piece by piece, however it is cut.
#[derive(Debug)]
pub struct Reading {
    known: Known,
    /// The line so far; at most [`MAX_LINE`] bytes.
    line: Vec<u8>,
    /// The line is longer than that.
    oversized: bool,
    read: u64,
    /// Length of the whole lines.
    whole: u64,
    skipped: usize,
}

/// What a file says.
#[derive(Debug)]
pub struct Recalled {
    /// What is known from it.
    pub known: Known,
    /// How many lines were skipped, a torn last one included.
    pub skipped: usize,
    /// Bytes up to the end of the last whole line. What lies beyond is torn: if something were
    /// appended to it, half a number would be taken for a whole one.
    pub length: u64,
}

impl Reading {
    /// Nothing read yet. With `rejoin`, a leave is ignored.
    pub fn new(rejoin: bool) -> Reading {
        let (line, oversized) = (Vec::new(), false);
        Reading { known: Known::new(rejoin), line, oversized, read: 0, whole: 0, skipped: 0 }
    }

    /// Goes on with the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.read += piece.len() as u64;
            let (text, ends) = match piece {
                [text @ .., b'\n'] => (text, true),
                text => (text, false),
            };
            self.oversized |= self.line.len() + text.len() > MAX_LINE;
            if !self.oversized {
                self.line.extend_from_slice(text);
            }
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let taken = match Line::parse(&self.line) {
            _ if self.oversized => false,
            Ok(Some(line)) => self.known.recall(line),
            Ok(None) => true,
            Err(NoLine) => false,
        };
        if !taken {
            self.skipped += 1;
        }
        self.line.clear();
        self.oversized = false;
        self.whole = self.read;
    }

    /// That was all.
    pub fn finish(self) -> Recalled {
        let torn = usize::from(self.whole < self.read);
        Recalled { known: self.known, skipped: self.skipped + torn, length: self.whole }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::ClockKind;
    use super::*;
    use crate::model::{LamportTime, NodeName, canonical_ip};
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn read(bytes: &[u8], rejoin: bool) -> Recalled {
        let mut reading = Reading::new(rejoin);
        reading.push(bytes);
        reading.finish()
    }

    fn alive(recalled: &Recalled) -> Vec<String> {
        recalled.known.alive().map(|(name, addr)| format!("{name} {addr}")).collect()
    }

    fn clocks(recalled: &Recalled) -> [u64; 3] {
        let clocks = recalled.known.clocks();
        [clocks.member.0, clocks.event.0, clocks.query.0]
    }

    #[test]
    fn a_file_of_serf_is_understood() {
        let file =
            b"# a comment\nalive: a 10.0.0.1:7946\nalive: b c  10.0.0.2:7946\nalive: v6 [fd00::1]:7946\n\
            alive: m [::ffff:10.0.0.9]:1\nclock: 5\ncoordinate: {}\nevent-clock: 100\nquery-clock: 7\n\
            not-alive: a\nclock: 6\nevent-clock: 99\n";
        let recalled = read(file, false);
        assert_eq!(alive(&recalled), ["b c  10.0.0.2:7946", "m 10.0.0.9:1", "v6 [fd00::1]:7946"]);
        // The last line of a kind counts, as in Serf.
        assert_eq!(clocks(&recalled), [6, 99, 7]);
        assert_eq!((recalled.skipped, recalled.length), (0, file.len() as u64));
    }

    #[test]
    fn a_leave_makes_everything_past_unless_we_rejoin() {
        let file = b"alive: a 10.0.0.1:7946\nclock: 5\nevent-clock: 9\nleave\nclock: 7\n";
        let left = read(file, false);
        assert_eq!((alive(&left), clocks(&left)), (vec![], [7, 0, 0]));
        let rejoins = read(file, true);
        assert_eq!((alive(&rejoins), clocks(&rejoins)), (vec!["a 10.0.0.1:7946".to_string()], [7, 9, 0]));
    }

    #[test]
    fn what_is_no_line_is_skipped_and_counted() {
        let long = format!("alive: {} 10.0.0.1:1", "x".repeat(MAX_LINE));
        let lines = [
            "",
            "leave ",
            "Leave",
            "alive:",
            "alive: a",
            "alive:  10.0.0.1:1",
            "alive: a 10.0.0.1",
            "alive: a 10.0.0.1:0",
            "alive: a 0.0.0.0:7946",
            "alive: a host:7946",
            "alive: a :7946",
            "alive: a\0b 10.0.0.1:1",
            "not-alive: ",
            "clock: ",
            "clock: +5",
            "clock: -5",
            "clock:  5",
            "clock: 5 ",
            "clock: 5\r",
            "clock: 18446744073709551615",
            "event-clock: 99999999999999999999",
            "event-clock: 12event-clock: 13",
            "\0\0\0\0clock: 5",
            &long,
        ];
        for line in lines {
            let recalled = read(format!("{line}\nclock: 3\n").as_bytes(), false);
            assert_eq!((recalled.skipped, clocks(&recalled)[0]), (1, 3), "{line}");
            assert_eq!((alive(&recalled).len(), clocks(&recalled)[1]), (0, 0), "{line}");
        }
        assert_eq!(read(b"alive: \xff\xfe 10.0.0.1:1\n", false).skipped, 0);
    }

    #[test]
    fn a_torn_last_line_is_not_believed() {
        let recalled = read(b"event-clock: 12\nevent-clock: 13", false);
        assert_eq!((clocks(&recalled)[1], recalled.skipped, recalled.length), (12, 1, 16));
    }

    #[test]
    fn a_name_cannot_forge_a_line() {
        let addr = "10.0.0.1:1".parse().unwrap();
        for name in ["x\nleave\n", "a\0b"] {
            let name = NodeName::new(name).unwrap();
            assert!(!Line::Alive(name.clone(), addr).is_writable() && !Line::NotAlive(name).is_writable());
        }
    }

    fn any_line() -> impl Strategy<Value = Line> {
        let name = proptest::collection::vec(
            any::<char>().prop_filter("breaks lines", |c| *c != '\n' && *c != '\0'),
            1..40,
        )
        .prop_map(|chars| NodeName::new(chars.into_iter().collect::<String>()).unwrap());
        let addr = (any::<std::net::IpAddr>(), 1u16..)
            .prop_filter("reachable", |(ip, _)| !ip.is_unspecified() && !canonical_ip(*ip).is_unspecified())
            .prop_map(|(ip, port)| SocketAddr::new(canonical_ip(ip), port));
        let kind = prop_oneof![Just(ClockKind::Member), Just(ClockKind::Event), Just(ClockKind::Query)];
        prop_oneof![
            (name.clone(), addr).prop_map(|(name, addr)| Line::Alive(name, addr)),
            name.prop_map(Line::NotAlive),
            (kind, 0..u64::MAX).prop_map(|(kind, time)| Line::Clock(kind, LamportTime(time))),
            Just(Line::Leave),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(line in any_line()) {
            prop_assert!(line.is_writable());
            let bytes = line.to_bytes();
            let text = bytes.strip_suffix(b"\n").unwrap();
            prop_assert!(text.len() <= MAX_LINE && !text.contains(&b'\n'));
            prop_assert_eq!(Line::parse(text), Ok(Some(line)));
        }

        #[test]
        fn any_bytes_are_read_however_they_are_cut(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b' ')], 0..4000),
            piece in 1usize..2000,
        ) {
            let whole = read(&bytes, false);
            let mut reading = Reading::new(false);
            bytes.chunks(piece).for_each(|piece| reading.push(piece));
            let pieces = reading.finish();
            prop_assert_eq!(pieces.known, whole.known);
            prop_assert_eq!((pieces.skipped, pieces.length), (whole.skipped, whole.length));
            prop_assert!(whole.length <= bytes.len() as u64);
        }

        #[test]
        fn lines_cut_anywhere_are_read_up_to_there(
            lines in proptest::collection::vec(any_line(), 0..20),
            cut in any::<proptest::sample::Index>(),
        ) {
            let text: Vec<u8> = lines.iter().flat_map(Line::to_bytes).collect();
            let cut = cut.index(text.len() + 1);
            let recalled = read(&text[..cut], false);
            let whole = text[..cut].iter().filter(|b| **b == b'\n').count();
            let mut known = Known::new(false);
            lines.into_iter().take(whole).for_each(|line| { known.recall(line); });
            prop_assert_eq!(recalled.known, known);
            prop_assert!(recalled.skipped <= 1);
        }
    }
}
