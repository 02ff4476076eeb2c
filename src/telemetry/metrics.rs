//! Counters, whose labels come from closed sets only.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::ProblemKind;

/// Everything that one instance counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests, by what became of them.
    pub requests: Counters<Handled>,
    /// The proxy's own answers, by what they said.
    pub refusals: Counters<ProblemKind>,
    /// Records that were dropped for want of room before their window had ended.
    pub evicted_before_expiry: Counter,
    /// Times that a record was read which is not what was written.
    pub corrupt_records: Counter,
    /// Times that the system's clock was found to be far ahead of where it was left.
    pub clock_jumps: Counter,
    /// Times that a store outside of the process was found to have lost its records.
    pub store_resets: Counter,
    /// Operations of which nobody knows whether they were executed, by cause.
    pub unknown_outcomes: Counters<UnknownCause>,
    /// Unknown outcomes that a late answer has settled.
    pub late_answers: Counter,
    /// Requests that could not be protected and were passed on, by reason.
    pub unprotected: Counters<Unprotected>,
    /// Times that the settings were read again, by how that ended.
    pub reloads: Counters<Reloaded>,
    /// Calls of the store that have failed, by operation.
    pub store_errors: Counters<StoreOperation>,
    /// Connections that were turned away at the limit.
    pub connections_refused: Counter,
    /// Connections that ended before their first request: by a handshake that failed, say.
    pub connections_failed: Counter,
    /// Times that accepting a connection has failed.
    pub accept_errors: Counter,
    /// Requests that were sent again because a pooled connection had not taken them.
    pub resent_unsent: Counter,
    /// Entries of the access log that were dropped because nobody took them in time.
    pub access_log_dropped: Counter,
    /// Spans that were dropped because no collector took them in time.
    pub trace_spans_dropped: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// One counter for each value of a label.
#[derive(Debug)]
pub struct Counters<L> {
    cells: Box<[Counter]>,
    label: PhantomData<L>,
}

/// A closed set of label values.
pub trait Label: Copy + Eq + 'static {
    /// All values, each at its index.
    const ALL: &'static [Self];

    /// The position in [`Label::ALL`].
    fn index(self) -> usize;

    /// The value as metrics show it.
    fn name(self) -> &'static str;
}

macro_rules! labels {
    ($(#[$doc:meta])* $label:ident {
        $($(#[$value_doc:meta])* $value:ident = $name:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $label { $($(#[$value_doc])* $value,)+ }

        impl Label for $label {
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self { $(Self::$value => $name,)+ }
            }
        }
    };
}

labels! {
    /// What became of a request.
    Handled {
        /// It was sent to the upstream under its key.
        Executed = "executed",
        /// It got the kept answer of an earlier one.
        Replayed = "replayed",
        /// It got the answer of one that ran at the time.
        Collapsed = "collapsed",
        /// It was answered by the proxy, without work.
        Refused = "refused",
        /// It was passed on without a key.
        Passed = "passed",
        /// It was only observed and passed on, and would have been answered without work.
        Observed = "observed",
        /// Its work has failed.
        Failed = "failed",
    }
}

labels! {
    /// Why nobody knows whether an operation was executed.
    UnknownCause {
        /// The connection to the upstream broke.
        Incomplete = "incomplete",
        /// The upstream answered what is not HTTP.
        Malformed = "malformed",
        /// Whoever did the work is gone.
        Abandoned = "abandoned",
        /// The upstream has not answered in time.
        TimedOut = "timeout",
        /// The upstream is a gateway that does not know.
        Gateway = "gateway",
    }
}

labels! {
    /// Why a guarded request went without protection.
    Unprotected {
        /// Its body is larger than can be read whole.
        BodyTooLarge = "body-too-large",
        /// It does not say whose it is.
        CallerUnknown = "caller-unknown",
        /// It has no key.
        KeyMissing = "key-missing",
        /// The store could not be asked.
        StoreUnavailable = "store-unavailable",
    }
}

labels! {
    /// How an attempt to read the settings again has ended.
    Reloaded {
        /// They hold from now on.
        Applied = "applied",
        /// They hold mistakes, or change what can't change; the old ones hold on.
        Refused = "refused",
    }
}

labels! {
    /// What was asked of a store.
    StoreOperation {
        /// To show a record.
        Load = "load",
        /// To change a record.
        Swap = "swap",
        /// To renew claims.
        Renew = "renew",
    }
}

impl Label for ProblemKind {
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        self.name()
    }
}

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<L: Label> Counters<L> {
    /// Adds one for the value.
    pub fn increment(&self, value: L) {
        self.cells[value.index()].increment();
    }

    /// The number so far for the value.
    pub fn value(&self, value: L) -> u64 {
        self.cells[value.index()].value()
    }

    /// Every value with its number.
    pub fn iter(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        L::ALL.iter().map(|value| (*value, self.value(*value)))
    }
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self { cells: L::ALL.iter().map(|_| Counter::default()).collect(), label: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Label + std::fmt::Debug>() {
        for (index, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.index(), index, "{value:?}");
        }
    }

    #[test]
    fn every_label_stands_at_its_index() {
        check::<Handled>();
        check::<UnknownCause>();
        check::<Unprotected>();
        check::<Reloaded>();
        check::<StoreOperation>();
        check::<ProblemKind>();
    }

    #[test]
    fn values_are_counted_apart() {
        let counters = Counters::<Handled>::default();
        counters.increment(Handled::Replayed);
        counters.increment(Handled::Replayed);
        assert_eq!(counters.value(Handled::Replayed), 2);
        assert_eq!(counters.iter().map(|(_, count)| count).sum::<u64>(), 2);
    }
}
