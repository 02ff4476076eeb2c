//! The ways through the proxy: what comes in, what goes out, and every scenario over each of them.

use std::cell::Cell;
use std::pin::Pin;

/// What a caller speaks with the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    Http1,
    /// HTTP/2 without TLS, as both sides know beforehand.
    Http2,
    /// HTTP/2 over TLS, as both sides agree on by ALPN.
    Http2Tls,
}

impl Incoming {
    pub fn is_http2(self) -> bool {
        self != Self::Http1
    }

    /// The least pieces that a long body may come in: more frames than these make are a flood.
    pub fn least_piece(self) -> usize {
        if self.is_http2() { 10 } else { 1 }
    }
}

/// What the proxy speaks with its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    Http1,
    /// HTTP/2 without TLS, as both sides know beforehand.
    Http2,
}

impl Outgoing {
    /// How many connections are enough for what is guarded and what is passed on, one after the
    /// other.
    pub fn connections(self) -> usize {
        if self.is_http2() { 2 } else { 1 }
    }

    pub fn is_http2(self) -> bool {
        self == Self::Http2
    }
}

/// One way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub incoming: Incoming,
    pub outgoing: Outgoing,
}

/// Makes six tests of one scenario, or those of them that are asked for.
///
/// This is the table of all ways.
macro_rules! ways {
    ($these:ident $scenario:ident) => {
        $crate::support::way!($these $scenario h1_to_h1: Http1 => Http1);
        $crate::support::way!($these $scenario h2c_to_h1: Http2 => Http1);
        $crate::support::way!($these $scenario h2tls_to_h1: Http2Tls => Http1);
        $crate::support::way!($these $scenario h1_to_h2c: Http1 => Http2);
        $crate::support::way!($these $scenario h2c_to_h2c: Http2 => Http2);
        $crate::support::way!($these $scenario h2tls_to_h2c: Http2Tls => Http2);
    };
}

/// Makes the test of one scenario on one way, where it is one of those that are asked for.
macro_rules! way {
    (every $scenario:ident $name:ident: $incoming:ident => $outgoing:ident) => {
        #[test]
        fn $name() {
            use $crate::support::{Incoming, Outgoing, Way};
            let way = Way { incoming: Incoming::$incoming, outgoing: Outgoing::$outgoing };
            way.walk(|| Box::pin(super::$scenario()));
        }
    };
    (incoming $scenario:ident $name:ident: $incoming:ident => Http1) => {
        $crate::support::way!(every $scenario $name: $incoming => Http1);
    };
    (outgoing $scenario:ident $name:ident: Http1 => $outgoing:ident) => {
        $crate::support::way!(every $scenario $name: Http1 => $outgoing);
    };
    (alike $scenario:ident $name:ident: Http1 => Http1) => {
        $crate::support::way!(every $scenario $name: Http1 => Http1);
    };
    (alike $scenario:ident $name:ident: Http2 => Http2) => {
        $crate::support::way!(every $scenario $name: Http2 => Http2);
    };
    ($($another:tt)*) => {};
}

/// Makes a test of each scenario on every way: `scenario::h2c_to_h1` and five more.
///
/// ```ignore
/// every_way! { a_repeat_gets_the_answer, another_key_is_another_operation }
///
/// async fn a_repeat_gets_the_answer() { … }
/// ```
macro_rules! every_way {
    ($($scenario:ident),+ $(,)?) => {
        $(mod $scenario { $crate::support::ways!(every $scenario); })+
    };
}

/// Makes a test of each scenario on every way in, to an upstream that writes HTTP/1.1 by hand.
macro_rules! every_way_in {
    ($($scenario:ident),+ $(,)?) => {
        $(mod $scenario { $crate::support::ways!(incoming $scenario); })+
    };
}

/// Makes a test of each scenario on every way out, from a caller that writes HTTP/1.1 by hand.
macro_rules! every_way_out {
    ($($scenario:ident),+ $(,)?) => {
        $(mod $scenario { $crate::support::ways!(outgoing $scenario); })+
    };
}

/// Makes a test of each scenario for each protocol that both ends of a test speak.
macro_rules! every_protocol {
    ($($scenario:ident),+ $(,)?) => {
        $(mod $scenario { $crate::support::ways!(alike $scenario); })+
    };
}

pub(crate) use {every_protocol, every_way, every_way_in, every_way_out, way, ways};

thread_local! {
    static NOW: Cell<Way> = const {
        Cell::new(Way { incoming: Incoming::Http1, outgoing: Outgoing::Http1 })
    };
}

impl Way {
    /// The way of the test that runs: HTTP/1.1 in and out, where it was not told another.
    pub fn now() -> Self {
        NOW.get()
    }

    /// How many of so many rounds there are: all in HTTP/1.1, and a part of them on other ways,
    /// where a few show as much.
    pub fn share(self, rounds: usize) -> usize {
        let is_usual = !self.incoming.is_http2() && !self.outgoing.is_http2();
        if is_usual { rounds } else { rounds.div_ceil(5) }
    }

    /// Runs a scenario on this way, on a runtime that is this thread's alone.
    pub fn walk(self, scenario: impl FnOnce() -> Pin<Box<dyn Future<Output = ()>>>) {
        let _restored = Restored(NOW.replace(self));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(scenario());
    }
}

/// What was the way before, and is again when this is dropped: threads outlive their tests.
struct Restored(Way);

impl Drop for Restored {
    fn drop(&mut self) {
        NOW.set(self.0);
    }
}
