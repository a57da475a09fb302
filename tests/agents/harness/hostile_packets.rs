//! Hostile packets: noise, and valid packets with damage, from a seed.

/// The first byte of a datagram with a checksum: then four bytes of CRC-32, then a message.
const HAS_CRC: u8 = 12;

/// The first bytes of a native stream: kind, length (4 bytes), CRC-32 of kind and body (4 bytes).
const NATIVE_STREAM: std::ops::RangeInclusive<u8> = 0xa0..=0xa3;
const STREAM_HEADER: usize = 9;

/// The longest noise: a full datagram of the agents' own budget.
const NOISE_LIMIT: usize = 1400;

/// Makes hostile packets out of valid ones. The same seed and samples give the same packets.
pub(crate) struct Mutator {
    rng: fastrand::Rng,
    samples: Vec<Vec<u8>>,
    repair_checksums: bool,
}

impl Mutator {
    pub(crate) fn new(seed: u64, samples: Vec<Vec<u8>>) -> Mutator {
        assert!(samples.iter().any(|s| s.len() > 8), "damage needs something to damage");
        Mutator { rng: fastrand::Rng::with_seed(seed), samples, repair_checksums: false }
    }

    /// Puts a right checksum on damaged packets, so that the damage reaches the decoders behind it.
    pub(crate) fn repairing_checksums(mut self) -> Mutator {
        let has_checksum = |sample: &Vec<u8>| sample.first().is_some_and(|kind| checksum_follows(*kind));
        assert!(self.samples.iter().any(has_checksum), "no sample has a checksum to repair");
        self.repair_checksums = true;
        self
    }

    /// The next packet.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let mut packet = match self.rng.u8(0..6) {
            0 => self.noise(),
            1 => self.noise_of_a_kind(),
            2 => self.truncated(),
            3 => self.spliced(),
            _ => self.flipped(),
        };
        if self.repair_checksums {
            repair(&mut packet);
        }
        packet
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.rng.usize(0..=NOISE_LIMIT);
        (0..length).map(|_| self.rng.u8(..)).collect()
    }

    /// Noise behind the first byte of a valid packet, so that it gets past the first check.
    fn noise_of_a_kind(&mut self) -> Vec<u8> {
        let mut packet = self.noise();
        let first = self.sample()[0];
        // Message types are small numbers; any of them may be tried.
        packet.insert(0, if self.rng.bool() { first } else { self.rng.u8(0..16) });
        packet
    }

    fn truncated(&mut self) -> Vec<u8> {
        let mut packet = self.sample();
        let length = self.rng.usize(0..packet.len());
        packet.truncate(length);
        packet
    }

    /// The beginning of one packet and the end of another.
    fn spliced(&mut self) -> Vec<u8> {
        let mut packet = self.truncated();
        let tail = self.sample();
        packet.extend_from_slice(&tail[self.rng.usize(0..tail.len())..]);
        packet
    }

    fn flipped(&mut self) -> Vec<u8> {
        let mut packet = self.sample();
        for _ in 0..self.rng.usize(1..=8) {
            let at = self.rng.usize(0..packet.len());
            packet[at] ^= 1 << self.rng.u8(0..8);
        }
        packet
    }

    fn sample(&mut self) -> Vec<u8> {
        loop {
            let sample = &self.samples[self.rng.usize(0..self.samples.len())];
            if !sample.is_empty() {
                return sample.clone();
            }
        }
    }
}

fn checksum_follows(kind: u8) -> bool {
    kind == HAS_CRC || NATIVE_STREAM.contains(&kind)
}

/// Makes length and checksum fit the rest of a packet, if it is of a kind that has them.
fn repair(packet: &mut [u8]) {
    match packet.first() {
        Some(&HAS_CRC) if packet.len() >= 5 => {
            let checksum = crc32fast::hash(&packet[5..]).to_be_bytes();
            packet[1..5].copy_from_slice(&checksum);
        }
        Some(kind) if NATIVE_STREAM.contains(kind) && packet.len() >= STREAM_HEADER => {
            let (header, body) = packet.split_at_mut(STREAM_HEADER);
            let mut checksum = crc32fast::Hasher::new();
            checksum.update(&header[..1]);
            checksum.update(body);
            header[1..5].copy_from_slice(&(body.len() as u32).to_le_bytes());
            header[5..9].copy_from_slice(&checksum.finalize().to_le_bytes());
        }
        _ => {}
    }
}

/// The beginning of a stream that promises a message of this length, which never comes.
pub(crate) fn stream_promising(kind: u8, length: u32) -> Vec<u8> {
    let mut header = vec![kind];
    header.extend(length.to_le_bytes());
    header.resize(STREAM_HEADER, 0);
    header
}
