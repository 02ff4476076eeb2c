//! Clocks that are wrong, and are set right.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oncegate::clock::Timestamp;
use oncegate::idempotency::State;
use oncegate::store::{DiskOptions, Swap};

use super::Ground;
use crate::{Opened, PLENTY, Time, WINDOW, answer, key, lost, with};

/// More than any window here.
const FAR: Duration = Duration::from_hours(30);

const MINUTE: Duration = Duration::from_mins(1);

/// All is read from the disk.
fn uncached() -> Ground {
    Ground::new(DiskOptions { bytes_max: 0, ..PLENTY.into() })
}

/// The time of the system, which is ahead.
fn ahead(ground: &Ground, by: Duration) -> Time {
    let wall = Time::new();
    wall.0.store(ground.time.now().after(by).as_millis(), Ordering::SeqCst);
    wall
}

fn folders(ground: &Ground) -> usize {
    fs::read_dir(ground.records().join("keyspaces")).unwrap().count()
}

/// The system's clock was set right after the start of a process, whose own did not follow.
#[tokio::test]
async fn what_a_process_with_another_clock_has_written_counts_as_long_as_it_should() {
    let ground = uncached();
    let it = ground.open_by(&ahead(&ground, FAR)).unwrap();
    let (claim, kept) = (it.in_flight(1), it.keep(&key(0), 1, "kept").await);
    assert_eq!(it.claim(&key(1), &claim).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(0)).await.as_ref(), Some(&kept));
    drop(it);
    // The next process has read the right time.
    ground.time.advance(FAR + WINDOW / 2);
    let it = ground.open().unwrap();
    let found = it.load(&key(0)).await.unwrap();
    assert_eq!(found.expires_at, kept.expires_at.after(FAR));
    let (State::Completed { kept_at, .. }, State::Completed { kept_at: before, .. }) =
        (&found.state, &kept.state)
    else {
        panic!("{found:?}")
    };
    assert_eq!(*kept_at, before.after(FAR));
    let orphan = it.load(&key(1)).await.unwrap();
    assert_eq!((orphan.state, orphan.expires_at), (State::Indeterminate, found.expires_at));
    it.time.advance(WINDOW / 2);
    it.maintain().await;
    assert_eq!(it.load(&key(0)).await, Some(found));
    it.time.advance(Duration::from_millis(1));
    assert_eq!(it.load(&key(0)).await, None);
    assert_eq!(it.load(&key(1)).await, None);
}

/// The other way round: the clock was ahead, and what it wrote counts no longer than it should.
#[tokio::test]
async fn what_a_process_that_is_ahead_has_written_counts_no_longer() {
    let ground = uncached();
    let wall = ahead(&ground, Duration::ZERO);
    ground.time.advance(FAR);
    let it = ground.open_by(&wall).unwrap();
    it.keep(&key(0), 1, "kept").await;
    drop(it);
    ground.time.0.store(wall.now().after(WINDOW).as_millis(), Ordering::SeqCst);
    let it = ground.open().unwrap();
    assert!(it.load(&key(0)).await.is_some());
    it.time.advance(Duration::from_millis(1));
    assert_eq!(it.load(&key(0)).await, None);
}

/// A start with a wrong clock deletes nothing, so that the next with a right one finds all.
#[tokio::test]
async fn a_start_with_a_clock_that_is_ahead_deletes_nothing() {
    let ground = uncached();
    let it = ground.open().unwrap();
    let kept = it.keep(&key(0), 1, "kept").await;
    drop(it);
    let right = ground.time.now();
    ground.time.advance(FAR);
    for round in 0..3 {
        let it = ground.open().unwrap();
        assert_eq!(it.metrics.clock_jumps.value(), u64::from(round == 0), "{round}");
        for _ in 0..10 {
            it.maintain().await;
            it.time.advance(MINUTE);
        }
        assert_eq!(it.load(&key(0)).await, None);
    }
    ground.time.0.store(right.after(WINDOW / 2).as_millis(), Ordering::SeqCst);
    let it = ground.open().unwrap();
    assert_eq!(it.load(&key(0)).await, Some(kept));
}

/// If the clock was right, the disk is given back all the same.
#[tokio::test]
async fn what_ended_while_nobody_looked_is_deleted_later() {
    let ground = uncached();
    let it = ground.open().unwrap();
    let empty = folders(&ground);
    it.keep(&key(0), 1, "kept").await;
    drop(it);
    ground.time.advance(FAR);
    let it = ground.open().unwrap();
    it.maintain().await;
    assert_eq!(folders(&ground), empty + 1);
    it.time.advance(WINDOW * 2);
    it.maintain().await;
    assert_eq!(folders(&ground), empty);
}

#[tokio::test]
async fn a_step_of_the_clock_shortens_no_window() {
    let ground = uncached();
    let wall = ahead(&ground, Duration::ZERO);
    let it = ground.open_by(&wall).unwrap();
    let kept = it.keep(&key(0), 1, "kept").await;
    let claim = it.in_flight(2);
    assert_eq!(it.claim(&key(1), &claim).await, Ok(Swap::Done));
    it.maintain().await;
    // What is gone by the right time, and what is not by the process's.
    for part in 0..4 {
        wall.advance(FAR);
        assert_eq!(it.load(&key(0)).await.as_ref(), Some(&kept), "{part}");
        it.maintain().await;
        check(&it, &kept).await;
        assert_eq!(it.metrics.clock_jumps.value(), part + 1);
        for time in [&wall, &it.time] {
            time.advance(WINDOW / 5);
        }
        it.maintain().await;
        check(&it, &kept).await;
    }
    let settled = with(&claim, State::Indeterminate);
    assert_eq!(it.change(&key(1), &claim, Some(&settled)).await, Ok(Swap::Done));
    for time in [&wall, &it.time] {
        time.advance(WINDOW / 5 + Duration::from_millis(1));
    }
    assert_eq!(it.load(&key(0)).await, None);
}

async fn check(it: &Opened, kept: &oncegate::idempotency::Record) {
    assert_eq!(it.load(&key(0)).await.as_ref(), Some(kept));
    assert_eq!(it.claim(&key(0), &it.in_flight(9)).await, Ok(lost(kept)));
}

/// What is written after the clock was set back is not put where all is deleted.
#[tokio::test]
async fn what_is_written_after_the_clock_was_set_back_stays() {
    let ground = uncached();
    let wall = ahead(&ground, Duration::ZERO);
    let it = ground.open_by(&wall).unwrap();
    // Whoever is at work may be so for longer than its window.
    let before = with(&it.in_flight(1), State::InFlight { lease_until: Timestamp::MAX });
    for number in 0..4 {
        assert_eq!(it.claim(&key(number), &before).await, Ok(Swap::Done));
    }
    for _ in 0..5 {
        for time in [&wall, &it.time] {
            time.advance(WINDOW);
        }
        it.maintain().await;
    }
    wall.0.fetch_sub(5 * 3_600_000, Ordering::SeqCst);
    let mut kept = Vec::new();
    for number in 0..4 {
        let mut answer = it.completed(&before, answer("kept"));
        answer.expires_at = it.time.now().after(WINDOW);
        assert_eq!(it.change(&key(number), &before, Some(&answer)).await, Ok(Swap::Done));
        it.maintain().await;
        kept.push(answer);
    }
    it.maintain().await;
    for (number, kept) in kept.iter().enumerate() {
        assert_eq!(it.load(&key(number)).await.as_ref(), Some(kept));
    }
    drop(it);
    let it = ground.open_by(&wall).unwrap();
    assert_eq!(it.load(&key(3)).await.as_ref(), Some(&kept[3]));
}
