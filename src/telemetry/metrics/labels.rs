//! Labels: what metrics are told apart by, from closed sets only.

use crate::message::ProblemKind;

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
        /// To show what there is.
        List = "list",
    }
}

labels! {
    /// What somebody has decided about a record.
    DecisionKind {
        /// It is forgotten: the next repeat runs.
        Forget = "forget",
        /// Its operation was executed: repeats are told so.
        Ack = "ack",
        /// Its operation was not executed: the next repeat runs.
        Fail = "fail",
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
        check::<DecisionKind>();
        check::<ProblemKind>();
    }
}
