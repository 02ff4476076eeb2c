//! Processes that end in the middle of their work, and disks that fail under them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use oncegate::clock::Timestamp;
use oncegate::idempotency::{LeaseToken, Record, State};
use oncegate::store::{DiskOptions, Expected, StoreError, Swap};

use super::Ground;
use crate::{Opened, PLENTY, answer, key, with};

/// Where a child process finds its folder.
const FOLDER: &str = "ONCEGATE_STORES_FOLDER";

/// From which key on it works.
const FIRST: &str = "ONCEGATE_STORES_FIRST";

/// A child process, which does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this test again, as a process of its own that works in the folder.
fn start(test: &str, ground: &Ground, first: usize, shell: &str) -> Killed {
    let script = format!("{shell} exec \"$0\" \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, ground.path())
        .env(FIRST, first.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    Killed(child.unwrap())
}

/// The folder and the first key, if this is a process that was started by a test.
fn started() -> Option<(Ground, usize)> {
    let folder = env::var_os(FOLDER)?;
    let first = env::var(FIRST).unwrap().parse().unwrap();
    Some((Ground::at(folder.into()), first))
}

/// Tells the test that a write was acknowledged; in one piece, since the process may be killed.
fn tell(word: &str, number: usize) {
    let line = format!("{word} {number}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// What was told last of each key.
#[derive(Default)]
struct Told(Vec<(String, usize)>);

impl Told {
    /// Takes what a line says; one that was cut, or is another's, says nothing.
    fn take(&mut self, line: &str) {
        let Some((word, number)) = line.strip_suffix('\n').and_then(|line| line.split_once(' '))
        else {
            return;
        };
        let Ok(number) = number.parse() else { return };
        if ["claimed", "ended", "failed", "checked"].contains(&word) {
            self.0.retain(|(_, other)| *other != number || word == "checked");
            self.0.push((word.to_owned(), number));
        }
    }

    /// Takes what a process tells, until it has told so much; then it is killed.
    fn read(&mut self, mut child: Killed, lines_max: usize) {
        let mut lines = BufReader::new(child.0.stderr.take().unwrap());
        let (mut line, mut taken) = (String::new(), 0);
        while lines.read_line(&mut line).unwrap() > 0 {
            self.take(&line);
            line.clear();
            taken += 1;
            if taken == lines_max {
                child.0.kill().unwrap();
            }
        }
        assert!(taken > 0, "the process has told nothing");
    }
}

fn claim_of(it: &Opened, number: usize) -> Record {
    with(&it.in_flight(number as u64), State::InFlight { lease_until: Timestamp::MAX })
}

/// Whether the operation with this number ends.
fn ends(number: usize) -> bool {
    number % 4 != 3
}

/// What is left of the operation with this number in the end.
fn end_of(it: &Opened, claim: &Record, number: usize) -> Option<Record> {
    match number % 4 {
        0 => Some(it.completed(claim, answer(&format!("body {number}")))),
        1 => None,
        _ => Some(with(claim, State::Indeterminate)),
    }
}

async fn work(it: Opened, first: usize, step: usize) {
    for number in (first..).step_by(step) {
        let claim = claim_of(&it, number);
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
        tell("claimed", number);
        if ends(number) {
            let end = end_of(&it, &claim, number);
            assert_eq!(it.change(&key(number), &claim, end.as_ref()).await, Ok(Swap::Done));
            tell("ended", number);
        }
    }
}

/// What was acknowledged is there, and what was not has an unknown outcome or has ended.
async fn check(it: &Opened, word: &str, number: usize) {
    let found = it.load(&key(number)).await;
    let claim = claim_of(it, number);
    let unknown = Some(with(&claim, State::Indeterminate));
    let ended = found == end_of(it, &claim, number);
    assert!(ended || (word == "claimed" && found == unknown), "{word} {number}: {found:?}");
    assert!(found.is_none_or(|found| found.token == LeaseToken(number as u64)));
}

/// S4, S14, P2: after kill -9, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_outlives_a_kill() {
    const WORKERS: usize = 8;
    if let Some((ground, first)) = started() {
        let it = ground.open().unwrap();
        let workers = (0..WORKERS).map(|worker| work(it.clone(), first + worker, WORKERS));
        let workers: tokio::task::JoinSet<_> = workers.collect();
        workers.join_all().await;
        return;
    }
    let ground = Ground::plenty();
    let mut told = Told::default();
    for round in 0..20 {
        let test = "disk::killed::what_was_acknowledged_outlives_a_kill";
        let child = start(test, &ground, round * 1_000_000, "");
        told.read(child, 20 + round * 7);
        let it = ground.open().unwrap();
        for (word, number) in &told.0 {
            check(&it, word, *number).await;
        }
    }
    assert!(told.0.len() > 500, "{}", told.0.len());
}

/// S5: a file that can't grow stands for a disk that is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_that_fails_ends_the_store_and_nothing_that_was_acknowledged() {
    if let Some((ground, _)) = started() {
        fill_until_it_fails(&ground.open().unwrap()).await;
        return;
    }
    let ground = Ground::plenty();
    ground.open().unwrap().keep(&key(9999), 1, "kept").await;
    let test = "disk::killed::a_write_that_fails_ends_the_store_and_nothing_that_was_acknowledged";
    let child = start(test, &ground, 0, "trap '' XFSZ; ulimit -f 256;");
    let mut told = Told::default();
    told.read(child, usize::MAX);
    assert!(told.0.iter().any(|(word, _)| word == "checked"), "{:?}", told.0);
    assert!(told.0.iter().any(|(word, _)| word == "ended"), "{:?}", told.0);

    let it = ground.open().unwrap();
    assert!(it.load(&key(9999)).await.is_some());
    for (word, number) in &told.0 {
        let found = it.load(&key(*number)).await;
        match word.as_str() {
            "ended" => assert!(matches!(found.unwrap().state, State::Completed { .. })),
            // It may be on the disk or not, and nobody has been told that it is.
            "failed" => assert!(found.is_none_or(|found| found.token.0 == *number as u64)),
            "claimed" => assert_ne!(found, None),
            _ => {}
        }
    }
}

async fn fill_until_it_fails(it: &Opened) {
    let held = claim_of(it, 5000);
    assert_eq!(it.claim(&key(5000), &held).await, Ok(Swap::Done));
    tell("claimed", 5000);
    let large = answer(&"x".repeat(900));
    for number in 0.. {
        let claim = claim_of(it, number);
        let kept = it.completed(&claim, large.clone());
        let mut swapped = it.claim(&key(number), &claim).await;
        if swapped == Ok(Swap::Done) {
            tell("claimed", number);
            swapped = it.change(&key(number), &claim, Some(&kept)).await;
        } else {
            tell("failed", number);
        }
        if let Err(error) = swapped {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
            break;
        }
        tell("ended", number);
    }
    check_ended(it).await;
    // It does not get better by being asked again.
    assert!(matches!(it.change(&key(5000), &held, None).await, Err(StoreError::Unavailable(_))));
    check_ended(it).await;
    tell("checked", 0);
}

async fn check_ended(it: &Opened) {
    assert!(it.store.trouble().is_some());
    let other = it.in_flight(1);
    let unavailable = |error| matches!(error, Some(StoreError::Unavailable(_)));
    assert!(unavailable(it.store.load(&key(5000)).await.err()));
    assert!(unavailable(it.claim(&key(5000), &other).await.err()));
    assert!(unavailable(it.claim(&key(6000), &other).await.err()));
    assert!(unavailable(it.swap(&key(6000), Expected::Absent, None).await.err()));
    assert!(unavailable(it.store.maintain().await.err()));
}

/// A failure in the background is seen, though no swap has met it.
#[tokio::test]
async fn a_failure_in_the_background_ends_the_store() {
    let ground = Ground::new(DiskOptions { answer_bytes_max: 1 << 20, ..PLENTY.into() });
    let it = ground.open().unwrap();
    let kept = it.keep(&key(0), 1, "kept").await;
    let keyspaces = ground.records().join("keyspaces");
    for keyspace in fs::read_dir(&keyspaces).unwrap() {
        let tables = keyspace.unwrap().path().join("tables");
        fs::remove_dir_all(&tables).unwrap();
        fs::write(&tables, "no folder any more").unwrap();
    }
    let large = answer(&"x".repeat(500_000));
    for number in 1.. {
        let claim = claim_of(&it, number);
        if it.claim(&key(number), &claim).await == Ok(Swap::Done) {
            let kept = it.completed(&claim, large.clone());
            let _ = it.change(&key(number), &claim, Some(&kept)).await;
        }
        let _ = it.store.maintain().await;
        if it.store.trouble().is_some() {
            break;
        }
        assert!(number < 2000, "it was never seen");
    }
    check_ended(&it).await;
    assert_eq!(it.store.peek(&key(0)), Some(kept));
}
