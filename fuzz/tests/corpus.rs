//! Every target over its whole corpus, and over a fixed number of mutations of
//! it: what libFuzzer searches for hours is walked a little in every test run.

#![expect(clippy::disallowed_methods, reason = "corpora are files")]

use std::fs;
use std::panic;
use std::path::PathBuf;

use base::Rng;
use fuzz::{TARGETS, Target};

/// Octets of the longest mutated input.
const INPUT_BYTES_MAX: usize = 2_048;

/// The inputs kept for a target, by name, in order of their names.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).expect("every target has a corpus");
    let mut inputs: Vec<(String, Vec<u8>)> = entries
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("an input is readable"))
        })
        .collect();
    inputs.sort();
    inputs
}

/// Whether the target takes the input without a panic.
fn passes(target: Target, input: &[u8]) -> bool {
    panic::catch_unwind(|| (target.run)(input)).is_ok()
}

/// `input` changed in a few places, in the ways that find most.
fn mutated(input: &[u8], others: &[(String, Vec<u8>)], random: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let count = (1 + random.below(8) as usize).min(bytes.len() - at);
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.next_u64() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.insert(at, b"\r\n.\0 -<>\"=\x7f\xff"[random.below(12) as usize]),
            3 => drop(bytes.drain(at..at + count)),
            4 => {
                let (_, other) = &others[random.below(others.len() as u64) as usize];
                let from = random.below(other.len() as u64 + 1) as usize;
                let to = from + (random.below(32) as usize).min(other.len() - from);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let piece = bytes[at..at + count].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// Names of the inputs of this target, or the text of the first mutation, that
/// it fails on.
fn failures(target: Target, inputs: &[(String, Vec<u8>)], mutations: u64) -> Vec<String> {
    let mut failed: Vec<String> = inputs
        .iter()
        .filter(|(_, input)| !passes(target, input))
        .map(|(name, _)| format!("corpus/{}/{name}", target.name))
        .collect();
    let mut random = Rng::new(5_321);
    for _ in 0..mutations {
        let (_, input) = &inputs[random.below(inputs.len() as u64) as usize];
        let input = mutated(input, inputs, &mut random);
        if !passes(target, &input) {
            failed.push(format!("{} fails on b\"{}\"", target.name, input.escape_ascii()));
            break;
        }
    }
    failed
}

#[test]
fn every_target_stands_its_corpus_and_what_is_near_it() {
    let mut failed = Vec::new();
    for target in TARGETS {
        let inputs = corpus(target.name);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        failed.extend(failures(*target, &inputs, target.mutations));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The corpus is small, and each of its folders belongs to a target.
#[test]
fn corpora_are_small_and_belong_to_targets() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = 0;
    for entry in fs::read_dir(&folder).expect("the corpora are there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(fuzz::target(&name).is_some(), "corpus/{name} belongs to no target");
        bytes += corpus(&name).iter().map(|(_, input)| input.len()).sum::<usize>();
    }
    assert!(bytes <= 300 << 10, "{bytes} octets of corpus");
}

/// A target that is wrong on purpose is found to be, by a corpus and by the
/// mutations alone.
#[test]
fn a_broken_target_is_caught() {
    fn canary(data: &[u8]) {
        assert!(!data.windows(2).any(|pair| pair == b"\n."), "a dot begins a line");
    }
    let target = Target { name: "canary", run: canary, mutations: 4_000 };
    let of = |input: &[u8]| vec![("input".to_owned(), input.to_vec())];
    assert_eq!(failures(target, &of(b"a\n.b"), 0), ["corpus/canary/input"]);
    assert_eq!(failures(target, &of(b"a\r\nb"), 4_000).len(), 1);
    assert!(failures(target, &of(b"abc"), 0).is_empty());
}
