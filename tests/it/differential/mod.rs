//! Four readers of one connection: what a caller meant, what the proxy says that it did, and what
//! two others see behind it must be one thing. Whatever is read in two ways is forwarded in none.

mod cases;
mod judge;
mod mutation;
mod reading;
mod strict;
mod tap;
mod third;

use self::cases::{Case, MARKER, Manner, bytes};
use self::judge::{Court, Got};

/// The seed of all changes; another one finds other requests.
const SEED: u64 = 20_260_514;

/// How many requests are changed.
const MUTATIONS: u64 = 2000;

/// Pieces in which a request is sent: all at once, and few bytes at a time.
const PIECES: [usize; 2] = [usize::MAX, 11];

/// Fails with all that was found.
#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Judges all cases of a table, in every manner and in pieces of every size.
async fn judge_table(cases: &[Case]) {
    let mut court = Court::start().await;
    let (mut number, mut faults) = (0, Vec::new());
    for (name, case, expected) in cases {
        let (guarded, passed) = expected.split_once('/').unwrap_or((expected, expected));
        for manner in Manner::ALL {
            for piece in PIECES {
                number += 1;
                let sent = [&bytes(case, manner, number), MARKER].concat();
                let expected = if manner.is_guarded() { guarded } else { passed };
                let judged = court.judge(&sent, piece).await;
                if let Err(fault) = judged.and_then(|got| got_one_of(expected, &got)) {
                    let sent = sent.escape_ascii();
                    faults.push(format!("{name}, by {manner:?} in {piece}: {sent}: {fault}"));
                }
            }
        }
    }
    assert_none(&faults);
    court.adjourn().await;
}

/// Whether the answers are those of one of these, which a line divides.
fn got_one_of(expected: &str, got: &Got) -> Result<(), String> {
    let statuses: Vec<_> = got.statuses.iter().map(u16::to_string).collect();
    let shown = format!("{}{}", statuses.join(" "), if got.ends_unread { "." } else { "" });
    let is_one = expected.split('|').any(|one| one == shown);
    if is_one { Ok(()) } else { Err(format!("got {shown:?} and not {expected:?}")) }
}

/// A1, A2, C14: chunks.
#[tokio::test]
async fn chunks_have_one_meaning_or_none() {
    judge_table(cases::chunks::CASES).await;
}

/// A1, A2: transfer codings.
#[tokio::test]
async fn codings_have_one_meaning_or_none() {
    judge_table(cases::codings::CASES).await;
}

/// C9, C10: several requests, and bodies behind early answers.
#[tokio::test]
async fn exchanges_have_one_meaning_or_none() {
    judge_table(cases::exchanges::CASES).await;
}

/// A2, A5, C8: header sections.
#[tokio::test]
async fn heads_have_one_meaning_or_none() {
    judge_table(cases::heads::CASES).await;
}

/// A1, A2: lengths.
#[tokio::test]
async fn lengths_have_one_meaning_or_none() {
    judge_table(cases::lengths::CASES).await;
}

/// A2, A5, C11, C12: request lines.
#[tokio::test]
async fn targets_have_one_meaning_or_none() {
    judge_table(cases::targets::CASES).await;
}

/// A1, A2: all of these with some bytes changed.
#[tokio::test]
async fn changed_requests_have_one_meaning_or_none() {
    let mut court = Court::start().await;
    let (mut faults, mut sent_on) = (Vec::new(), 0);
    for number in 0..MUTATIONS {
        let (piece, sent) = mutation::changed(SEED, number);
        match court.judge(&sent, piece).await {
            Ok(got) => sent_on += got.statuses.iter().filter(|status| **status == 201).count(),
            Err(fault) => {
                let sent = sent.escape_ascii();
                faults.push(format!("seed {SEED}, {number} in {piece}: {sent}: {fault}"));
            }
        }
    }
    assert_none(&faults);
    // Many changes leave something that can be understood.
    assert!(sent_on > 500, "{sent_on} were sent on");
    court.adjourn().await;
}
