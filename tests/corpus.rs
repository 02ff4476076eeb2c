//! The fuzz targets on a stable toolchain: every seed that was kept, and variations of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and the targets are public for the fuzzer"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

#[path = "../fuzz/targets/authority.rs"]
mod authority;
#[path = "../fuzz/targets/coding.rs"]
mod coding;
#[path = "../fuzz/targets/config.rs"]
mod config;
#[path = "../fuzz/targets/fields.rs"]
mod fields;
#[path = "../fuzz/targets/identity.rs"]
mod identity;
#[path = "../fuzz/targets/json.rs"]
mod json;
#[path = "../fuzz/targets/key.rs"]
mod key;
#[path = "../fuzz/targets/lines.rs"]
mod lines;
#[path = "../fuzz/targets/pointer.rs"]
mod pointer;
#[path = "../fuzz/targets/proxy.rs"]
mod proxy;
#[path = "../fuzz/targets/record.rs"]
mod record;
#[path = "../fuzz/targets/string.rs"]
mod string;

type Run = fn(&[u8]);

const TARGETS: [(&str, Run); 11] = [
    ("authority", authority::run),
    ("coding", coding::run),
    ("config", config::run),
    ("fields", fields::run),
    ("identity", identity::run),
    ("json", json::run),
    ("key", key::run),
    ("pointer", pointer::run),
    ("proxy", proxy::run),
    ("record", record::run),
    ("string", string::run),
];

#[test]
fn every_seed_holds() {
    let mut failed = Vec::new();
    for (target, run) in TARGETS {
        for (path, seed) in seeds(target) {
            if catch_unwind(|| run(&seed)).is_err() {
                failed.push(path);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_target_is_here_and_has_seeds() {
    let here: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), here);
    assert_eq!(names("corpus"), here);
    for (target, _) in TARGETS {
        assert!((5..=50).contains(&seeds(target).len()), "{target}");
    }
}

#[test]
fn variations_of_authority_hold() {
    vary("authority", authority::run, 4096);
}

#[test]
fn variations_of_coding_hold() {
    vary("coding", coding::run, 2048);
}

#[test]
fn variations_of_config_hold() {
    vary("config", config::run, 1024);
}

#[test]
fn variations_of_fields_hold() {
    vary("fields", fields::run, 4096);
}

#[test]
fn variations_of_identity_hold() {
    vary("identity", identity::run, 2048);
}

#[test]
fn variations_of_json_hold() {
    vary("json", json::run, 4096);
}

#[test]
fn variations_of_key_hold() {
    vary("key", key::run, 4096);
}

#[test]
fn variations_of_pointer_hold() {
    vary("pointer", pointer::run, 4096);
}

#[test]
fn variations_of_proxy_hold() {
    vary("proxy", proxy::run, 256);
}

#[test]
fn variations_of_record_hold() {
    vary("record", record::run, 4096);
}

#[test]
fn variations_of_string_hold() {
    vary("string", string::run, 4096);
}

/// Runs a target on this many inputs, or on `PROPTEST_CASES` if that is more.
fn vary(target: &str, run: Run, cases: u32) {
    let config = Config::default();
    let cases = config.cases.max(cases);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..config });
    let seeds = seeds(target).into_iter().map(|(_, seed)| seed).collect();
    let result = runner.run(&inputs(seeds), |input| {
        run(&input.0);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{target}: {error}"));
}

/// An input that is shown as text as far as it is text.
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Insert(Vec<u8>),
    Replace(Vec<u8>),
    Flip(u8),
    Remove(Index),
    Repeat(Index),
    /// Goes on as another seed does from there.
    Splice(Index),
}

fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..80).prop_map(Input);
    let few = || proptest::collection::vec(any::<u8>(), 1..4);
    let edit = prop_oneof![
        few().prop_map(Edit::Insert),
        few().prop_map(Edit::Replace),
        (0..8_u8).prop_map(Edit::Flip),
        any::<Index>().prop_map(Edit::Remove),
        any::<Index>().prop_map(Edit::Repeat),
        any::<Index>().prop_map(Edit::Splice),
    ];
    let edits = proptest::collection::vec((any::<Index>(), edit), 0..6);
    let varied = (select(seeds.clone()), select(seeds), edits).prop_map(|(seed, other, edits)| {
        Input(
            edits
                .iter()
                .fold(seed, |input, (at, edit)| edited(input, at.index(usize::MAX), edit, &other)),
        )
    });
    prop_oneof![1 => bytes, 9 => varied]
}

fn edited(mut input: Vec<u8>, at: usize, edit: &Edit, other: &[u8]) -> Vec<u8> {
    let at = at % (input.len() + 1);
    let to = |end: &Index| at + end.index(input.len() - at + 1).min(64);
    match edit {
        Edit::Insert(bytes) => drop(input.splice(at..at, bytes.iter().copied())),
        Edit::Replace(bytes) => {
            let end = input.len().min(at + bytes.len());
            drop(input.splice(at..end, bytes.iter().copied()));
        }
        Edit::Flip(bit) => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Edit::Remove(end) => drop(input.drain(at..to(end))),
        Edit::Repeat(end) => {
            let piece = input[at..to(end)].to_vec();
            drop(input.splice(at..at, piece));
        }
        Edit::Splice(from) => {
            input.truncate(at);
            input.extend_from_slice(&other[from.index(other.len() + 1)..]);
        }
    }
    input
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(fuzz().join(folder)).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|file| stem(file.unwrap().path())).collect()
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}
