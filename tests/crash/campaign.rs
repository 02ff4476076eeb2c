//! A campaign: kill, start again, ask for everything again; and what has become of it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use crate::hung::Hung;
use crate::load::{Load, Sent, charge};
use crate::step::{Seen, Step, operation};
use crate::support::{Client, Folder, Origin, Proxy, Reply, problem_of};

/// How often the proxy is killed at each step, where nothing else is said.
const CRASHES: u64 = 4;

/// Kills at one step, one after another, on one folder.
pub struct Campaign {
    step: Step,
    folder: Folder,
    tally: Tally,
}

/// What has become of the requests.
#[derive(Default)]
struct Tally {
    crashes: u64,
    asked_again: u64,
    /// Repeats that got the answer of the first.
    replayed: u64,
    /// Repeats that were told that the outcome is unknown.
    unknown: u64,
    /// Repeats that were executed, since the first was not.
    executed: u64,
    longest_start: std::time::Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} operations asked for again: {} replayed, {} outcome-unknown, {} executed \
             for the first time; 0 executed twice, 0 answers lost; ready again in {} ms at most",
            self.crashes,
            self.asked_again,
            self.replayed,
            self.unknown,
            self.executed,
            self.longest_start.as_millis(),
        )
    }
}

impl Campaign {
    pub async fn run(step: Step) {
        let said = std::env::var("ONCEGATE_CRASHES").ok();
        let crashes = said.map_or(CRASHES, |said| said.parse().expect("a number of crashes"));
        let mut campaign = Self { step, folder: Folder::new(), tally: Tally::default() };
        for number in 0..crashes {
            campaign.crash(number).await;
        }
        println!("{step:?}: {}", campaign.tally);
    }

    async fn crash(&mut self, number: u64) {
        let hung = (self.step == Step::AfterClaim).then(Hung::new);
        let mut origin = match &hung {
            Some(_) => None,
            None => Some(Origin::start().await),
        };
        let upstream = hung.as_ref().map_or_else(|| origin.as_ref().unwrap().addr, Hung::addr);
        let mut proxy = self.start(upstream).await;
        let client = Client::of(proxy.addr());
        let load = Load::begin(&client, &format!("load-{number}"));
        let request = charge(&client, &format!("step-{number}"));
        let seen = self.step.kill(&mut proxy, origin.as_ref(), &request, number).await;
        self.tally.crashes += 1;
        let mut sent = load.end().await;
        let name = operation(&request);
        if let Some(origin) = &origin {
            origin.respond(|_| crate::support::Act::Ledger);
        }
        let place = hung.map(Hung::end);
        let origin = match origin.take() {
            Some(origin) => origin,
            None => Origin::at(upstream).await,
        };
        drop(place);
        let proxy = self.start(upstream).await;
        let client = Client::of(proxy.addr());
        // Others go on while everything is asked for again.
        let load = Load::begin(&client, &format!("later-{number}"));
        let repeat = charge(&client, &name).send().await;
        self.judge_step(origin.executions(&name), &seen, &repeat);
        if let Seen::Answer(reply) = seen {
            sent.insert(name, Some(*reply));
        }
        self.ask_again(&client, &origin, sent).await;
        let later = load.end().await;
        self.ask_again(&client, &origin, later).await;
        assert!(origin.executions_max() <= 1, "something was executed twice");
    }

    async fn start(&mut self, upstream: SocketAddr) -> Proxy {
        let began = Instant::now();
        let folder = format!("file://{}", self.folder.path("records").display());
        let starting = Proxy::before_address(upstream).arg("--store", &folder);
        let proxy = starting.arg("--upstream-connect-timeout", "50s").start().await;
        self.tally.longest_start = self.tally.longest_start.max(began.elapsed());
        proxy
    }

    /// What a repeat of the request gets at which the proxy was killed.
    fn judge_step(&mut self, executions: usize, seen: &Seen, repeat: &Reply) {
        let unknown = problem_of(repeat).as_deref() == Some("outcome-unknown");
        match seen {
            Seen::Answer(first) => assert_same(first, repeat),
            Seen::Claimed => {
                assert!(unknown, "an orphaned claim is held: {repeat:?}");
                assert_eq!(executions, 0, "nothing was sent");
            }
            Seen::Executed if self.step == Step::AfterSend => {
                assert!(unknown, "what was sent is held: {repeat:?}");
            }
            // It is kept, or it is not.
            Seen::Executed => assert!(unknown || repeat.is_repeat(), "{repeat:?}"),
            Seen::Nothing => assert_eq!((repeat.status, executions), (201, 1), "{repeat:?}"),
        }
        self.count(repeat);
    }

    /// Asks for everything again: who has had an answer gets the same, whoever has not gets one, or
    /// is told that nobody knows.
    async fn ask_again(&mut self, client: &Client, origin: &Origin, sent: Sent) {
        for (name, first) in sent {
            let before = origin.executions(&name);
            let repeat = charge(client, &name).send().await;
            match &first {
                Some(first) if first.status == 201 => assert_same(first, &repeat),
                _ => {}
            }
            if problem_of(&repeat).as_deref() != Some("outcome-unknown") {
                assert_eq!(repeat.status, 201, "{name}: {repeat:?}");
                assert_eq!(origin.executions(&name), 1, "{name} was executed once");
            }
            assert!(before == 0 || origin.executions(&name) == before, "{name} ran again");
            self.count(&repeat);
        }
    }

    fn count(&mut self, repeat: &Reply) {
        self.tally.asked_again += 1;
        let count = match (repeat.is_repeat(), repeat.status) {
            (true, _) => &mut self.tally.replayed,
            (false, 409) => &mut self.tally.unknown,
            (false, _) => &mut self.tally.executed,
        };
        *count += 1;
    }
}

/// The repeat has the answer of the first, byte for byte.
fn assert_same(first: &Reply, repeat: &Reply) {
    assert!(repeat.is_repeat(), "the answer was lost: {repeat:?} after {first:?}");
    assert_eq!(first.status, repeat.status);
    assert_eq!(first.body, repeat.body);
    assert_eq!(first.end_to_end(), repeat.end_to_end());
}
