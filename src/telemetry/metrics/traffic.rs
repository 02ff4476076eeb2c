//! What one worker counts of each request, apart from all others, so that they never write to the
//! same memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counter::Counters;
use super::histogram::{Counted, Histograms};
use super::labels::{Handled, Label as _};

/// The route of a request that has come to none.
const NO_ROUTE: &str = "none";

/// What one worker counts of its requests.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Their number for each route that there is, or ever was.
    routes: Mutex<BTreeMap<Arc<str>, Arc<Counters<Handled>>>>,
    durations: Histograms<Handled>,
}

/// Where requests are counted while these routes hold.
#[derive(Clone, Debug)]
pub struct Tally {
    traffic: Arc<Traffic>,
    /// One for each route in their order, and one for what has come to none.
    routes: Arc<[Arc<Counters<Handled>>]>,
}

impl Traffic {
    /// Counts requests by these routes. Routes of the same name are counted together, before and
    /// after a change of settings.
    pub fn tally<'a>(self: &Arc<Self>, names: impl Iterator<Item = &'a Arc<str>>) -> Tally {
        let mut routes = self.routes();
        let names = names.map(Arc::clone).chain([Arc::from(NO_ROUTE)]);
        let counters = names.map(|name| Arc::clone(routes.entry(name).or_default())).collect();
        Tally { traffic: Arc::clone(self), routes: counters }
    }

    /// Adds what was counted to a table by route and what became of a request.
    pub(super) fn add_to(&self, table: &mut BTreeMap<Arc<str>, Vec<u64>>) {
        for (name, counters) in self.routes().iter() {
            let row = table.entry(Arc::clone(name)).or_insert_with(|| vec![0; Handled::ALL.len()]);
            for (cell, (_, count)) in row.iter_mut().zip(counters.iter()) {
                *cell += count;
            }
        }
    }

    pub(super) fn duration(&self, handled: Handled) -> Counted {
        self.durations.counted(handled)
    }

    fn routes(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Counters<Handled>>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// Counts a request that came to the route of this index, or to none.
    pub fn count(&self, route: Option<usize>, handled: Handled, took: Duration) {
        let nowhere = self.routes.len() - 1;
        self.routes[route.map_or(nowhere, |index| index.min(nowhere))].increment(handled);
        self.traffic.durations.observe(handled, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_one_name_are_counted_together() {
        let traffic = Arc::new(Traffic::default());
        let names = ["a", "b"].map(Arc::from);
        let tally = traffic.tally(names.iter());
        tally.count(Some(1), Handled::Executed, Duration::ZERO);
        tally.count(None, Handled::Refused, Duration::ZERO);
        traffic.tally(names[1..].iter()).count(Some(0), Handled::Executed, Duration::ZERO);
        let mut table = BTreeMap::new();
        traffic.add_to(&mut table);
        let count = |route: &str, handled: Handled| table[route][handled.index()];
        assert_eq!((count("b", Handled::Executed), count("a", Handled::Executed)), (2, 0));
        assert_eq!(count("none", Handled::Refused), 1);
        assert_eq!(traffic.duration(Handled::Executed).count(), 2);
    }
}
