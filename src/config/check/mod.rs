//! What can't be together, although each part of it can be read.
//!
//! A contradiction is found only in what somebody has said: what is said must not break because of
//! a default that was never looked at.

mod guard;
mod jwt;
mod route;

use super::mistake::{Mistake, Mistakes, Place};
use super::written::Written;

/// The most header lines that can be read.
const HEADERS_MAX: usize = 16_384;

/// Finds all that can't be together.
pub(super) fn check(written: &Written, mistakes: &mut Mistakes) {
    // What is missing may be in what could not be read.
    if written.incomplete {
        return;
    }
    upstream(written, mistakes);
    limits(written, mistakes);
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

fn limits(written: &Written, mistakes: &mut Mistakes) {
    let keys = &written.limits;
    if let Some(headers) = keys.max_headers.filter(|headers| headers.value > HEADERS_MAX) {
        let text = format!("a header may have {HEADERS_MAX} lines at most");
        mistakes.add(Mistake::new(headers.place, "max_headers", text));
    }
    if let (Some(each), Some(all)) = (keys.max_waiters_per_key, keys.max_waiters)
        && each.value > all.value
    {
        let text = format!(
            "{} can wait for one key, but only {} for all together (max_waiters, {})",
            each.value, all.value, all.place
        );
        mistakes.add(Mistake::new(each.place, "max_waiters_per_key", text));
    }
}
