//! How requests are guarded: keys that can be found, lists that do not overlap, and room for what
//! is to be kept.

use std::time::Duration;

use crate::config::choice::InFlight;
use crate::config::keys::GuardKeys;
use crate::config::mistake::{Located, Mistake, Mistakes, Place};
use crate::config::setting::{List, Setting};
use crate::config::settings::Settings;
use crate::config::units::{Bytes, write_bytes, write_duration};
use crate::config::words::{is_checksum, is_token, path_names};
use crate::config::written::{Written, WrittenRoute};
use crate::policy::{Anonymous, CallerSource, KeyPart, KeySource};
use crate::store::WhenFull;

/// The largest answer that a record can hold, in bytes.
const RESPONSE_MAX: u64 = 1 << 30;

/// Headers that frame a message or belong to one connection, so that none of them can carry a key.
const NO_KEY: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checks the defaults, and every route over them.
pub(super) fn check(written: &Written, mistakes: &mut Mistakes) {
    let defaults = &written.defaults;
    alone(defaults, mistakes);
    pairs(defaults, defaults, mistakes);
    together(defaults, written, mistakes);
    for route in &written.routes {
        let keys = route.guard_over(defaults);
        alone(&route.guard, mistakes);
        pairs(&route.guard, &keys, mistakes);
        together(&keys, written, mistakes);
        parameters(route, mistakes);
    }
    default_parameters(written, mistakes);
}

/// What one table says.
fn alone(own: &GuardKeys, mistakes: &mut Mistakes) {
    lists(own, mistakes);
    headers(own, mistakes);
    statuses(own, mistakes);
}

/// What several tables say together. What a route has not said itself is found again with the same
/// place, and so counts once.
fn together(keys: &GuardKeys, written: &Written, mistakes: &mut Mistakes) {
    callers(keys, written, mistakes);
    required(keys, mistakes);
    tokens(keys, written, mistakes);
    window(keys, written, mistakes);
    room(keys, written, mistakes);
}

/// Lists that say nothing, and sources that are never looked at.
fn lists(own: &GuardKeys, mistakes: &mut Mistakes) {
    if let Some(methods) = own.methods.as_ref().filter(|methods| methods.value.is_empty()) {
        let text = "at least one method is needed; mode = \"off\" lets every request pass";
        mistakes.add(Mistake::new(methods.place, "methods", text));
    }
    let Some(key) = &own.key else { return };
    if key.value.is_empty() {
        let text = "at least one source is needed; mode = \"off\" lets every request pass";
        mistakes.add(Mistake::new(key.place, "key", text));
    }
    for source in &key.value {
        let framing = source.value.parts().iter().find_map(|part| match part {
            KeyPart::Header(name) => Some(name).filter(|name| NO_KEY.contains(&name.as_str())),
            KeyPart::Query(_) | KeyPart::Path(_) | KeyPart::Cookie(_) | KeyPart::Json(_) => None,
        });
        if let Some(name) = framing {
            let text =
                format!("{name} frames the message or belongs to its connection: it is no key");
            mistakes.add(Mistake::new(source.place, "key", text));
        }
    }
    let mut sources = key.value.iter().skip_while(|source| !is_checksum(&source.value));
    if let (Some(_), Some(next)) = (sources.next(), sources.next()) {
        let text = format!(
            "{} is never looked for, since every request has a checksum; put \"checksum\" last",
            next.value.write()
        );
        mistakes.add(Mistake::new(next.place, "key", text));
    }
}

/// Keys of one table that can't be together.
fn headers(own: &GuardKeys, mistakes: &mut Mistakes) {
    if let (Some(only), Some(ignored)) = (&own.only_headers, &own.ignore_headers) {
        let text = format!(
            "only_headers says which headers count, so that ignore_headers ({}) says nothing; \
             leave one out",
            ignored.place
        );
        mistakes.add(Mistake::new(only.place, "only_headers", text));
    }
}

