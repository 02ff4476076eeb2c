//! One SDK, one policy, one fault: what the SDK did and said, and what was executed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};

use crate::ledger::{Count, Fault, Ledger};
use crate::policy::Policy;
use crate::sdk::{COUNT, Sdk};
use crate::support::Origin;
use crate::tap::{Attempt, Tap};

/// The four ways in which every SDK's first attempts fail.
const FAULTS: [Fault; 4] = [Fault::Fails, Fault::Throttles, Fault::CutsOff, Fault::Stalls];

/// What came of one run of a driver.
#[derive(Debug)]
pub struct Traffic {
    pub fault: Fault,
    /// What the SDK said of each event or payment.
    pub said: BTreeMap<String, String>,
    pub attempts: Vec<Attempt>,
    pub counts: BTreeMap<String, Count>,
}

/// Sends what one SDK sends through the proxy, before an upstream with this fault.
pub async fn send(sdk: &Sdk, policy: Policy, fault: Fault) -> Traffic {
    let origin = Origin::start().await;
    let ledger = Ledger::keep(&origin, fault);
    let proxy = policy.start(&origin).await;
    let (tap, mut repeats) = Tap::before(proxy.addr()).await;
    let answering = async {
        while let Some(operations) = repeats.recv().await {
            // Time for the repeat to find the first attempt running. If it comes late, it finds the
            // answer, which is as good.
            tokio::time::sleep(Duration::from_millis(50)).await;
            ledger.answer(&operations);
        }
    };
    // Who is kept waiting gives up soon, and has many tries; all others have time.
    let (timeout, retries) = if fault == Fault::Stalls { (1, 10) } else { (20, 2) };
    let sdk = sdk.clone().with("timeout", timeout).with("retries", retries);
    let said = tokio::select! {
        said = sdk.run(tap.addr) => said,
        () = answering => panic!("the tap has gone"),
    };
    Traffic { fault, said, attempts: tap.attempts(), counts: ledger.counts() }
}

/// All four kinds of traffic of one SDK, compressed too if it can, at the same time.
async fn send_all(sdk: &Sdk, policy: Policy) -> Vec<Traffic> {
    let (local, mut running) = (LocalSet::new(), JoinSet::new());
    for sdk in sdk.ways() {
        for fault in FAULTS {
            let sdk = sdk.clone();
            running.spawn_local_on(async move { send(&sdk, policy, fault).await }, &local);
        }
    }
    local.run_until(running.join_all()).await
}

impl Traffic {
    /// The attempts of the same, in groups.
    pub fn operations(&self) -> BTreeMap<&[String], Vec<&Attempt>> {
        let mut groups = BTreeMap::<_, Vec<_>>::new();
        for attempt in &self.attempts {
            groups.entry(attempt.operations.as_slice()).or_default().push(attempt);
        }
        groups
    }

    /// Fails unless all was delivered, and the SDK says so.
    #[track_caller]
    pub fn assert_all_well(&self) {
        assert_eq!(self.said.len(), COUNT, "{self:?}");
        assert!(self.said.values().all(|said| said == "ok"), "{self:?}");
    }

    /// Fails unless the SDK says this of everything.
    #[track_caller]
    pub fn assert_all_said(&self, words: &str) {
        assert_eq!(self.said.len(), COUNT, "{self:?}");
        assert!(self.said.values().all(|said| said.contains(words)), "{words}: {:?}", self.said);
    }

    /// Fails unless each event or payment was executed so often, and once to an effect.
    #[track_caller]
    pub fn assert_once(&self, executed: usize) {
        assert_eq!(self.counts.len(), COUNT, "{self:?}");
        let once = Count { executed, kept: 1 };
        assert!(self.counts.values().all(|&count| count == once), "{self:?}");
    }

    /// Fails unless each event or payment was executed twice or more, each time to an effect.
    #[track_caller]
    fn assert_missed(&self) {
        assert_eq!(self.counts.len(), COUNT, "{self:?}");
        let missed = |count: &Count| count.executed >= 2 && count.kept == count.executed;
        assert!(self.counts.values().all(missed), "{self:?}");
    }

    /// Fails unless the attempts of the same differ in what they are known to differ in.
    #[track_caller]
    fn assert_changes(&self, changes: &[&str]) {
        let changes: BTreeSet<_> = changes.iter().map(|&change| change.to_owned()).collect();
        for attempts in self.operations().values() {
            assert!(attempts.len() > 1, "it was tried again: {self:?}");
            for pair in attempts.windows(2) {
                assert_eq!(pair[0].differences(pair[1]), changes, "{pair:?}");
            }
        }
    }

    /// Fails unless every attempt of the same was answered in this way, the last way repeated.
    #[track_caller]
    fn assert_answers(&self, answers: &[&str]) {
        for attempts in self.operations().values() {
            assert!(attempts.len() >= answers.len(), "it was tried again: {self:?}");
            for (number, attempt) in attempts.iter().enumerate() {
                let expected = answers[number.min(answers.len() - 1)];
                assert_eq!(attempt.answer(), expected, "attempt {number}: {self:?}");
            }
        }
    }
}

/// Fails unless everything was done once, and the SDK was told so, or that nobody knows.
#[track_caller]
fn assert_protected(sdk: &Sdk, traffic: &Traffic) {
    traffic.assert_changes(sdk.changes);
    match traffic.fault {
        Fault::Fails => {
            traffic.assert_all_well();
            traffic.assert_once(2);
            traffic.assert_answers(&["500", "200"]);
        }
        Fault::Throttles => {
            traffic.assert_all_well();
            traffic.assert_once(2);
            traffic.assert_answers(&["429", "200"]);
        }
        Fault::CutsOff => {
            traffic.assert_all_said(sdk.unknown);
            traffic.assert_once(1);
            traffic.assert_answers(&["upstream-broken", "outcome-unknown"]);
        }
        Fault::Stalls => {
            traffic.assert_all_well();
            traffic.assert_once(1);
            // The last is a repeat, unless the first was given up before it had arrived.
            for attempts in traffic.operations().values() {
                let last = attempts[attempts.len() - 1];
                assert_eq!(attempts[0].answer(), "none", "{traffic:?}");
                assert!(last.answer().starts_with("200"), "{traffic:?}");
            }
        }
        Fault::ThrottlesAWhile | Fault::TimesOut => panic!("no general rule: {traffic:?}"),
    }
}

/// Fails unless the repeats were taken for new requests: what was done is done again.
#[track_caller]
fn assert_unprotected(sdk: &Sdk, traffic: &Traffic) {
    match traffic.fault {
        // Nothing was done, so nothing was missed.
        Fault::Fails | Fault::Throttles => assert_protected(sdk, traffic),
        Fault::CutsOff => {
            traffic.assert_all_well();
            traffic.assert_missed();
            traffic.assert_changes(sdk.changes);
            traffic.assert_answers(&["upstream-broken", "200"]);
        }
        Fault::Stalls => {
            traffic.assert_all_well();
            traffic.assert_missed();
            traffic.assert_changes(sdk.changes);
        }
        Fault::ThrottlesAWhile | Fault::TimesOut => panic!("no general rule: {traffic:?}"),
    }
}

/// Fails unless this policy lets everything be done once, whatever fails first.
pub async fn protects(policy: Policy, sdk: &Sdk) {
    for traffic in send_all(sdk, policy).await {
        assert_protected(sdk, &traffic);
    }
}

/// Fails unless the default policy takes the SDK's repeats for new requests.
pub async fn default_misses(sdk: &Sdk) {
    for traffic in send_all(sdk, Policy::Default).await {
        assert_unprotected(sdk, &traffic);
    }
}
