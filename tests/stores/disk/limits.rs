//! Limits of the queue and of the disk.

use std::task::{Context, Poll, Waker};

use oncegate::store::{DiskOptions, Expected, StoreError, Swap};

use super::Ground;
use crate::{Opened, PLENTY, WINDOW, answer, at_once, count_done, key};

/// A queue that is full is said to be, and what was refused has left no trace.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_does_not_fit_into_the_queue_is_refused() {
    let ground = Ground::new(DiskOptions { queue_max: 1, ..PLENTY.into() });
    let it = ground.open().unwrap();
    for round in 0..100 {
        let results = at_once(64, |number| {
            let it = it.clone();
            async move { it.claim(&key(round * 64 + number), &it.in_flight(number as u64)).await }
        })
        .await;
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            let busy = matches!(error, StoreError::Unavailable(why) if why.contains("busy"));
            assert!(busy, "{error:?}");
        }
        let done = count_done(&results);
        let mut found = 0;
        for number in 0..64 {
            found += usize::from(it.load(&key(round * 64 + number)).await.is_some());
        }
        assert_eq!(found, done);
        if done < 64 {
            assert!(done > 0);
            assert_eq!(it.store.trouble(), None);
            return;
        }
    }
    panic!("the queue was never full");
}

/// A full disk takes no new claims, and settles what runs.
#[tokio::test]
async fn a_disk_that_holds_as_much_as_it_may_still_settles() {
    let ground = Ground::new(DiskOptions {
        disk_bytes_max: 1 << 20,
        answer_bytes_max: 1 << 20,
        ..PLENTY.into()
    });
    let it = ground.open().unwrap();
    let running = it.in_flight(1);
    assert_eq!(it.claim(&key(0), &running).await, Ok(Swap::Done));
    let large = answer(&"x".repeat(100_000));
    let mut number = 1;
    loop {
        let claim = it.in_flight(2);
        match it.claim(&key(number), &claim).await {
            Ok(swap) => assert_eq!(swap, Swap::Done),
            Err(error) => {
                assert_eq!(error, StoreError::Full);
                break;
            }
        }
        let kept = it.completed(&claim, large.clone());
        assert_eq!(it.change(&key(number), &claim, Some(&kept)).await, Ok(Swap::Done));
        number += 1;
        assert!(number < 20, "it is never full: {:?}", it.store.usage());
    }
    assert!(number > 8, "{number}");
    let kept = it.completed(&running, large);
    assert_eq!(it.change(&key(0), &running, Some(&kept)).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(0)).await.as_ref(), Some(&kept));
    assert_eq!(it.claim(&key(number), &it.in_flight(3)).await, Err(StoreError::Full));
    // It takes claims again when the answers have expired.
    it.time.advance(WINDOW * 2);
    it.maintain().await;
    assert_eq!(it.claim(&key(number), &it.in_flight(3)).await, Ok(Swap::Done));
}

/// Whoever leaves before being told of a claim has executed nothing.
#[tokio::test]
async fn a_claim_that_nobody_has_been_told_of_is_released() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    // But whoever writes a claim again has one.
    let held = it.in_flight(1);
    assert_eq!(it.claim(&key(500), &held).await, Ok(Swap::Done));
    let mut told = Vec::new();
    for number in 0..200 {
        if asks_and_leaves(&it, number, Expected::Absent).is_ready() {
            told.push(number);
        }
        let _ = asks_and_leaves(&it, 500, Expected::HeldBy(held.token));
    }
    assert!(told.len() < 200);
    // It waits for its turn behind all of these.
    it.maintain().await;
    it.maintain().await;
    for number in 0..200 {
        let found = it.load(&key(number)).await;
        assert_eq!(found.is_some(), told.contains(&number), "{number}");
    }
    assert_eq!(it.load(&key(500)).await, Some(held));
    assert_eq!(it.store.usage().records, told.len() as u64 + 1);
}

/// It is no other if the answer has come and was not taken.
#[tokio::test]
async fn a_claim_whose_answer_was_not_taken_is_released() {
    let ground = Ground::plenty();
    let it = ground.open().unwrap();
    let mut left = Vec::new();
    for number in 0..1000 {
        let key = key(number);
        let mut swap = it.store.swap(&key, Expected::Absent, Some(it.in_flight(1)));
        if swap.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            // The writer was so quick that it was taken.
            continue;
        }
        // The writer takes what is asked next only after it has answered.
        it.maintain().await;
        assert!(it.load(&key).await.is_some());
        drop(swap);
        left.push(key);
        if left.len() == 2 {
            break;
        }
        it.maintain().await;
        assert_eq!(it.load(&key).await, None);
    }
    assert_eq!(left.len(), 2);
    // The last one goes although nobody asks for anything any more: it is not left to the next
    // process, which would not know what came of it.
    drop(it);
    let it = ground.open().unwrap();
    for key in &left {
        assert_eq!(it.load(key).await, None);
    }
}

/// Asks for a claim, and does not wait for the answer; it may be there at once.
fn asks_and_leaves(
    it: &Opened,
    number: usize,
    expected: Expected,
) -> Poll<Result<Swap, StoreError>> {
    let key = key(number);
    let mut swap = it.store.swap(&key, expected, Some(it.in_flight(1)));
    swap.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