/// Keys of one table that can't be together with what holds besides.
fn pairs(own: &GuardKeys, all: &GuardKeys, mistakes: &mut Mistakes) {
    if let (Some(in_flight), Some(wait)) = (all.in_flight, own.wait)
        && in_flight.value == InFlight::Refuse
    {
        let text = format!("nobody waits with in_flight = \"refuse\" ({})", in_flight.place);
        mistakes.add(Mistake::new(wait.place, "wait", text));
    }
    if let (Some(anonymous), Some(caller)) = (all.anonymous, &all.caller)
        && caller.value.is_empty()
        && anonymous.value != Anonymous::Share
    {
        let text = format!(
            "with caller = [] ({}) nobody says who they are; only \"share\" is of use",
            caller.place
        );
        mistakes.add(Mistake::new(anonymous.place, "anonymous", text));
    }
    let Some(header) = &own.forward_key else { return };
    let says_who = |source: &Located<CallerSource>| match &source.value {
        CallerSource::Header(name) => *name == header.value,
        CallerSource::Cookie(_) => header.value == http::header::COOKIE,
        CallerSource::BasicUser | CallerSource::TokenClaim(_) => {
            header.value == http::header::AUTHORIZATION
        }
        CallerSource::Query(_) | CallerSource::ClientCertificate => false,
    };
    if NO_KEY.contains(&header.value.as_str()) || all.caller().value.iter().any(says_who) {
        let text = format!("{} can't carry a key; \"Idempotency-Key\" can", header.value);
        mistakes.add(Mistake::new(header.place, "forward_key", text));
    }
}

/// What says who a caller is must be there now and then.
fn callers(keys: &GuardKeys, written: &Written, mistakes: &mut Mistakes) {
    let tls = &written.tls;
    let unread = tls.unread.contains(&"client_ca_file") || written.top.unread.contains(&"tls");
    if tls.client_ca_file.is_some() || unread {
        return;
    }
    let Some(caller) = keys.caller.as_ref().filter(|caller| !caller.value.is_empty()) else {
        return;
    };
    let is_certificate =
        |source: &Located<CallerSource>| source.value == CallerSource::ClientCertificate;
    if caller.value.iter().all(is_certificate) {
        let text = "no caller is asked for a certificate without a client_ca_file in [tls]; name \
                    one, or a header that says who the caller is, such as \
                    \"header:X-Forwarded-Client-Cert\"";
        mistakes.add(Mistake::new(caller.place, "caller", text));
    }
}

/// Statuses that stand in two of the lists.
fn statuses(own: &GuardKeys, mistakes: &mut Mistakes) {
    let lists = [("keep", &own.keep), ("release", &own.release), ("hold", &own.hold)];
    let mut all: Vec<_> = lists
        .into_iter()
        .filter_map(|(name, list)| Some((name, list.as_ref()?)))
        .flat_map(|(name, list)| list.value.iter().map(move |rule| (name, *rule)))
        .collect();
    all.sort_by_key(|(_, rule)| rule.place);
    for (index, (name, rule)) in all.iter().enumerate() {
        let same = |(_, other): &&(&str, Located<_>)| other.value == rule.value;
        if let Some((first, other)) = all[..index].iter().find(same) {
            let text = format!(
                "{} stands in {first}, too ({}); an answer can only be one of these",
                rule.value.write(),
                other.place
            );
            mistakes.add(Mistake::new(rule.place, name, text));
        }
    }
}

/// A key that is required must be one that can be missing.
fn required(keys: &GuardKeys, mistakes: &mut Mistakes) {
    let Some(required) = keys.require_key.filter(|required| required.value) else { return };
    let unread = keys.key.is_none() && keys.unread.contains(&"key");
    let key = keys.key();
    if !unread && key.value.iter().any(|source| is_checksum(&source.value)) {
        let text = format!(
            "no key is ever missing, since every request has the \"checksum\" that key ({}) ends \
             with; take that out, or leave require_key out",
            key.place
        );
        mistakes.add(Mistake::new(required.place, "require_key", text));
    }
}

fn tokens(keys: &GuardKeys, written: &Written, mistakes: &mut Mistakes) {
    let has_jwt = written.jwt.place.is_some() || written.top.unread.contains(&"jwt");
    let Some(caller) = keys.caller.as_ref().filter(|_| !has_jwt) else { return };
    for source in caller.value.iter().filter(|source| is_token(&source.value)) {
        let text = format!("{} needs a table [jwt], which verifies it", source.value.write());
        mistakes.add(Mistake::new(source.place, "caller", text));
    }
}

