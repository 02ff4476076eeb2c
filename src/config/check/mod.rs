//! What can't be together, although each part of it can be read.
//!
//! A contradiction is found only in what somebody has said: what is said must not break because of
//! a default that was never looked at.

mod guard;
mod jwt;
mod limits;
mod listen;
mod route;
mod store;
mod tls;

use super::mistake::{Mistake, Mistakes, Place};
use super::written::Written;

/// Finds all that can't be together.
pub(super) fn check(written: &Written, mistakes: &mut Mistakes) {
    // What is missing may be in what could not be read.
    if written.incomplete {
        return;
    }
    listen::check(&written.top, mistakes);
    tls::check(written, mistakes);
    upstream(written, mistakes);
    store::check(written, mistakes);
    limits::check(&written.limits, mistakes);
    jwt::check(&written.jwt, mistakes);
    guard::check(written, mistakes);
    route::check(&written.routes, mistakes);
}

fn upstream(written: &Written, mistakes: &mut Mistakes) {
    let keys = &written.upstream;
    let unread = keys.unread.contains(&"url") || written.top.unread.contains(&"upstream");
    if keys.url.is_none() && !unread {
        let place = keys.place.unwrap_or(Place::WholeFile);
        let text = "it is missing; say where the API is, such as url = \"http://127.0.0.1:3000\" \
                    in [upstream], or by --upstream";
        mistakes.add(Mistake::new(place, "upstream.url", text));
    }
}
