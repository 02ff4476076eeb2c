//! Connections of single runtimes: what a worker asks goes by one of its own, so that no other
//! thread has to be woken to send it, and to say what has come back.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::{Handle, Id};
use tokio::sync::mpsc::Sender;

use super::link::Link;
use super::status::{Lane, Line};

/// How many runtimes may have connections of their own; all others share some.
pub(super) const RUNTIMES_MAX: usize = 64;

/// The connections of single runtimes, as far as they are there.
pub(super) struct Own {
    runtimes: ArcSwap<Vec<(Id, Option<Pair>)>>,
    /// Where runtimes are told of that have none.
    wanted: Option<Sender<Handle>>,
}

/// The connections of one runtime.
#[derive(Clone)]
pub(super) struct Pair {
    common: Arc<Line>,
    waiting: Option<Arc<Line>>,
}

impl Own {
    /// None yet; whoever has none is told of, if it can have some. The runtime of whoever makes
    /// this gets none: its are those that all share.
    pub(super) fn new(wanted: Option<Sender<Handle>>) -> Self {
        let home = Handle::try_current().map(|runtime| (runtime.id(), None));
        let runtimes = ArcSwap::from_pointee(home.into_iter().collect());
        Self { runtimes, wanted }
    }

    /// The connection of this runtime. It has none before it has asked, and for a moment after.
    pub(super) fn line(&self, lane: Lane) -> Option<Arc<Line>> {
        let wanted = self.wanted.as_ref()?;
        let runtime = Handle::try_current().ok()?;
        let runtimes = self.runtimes.load();
        match runtimes.iter().find(|(id, _)| *id == runtime.id()) {
            Some((_, lines)) => lines.as_ref()?.line(lane),
            None => {
                if runtimes.len() < RUNTIMES_MAX && self.set(runtime.id(), None) {
                    // If it can't be told of, it goes on by those that all share.
                    let _ = wanted.try_send(runtime);
                }
                None
            }
        }
    }

    /// The connections of all runtimes.
    pub(super) fn lines(&self, lane: Lane) -> Vec<Arc<Line>> {
        let runtimes = self.runtimes.load();
        runtimes.iter().filter_map(|(_, lines)| lines.as_ref()?.line(lane)).collect()
    }

    /// Takes the connections of a runtime.
    pub(super) fn add(&self, runtime: Id, lines: &Pair) {
        self.set(runtime, Some(lines));
    }

    /// Notes a runtime, and returns whether it was not noted before.
    fn set(&self, runtime: Id, lines: Option<&Pair>) -> bool {
        let before = self.runtimes.rcu(|runtimes| {
            let mut runtimes = Vec::clone(runtimes);
            match runtimes.iter_mut().find(|(id, _)| *id == runtime) {
                // Nobody takes away what is there.
                Some((_, noted)) => *noted = lines.cloned().or(noted.take()),
                None => runtimes.push((runtime, lines.cloned())),
            }
            runtimes
        });
        !before.iter().any(|(id, _)| *id == runtime)
    }
}

impl Pair {
    pub(super) fn new(common: Link, waiting: Option<Link>) -> Self {
        let line = |link| Arc::new(Line::new(link));
        Self { common: line(common), waiting: waiting.map(line) }
    }

    fn line(&self, lane: Lane) -> Option<Arc<Line>> {
        match lane {
            Lane::Common => Some(Arc::clone(&self.common)),
            Lane::Waiting => self.waiting.clone(),
        }
    }
}