/// An operation must not outlive its record, as far as somebody has said how long it may take.
fn window(keys: &GuardKeys, written: &Written, mistakes: &mut Mistakes) {
    let upstream = &written.upstream;
    let Some(window) = keys.window else { return };
    let parts = [("upstream.timeout", upstream.timeout), ("upstream.linger", upstream.linger)];
    let said: Vec<_> = parts.iter().filter_map(|(name, part)| Some((*name, (*part)?))).collect();
    let longest: Duration = said.iter().map(|(_, part)| part.value).sum();
    if window.value < longest {
        let parts: Vec<_> =
            said.iter().map(|(name, part)| format!("{name} ({})", part.place)).collect();
        let text = format!(
            "a request may take longer than this, by {}; \"{}\" or more is needed",
            parts.join(" and "),
            write_duration(longest)
        );
        mistakes.add(Mistake::new(window.place, "window", text));
    }
}

/// What is read or kept must fit into what there is for it.
fn room(keys: &GuardKeys, written: &Written, mistakes: &mut Mistakes) {
    let store = &written.store;
    let (when_full, room) = (store.when_full(), store.max_bytes());
    let response = keys.max_response();
    let needed = Settings::room_of(response.value.0);
    let places = [response.place, room.place, when_full.place];
    if when_full.value == WhenFull::Refuse && room.value.0 < needed {
        let names = ["max_response", "max_bytes", "when_full"];
        let said = names.into_iter().zip(places).find(|(_, place)| place.is_said());
        let (name, place) = said.unwrap_or(("max_bytes", Place::WholeFile));
        let text = format!(
            "a store of {} that refuses when it is full has no room for one answer of {} and its \
             header; give it at least {}, or keep smaller answers",
            write_bytes(room.value),
            write_bytes(response.value),
            write_bytes(Bytes(needed.next_multiple_of(1 << 10)))
        );
        mistakes.add(Mistake::new(place, name, text));
    }
    if let Some(response) = keys.max_response.filter(|response| response.value.0 > RESPONSE_MAX) {
        let text =
            format!("an answer is kept if it has {} at most", write_bytes(Bytes(RESPONSE_MAX)));
        mistakes.add(Mistake::new(response.place, "max_response", text));
    }
    if let (Some(request), Some(buffered)) = (keys.max_request, written.limits.max_buffered)
        && request.value.0 > buffered.value.0
    {
        let text = format!(
            "a request of {} is never read whole, since all together may take {} \
             (limits.max_buffered, {})",
            write_bytes(request.value),
            write_bytes(buffered.value),
            buffered.place
        );
        mistakes.add(Mistake::new(request.place, "max_request", text));
    }
}

/// A parameter of the path must be in the path.
fn parameters(route: &WrittenRoute, mistakes: &mut Mistakes) {
    let unread = route.route.unread.contains(&"path");
    let Some(key) = route.guard.key.as_ref().filter(|_| !unread) else { return };
    for (place, name) in missing_parameters(route, &key.value) {
        let text = match &route.route.path {
            Some(path) => format!("the path ({}) has no {{{name}}}", path.place),
            None => format!("the route needs a path that has {{{name}}}"),
        };
        mistakes.add(Mistake::new(place, "key", text));
    }
}

/// A parameter that the defaults name must be in the path of a route that takes its key from them.
fn default_parameters(written: &Written, mistakes: &mut Mistakes) {
    let Some(key) = &written.defaults.key else { return };
    for source in &key.value {
        for name in path_names(&source.value) {
            let has = |route: &WrittenRoute| route.guard.key.is_none() && has_path(route, name);
            if !written.routes.iter().any(has) {
                let text = format!("no route that takes its key from here has {{{name}}}");
                mistakes.add(Mistake::new(source.place, "key", text));
            }
        }
    }
}

fn missing_parameters<'a>(
    route: &'a WrittenRoute,
    key: &'a List<KeySource>,
) -> impl Iterator<Item = (Place, &'a str)> {
    key.iter().flat_map(move |source| {
        let names = path_names(&source.value).filter(|name| !has_path(route, name));
        names.map(|name| (source.place, name))
    })
}

fn has_path(route: &WrittenRoute, name: &str) -> bool {
    route.route.path.as_ref().is_some_and(|path| path.value.has_parameter(name))
}
