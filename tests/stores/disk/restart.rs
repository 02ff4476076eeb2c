//! What is there after a restart, and who may open the folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oncegate::clock::Clock;
use oncegate::idempotency::{Purpose, Stage, State};
use oncegate::store::{DiskOpenError, DiskOptions, DiskStore, Durability, Swap};
use oncegate::telemetry::Metrics;
use tokio::task::JoinSet;

use super::Ground;
use crate::{GRACE, PLENTY, WINDOW, answer, key, lost, with};

/// S14: what has ended is as it was, and what ran has an unknown outcome.
#[tokio::test]
async fn every_state_outlives_the_process() {
    for durability in [Durability::Claim, Durability::Answer, Durability::None] {
        let ground = Ground::new(DiskOptions { durability, ..PLENTY.into() });
        let it = ground.open().unwrap();
        let kept = it.keep(&key(0), 1, &"x".repeat(700)).await;
        let claim = it.in_flight(2);
        let (unknown, lost_answer) =
            (with(&claim, State::Indeterminate), with(&claim, State::Unreplayable));
        for (number, next) in
            [Some(&claim), Some(&unknown), Some(&lost_answer), None].into_iter().enumerate()
        {
            let key = key(number + 1);
            assert_eq!(it.claim(&key, &claim).await, Ok(Swap::Done));
            assert_eq!(it.change(&key, &claim, next).await, Ok(Swap::Done));
        }
        let forgotten = it.keep(&key(5), 3, "forgotten").await;
        assert_eq!(it.change(&key(5), &forgotten, None).await, Ok(Swap::Done));
        drop(it);

        let standing =
            [Some(&kept), Some(&unknown), Some(&unknown), Some(&lost_answer), None, None];
        for round in 0..2 {
            let it = ground.open().unwrap();
            for (number, standing) in standing.iter().enumerate() {
                let found = it.load(&key(number)).await;
                assert_eq!(found.as_ref(), *standing, "{durability:?} {round} {number}");
            }
            assert!(it.store.usage().records > 0);
        }
    }
}

#[tokio::test]
async fn an_orphan_is_held_until_somebody_says_how_it_ended() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    let claim =
        with(&it.in_flight(7), State::InFlight { lease_until: oncegate::clock::Timestamp::MAX });
    for number in 0..5 {
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
    }
    drop(it);
    let it = ground.open().unwrap();
    let orphan = with(&claim, State::Indeterminate);
    let next = it.in_flight(8);
    let whole = crate::list::all(&it, 2).await;
    assert_eq!(whole.records.len(), 5);
    assert!(whole.records.iter().all(|record| record.stage == Stage::OutcomeUnknown));
    for number in 0..5 {
        assert_eq!(it.claim(&key(number), &next).await, Ok(lost(&orphan)));
        assert_eq!(it.change(&key(number), &next, None).await, Ok(lost(&orphan)));
    }
    let kept = it.completed(&claim, answer("late"));
    for (number, end) in [None, Some(&kept), Some(&orphan), Some(&next)].into_iter().enumerate() {
        assert_eq!(it.change(&key(number), &claim, end).await, Ok(Swap::Done));
        assert_eq!(it.load(&key(number)).await.as_ref(), end);
    }
    // Nobody says anything of the last, so that it counts until its window ends.
    it.time.advance(WINDOW);
    assert_eq!(it.load(&key(4)).await.as_ref(), Some(&orphan));
    it.time.advance(Duration::from_millis(1));
    assert_eq!(it.load(&key(4)).await, None);
    assert_eq!(it.claim(&key(4), &it.in_flight(9)).await, Ok(Swap::Done));
}

#[tokio::test]
async fn what_has_expired_is_not_there_after_a_restart() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    it.keep(&key(0), 1, "kept").await;
    drop(it);
    ground.time.advance(WINDOW + Duration::from_millis(1));
    let it = ground.open().unwrap();
    assert_eq!(it.load(&key(0)).await, None);
    let second = it.keep(&key(0), 2, "second").await;
    drop(it);
    assert_eq!(ground.open().unwrap().load(&key(0)).await, Some(second));
}

#[tokio::test]
async fn an_answer_from_the_disk_enters_the_cache_until_it_is_forgotten() {
    let ground = Ground::plenty();
    let kept = ground.open().unwrap().keep(&key(0), 1, "kept").await;
    let it = ground.open().unwrap();
    assert_eq!(it.store.peek(&key(0)), None);
    assert_eq!(it.load(&key(0)).await.as_ref(), Some(&kept));
    assert_eq!(it.store.peek(&key(0)).as_ref(), Some(&kept));
    assert_eq!(it.change(&key(0), &kept, None).await, Ok(Swap::Done));
    assert_eq!(it.store.peek(&key(0)), None);
    assert_eq!(it.load(&key(0)).await, None);
}

#[tokio::test]
async fn a_record_that_expires_sooner_or_later_than_its_claim_stands_once() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    for (number, window) in [WINDOW / 30, WINDOW * 24].into_iter().enumerate() {
        let claim = it.in_flight(1);
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
        let mut kept = it.completed(&claim, answer("kept"));
        kept.expires_at = it.time.now().after(window);
        assert_eq!(it.change(&key(number), &claim, Some(&kept)).await, Ok(Swap::Done));
    }
    assert_eq!(it.store.usage().records, 2);
    drop(it);
    let it = ground.open().unwrap();
    assert!(it.load(&key(0)).await.is_some());
    it.time.advance(WINDOW / 30 + Duration::from_millis(1));
    // Not even the claim, whose window was longer.
    assert_eq!(it.load(&key(0)).await, None);
    it.time.advance(WINDOW);
    it.maintain().await;
    assert!(it.load(&key(1)).await.is_some());
}

