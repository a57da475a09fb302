//! Replays the seeds and the findings of fuzzing (`tests/fuzz`): what once broke a decoder, or
//! nearly, never does again.
#![allow(clippy::disallowed_methods, reason = "tests read files; rules do not")]

#[path = "fuzz/decoders.rs"]
mod decoders;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_seed_is_taken_without_a_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, decoder) in decoders::DECODERS {
        let folder = corpus.join(name);
        let seeds = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut count = 0;
        for seed in seeds {
            let path = seed.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            // Named before, so that a failure says which it was.
            println!("{}", path.display());
            decoder(&bytes);
            // Cut short anywhere, and with any bit of its head flipped, it must be taken as well.
            for cut in 0..bytes.len().min(64) {
                decoder(&bytes[..cut]);
                let mut flipped = bytes.clone();
                flipped[cut] ^= 1 << (cut % 8);
                decoder(&flipped);
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}

#[test]
fn every_decoder_has_a_target_and_every_folder_a_decoder() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let names: BTreeSet<String> = decoders::DECODERS.iter().map(|(name, _)| name.to_string()).collect();
    let listed = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz.join(folder)).unwrap();
        entries.map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string()).collect()
    };
    assert_eq!(listed("targets"), names);
    assert_eq!(listed("corpus"), names);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in &names {
        assert!(
            manifest.contains(&format!("path = \"targets/{name}.rs\"")),
            "{name} is in tests/fuzz/Cargo.toml"
        );
    }
}
