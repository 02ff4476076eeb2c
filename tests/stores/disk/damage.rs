//! Records that are not what was written.

use fjall::{Database, KeyspaceCreateOptions};
use oncegate::idempotency::RecordKey;
use oncegate::store::{DiskOpenError, Expected, StoreError, Swap};

use super::Ground;
use crate::{Opened, WINDOW, answer, key, list};

/// Changes what stands on disk under a key, while no store is open.
fn change(ground: &Ground, wanted: &RecordKey, change: impl Fn(&mut Vec<u8>)) {
    let database = Database::builder(ground.records()).open().unwrap();
    let mut changed = 0;
    for name in database.list_keyspace_names() {
        let keyspace = database.keyspace(&name, KeyspaceCreateOptions::default).unwrap();
        if let Some(value) = keyspace.get(wanted.as_bytes()).unwrap() {
            let mut value = value.to_vec();
            change(&mut value);
            keyspace.insert(wanted.as_bytes(), value).unwrap();
            changed += 1;
        }
    }
    assert_eq!(changed, 1, "a record stands in one place");
}

/// Whoever asks is told that the record can't be read, and it is counted each time.
async fn check_held(it: &Opened, key: &RecordKey) {
    let before = it.metrics.corrupt_records.value();
    let held = it.in_flight(1);
    let errors = [
        it.store.load(key).await.err(),
        it.claim(key, &held).await.err(),
        it.swap(key, Expected::Absent, None).await.err(),
        it.change(key, &held, None).await.err(),
        it.change(key, &held, Some(&it.completed(&held, answer("x")))).await.err(),
    ];
    for (number, error) in errors.iter().enumerate() {
        assert!(matches!(error, Some(StoreError::Corrupt(_))), "{number}: {error:?}");
    }
    assert_eq!(it.metrics.corrupt_records.value(), before + errors.len() as u64);
    assert_eq!(it.store.peek(key), None);
    assert_eq!(it.store.trouble(), None);
}

/// S5, S15: what can't be read is neither served nor absent, until its window ends.
#[tokio::test]
async fn a_changed_record_is_held_and_never_served() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    for number in 0..6 {
        it.keep(&key(number), 1, "kept").await;
    }
    let good = it.keep(&key(9), 1, "good").await;
    let claim = it.in_flight(1);
    assert_eq!(it.claim(&key(6), &claim).await, Ok(Swap::Done));
    drop(it);
    change(&ground, &key(0), |value| *value.last_mut().unwrap() ^= 1);
    change(&ground, &key(1), |value| value[60] ^= 0x80);
    // Another version of the envelope.
    change(&ground, &key(2), |value| value[0] += 1);
    change(&ground, &key(3), |value| value.truncate(20));
    change(&ground, &key(4), Vec::clear);
    let mut other = Vec::new();
    {
        let database = Database::builder(ground.records()).open().unwrap();
        for name in database.list_keyspace_names() {
            let keyspace = database.keyspace(&name, KeyspaceCreateOptions::default).unwrap();
            other.extend(keyspace.get(key(9).as_bytes()).unwrap().map(|value| value.to_vec()));
        }
    }
    // The whole record of another.
    change(&ground, &key(5), |value| value.clone_from(&other[0]));
    change(&ground, &key(6), |value| value[30] ^= 1);

    let it = ground.open().unwrap();
    for number in 0..7 {
        check_held(&it, &key(number)).await;
    }
    // Whoever lists them learns how many there are, and it is not counted each time.
    let before = it.metrics.corrupt_records.value();
    let whole = list::all(&it, 3).await;
    assert_eq!((whole.keys(), whole.unreadable), ([key(9)].into(), 7));
    assert_eq!(it.metrics.corrupt_records.value(), before);
    assert_eq!(it.load(&key(9)).await, Some(good));
    it.time.advance(WINDOW);
    it.maintain().await;
    check_held(&it, &key(0)).await;
    it.time.advance(WINDOW);
    it.maintain().await;
    assert_eq!(it.load(&key(0)).await, None);
    assert_eq!(it.claim(&key(0), &it.in_flight(2)).await, Ok(Swap::Done));
}

/// S5: what was written when the power failed was not acknowledged.
#[tokio::test]
async fn a_journal_that_was_torn_is_cut_there() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    let kept = it.keep(&key(0), 1, "kept").await;
    drop(it);
    let journal = ground.records().join("0.jnl");
    let file = std::fs::OpenOptions::new().write(true).open(&journal).unwrap();
    let whole = std::fs::read(&journal).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // As if the power had failed while more was written.
    let torn: Vec<_> = whole[..end / 2].to_vec();
    std::os::unix::fs::FileExt::write_all_at(&file, &torn, end as u64).unwrap();
    drop(file);
    let it = ground.open().unwrap();
    assert_eq!(it.load(&key(0)).await, Some(kept));
    let second = it.keep(&key(1), 2, "second").await;
    drop(it);
    assert_eq!(ground.open().unwrap().load(&key(1)).await, Some(second));
}

/// The end of a write is on the disk, and a part before it is not: what to do is for a human to say.
#[tokio::test]
async fn a_journal_with_a_hole_is_not_opened_and_the_error_says_what_to_do() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    it.keep(&key(0), 1, &"x".repeat(700)).await;
    drop(it);
    let journal = ground.records().join("0.jnl");
    let mut bytes = std::fs::read(&journal).unwrap();
    let last = bytes.iter().rposition(|byte| *byte == b'x').unwrap();
    bytes[last - 600..last].fill(0);
    std::fs::write(&journal, &bytes).unwrap();
    let secret = std::fs::read(ground.path().join("secret")).unwrap();
    for _ in 0..2 {
        let error = ground.refusal();
        assert!(matches!(error, DiskOpenError::Torn { .. }), "{error:?}");
        let (words, records) = (error.to_string(), ground.records());
        let said = format!("move {} away", records.display());
        assert!(words.contains(&said) && words.contains("keep a copy"), "{words}");
        assert!(words.contains("executed again"), "{words}");
    }
    // Nothing was changed by looking; and what it says can be done.
    assert_eq!(std::fs::read(&journal).unwrap(), bytes);
    std::fs::rename(ground.records(), ground.path().join("damaged")).unwrap();
    let it = ground.open().unwrap();
    assert_eq!(it.load(&key(0)).await, None);
    it.keep(&key(0), 2, "second").await;
    assert_eq!(std::fs::read(ground.path().join("secret")).unwrap(), secret);
}