/// Expiry gives the disk back.
#[tokio::test]
async fn what_has_expired_is_deleted() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    let keyspaces = ground.records().join("keyspaces");
    let count = || fs::read_dir(&keyspaces).unwrap().count();
    let empty = count();
    for hour in 0..8 {
        it.keep(&key(hour), 1, "kept").await;
        it.time.advance(Duration::from_mins(30));
    }
    it.maintain().await;
    let some = count();
    assert!(some > empty && some <= empty + 9, "{empty} {some}");
    assert!(it.load(&key(7)).await.is_some());
    it.time.advance(WINDOW + GRACE * 3);
    it.maintain().await;
    assert_eq!(count(), empty);
    assert_eq!(it.store.usage().records, 0);
    assert_eq!(it.claim(&key(7), &it.in_flight(2)).await, Ok(Swap::Done));
}

#[tokio::test]
async fn only_one_may_have_the_folder_open() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    let error = ground.refusal();
    assert!(matches!(error, DiskOpenError::Locked(_)), "{error:?}");
    assert!(error.to_string().contains("another process"), "{error}");
    it.keep(&key(0), 1, "kept").await;
    drop(it);
    assert!(ground.open().unwrap().load(&key(0)).await.is_some());
}

#[tokio::test]
async fn an_unknown_format_is_not_touched() {
    let ground = Ground::plenty();
    drop(ground.open().unwrap());
    let format = ground.path().join("format");
    let known = fs::read_to_string(&format).unwrap();
    for unknown in [known.replace('1', "2"), String::new(), "x".repeat(1000)] {
        fs::write(&format, &unknown).unwrap();
        let error = ground.refusal();
        assert!(matches!(error, DiskOpenError::UnknownFormat { .. }), "{error:?}");
        assert!(error.to_string().len() < 400, "{error}");
    }
    fs::write(&format, known).unwrap();
    drop(ground.open().unwrap());
}

#[tokio::test]
async fn the_folder_and_its_secret_are_for_one_user_only() {
    let ground = Ground::plenty();
    let secret = || {
        let (clock, metrics) = (Clock::system(), Arc::new(Metrics::default()));
        let store = DiskStore::open(ground.path(), ground.options, clock, metrics)?;
        Ok::<_, DiskOpenError>(store.secret().hash(Purpose::RecordKey, b""))
    };
    let first = secret().unwrap();
    assert_eq!(secret().unwrap(), first);
    let path = ground.path().join("secret");
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&ground.path().to_path_buf()), 0o700);
    assert_eq!(mode(&ground.records()), 0o700);
    assert_eq!(mode(&path), 0o600);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 32);

    fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
    let error = secret().unwrap_err();
    assert!(matches!(error, DiskOpenError::SecretOpen { mode: 0o604, .. }), "{error:?}");
    // A group may be given all files of a volume.
    fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
    assert_eq!(secret().unwrap(), first);
    fs::write(&path, &bytes[..31]).unwrap();
    let error = secret().unwrap_err();
    assert!(matches!(error, DiskOpenError::SecretLength { found: 31, .. }), "{error:?}");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(secret().unwrap(), first);

    // Another folder has another secret; one that is lost is not made anew while there are records.
    let other = Ground::plenty();
    other.open().unwrap().keep(&key(0), 1, "kept").await;
    assert_ne!(fs::read(other.path().join("secret")).unwrap(), bytes);
    fs::remove_file(other.path().join("secret")).unwrap();
    let error = other.refusal();
    assert!(matches!(error, DiskOpenError::SecretMissing(_)), "{error:?}");
}

#[tokio::test]
async fn a_folder_that_can_not_be_made_or_written_is_refused() {
    let ground = Ground::plenty();
    fs::write(ground.path(), "a file").unwrap();
    let error = ground.refusal();
    assert!(matches!(error, DiskOpenError::Folder { .. }), "{error:?}");
    fs::remove_file(ground.path()).unwrap();
    drop(ground.open().unwrap());
    // Nobody can make a file there, whatever the permissions say.
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::default()));
    let path = PathBuf::from("/proc/self");
    let error = DiskStore::open(&path, ground.options, clock, metrics).unwrap_err();
    assert!(matches!(error, DiskOpenError::Folder { .. }), "{error:?}");
}

/// Nobody finds it missing while it moves to where what expires later stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_never_misses_a_record_that_moves() {
    let ground = Ground::new(DiskOptions { bytes_max: 0, ..PLENTY.into() });
    let it = ground.open().unwrap();
    for round in 0..300 {
        let claim = it.in_flight(1);
        let unknown = with(&claim, State::Indeterminate);
        assert_eq!(it.claim(&key(round), &claim).await, Ok(Swap::Done));
        assert_eq!(it.change(&key(round), &claim, Some(&unknown)).await, Ok(Swap::Done));
        let mut readers = JoinSet::new();
        for _ in 0..3 {
            let it = it.clone();
            readers.spawn(async move {
                while it.load(&key(round)).await.expect("a record").state == State::Indeterminate {}
            });
        }
        let mut kept = it.completed(&claim, answer("kept"));
        kept.expires_at = it.time.now().after(WINDOW * 24);
        assert_eq!(it.change(&key(round), &claim, Some(&kept)).await, Ok(Swap::Done));
        readers.join_all().await;
    }
}
