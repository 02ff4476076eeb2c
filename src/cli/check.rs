//! `oncegate check`: what a config says, route by route.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::{ClientCertificate, Settings};
use crate::idempotency::{OnMismatch, OnStoreError, OnUnknown};
use crate::policy::{Anonymous, Authorities, Mode, Oversize, Route, default_caller};
use crate::transport::Address;
use crate::upstream::Protocol;

/// The headings of the table.
const HEADINGS: [&str; 7] = ["ROUTE", "MODE", "METHODS", "REQUESTS", "KEY", "CALLER", "WINDOW"];

/// The effective routes as a table, in the order in which they are tried, and what of them is out
/// of the ordinary below it.
pub fn effective(settings: &Settings) -> String {
    let rows: Vec<_> = settings.policy.routes().map(|route| row(route)).collect();
    let mut text = table(&rows);
    let mut routes_of: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for route in settings.policy.routes() {
        for note in notes(route) {
            routes_of.entry(note).or_default().push(&route.name);
        }
    }
    let routes = routes_of.into_iter().map(|(note, routes)| (note, routes.join(" ")));
    for (note, of) in connections(settings).into_iter().chain(routes) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{note}:\n    {of}");
    }
    text
}

/// What is said of connections, and of which.
fn connections(settings: &Settings) -> Vec<(String, String)> {
    let is_unix = |address: &&Address| matches!(address, Address::Unix(_));
    let (unix, tcp): (Vec<_>, Vec<_>) = settings.listen.iter().partition(is_unix);
    let shown =
        |list: &[&Address]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut notes = Vec::new();
    let mut note = |holds: bool, text: &str, of: String| {
        if holds {
            notes.push((text.to_owned(), of));
        }
    };
    let secure = match settings.client_certificate {
        None => "callers connect by TLS",
        Some(ClientCertificate::Optional) => {
            "callers connect by TLS, and a certificate that one shows is verified"
        }
        Some(ClientCertificate::Required) => {
            "callers connect by TLS, and each must show a certificate"
        }
    };
    note(settings.tls.is_some(), secure, shown(&tcp));
    note(settings.proxy_protocol, "connections begin with a PROXY header", shown(&tcp));
    note(!unix.is_empty(), "callers connect by a Unix socket", shown(&unix));
    let has_http2 = settings.upstream.protocol == Protocol::Http2;
    note(has_http2, "the API is spoken to in HTTP/2", settings.upstream.endpoint.to_string());
    notes
}

fn row(route: &Route) -> [String; 7] {
    let words = |list: &[String]| list.join(" ");
    let methods: Vec<_> = route.methods.iter().map(ToString::to_string).collect();
    let keys: Vec<_> = route.key.iter().map(ToString::to_string).collect();
    let callers: Vec<_> = route.caller.iter().map(ToString::to_string).collect();
    let host = route.rule.host.as_ref().map_or(String::new(), ToString::to_string);
    let path = route.rule.path.as_ref().map_or("any".to_owned(), ToString::to_string);
    [
        route.name.to_string(),
        match route.mode {
            Mode::Enforce => "enforce".to_owned(),
            Mode::Observe => "observe".to_owned(),
            Mode::Off => "off".to_owned(),
        },
        words(&methods),
        format!("{host}{path}"),
        words(&keys),
        match () {
            () if route.caller == default_caller() => "default".to_owned(),
            () if callers.is_empty() => "nobody".to_owned(),
            () => words(&callers),
        },
        humantime::format_duration(route.terms.window).to_string(),
    ]
}

fn table(rows: &[[String; 7]]) -> String {
    let headings = HEADINGS.map(ToOwned::to_owned);
    let all = || std::iter::once(&headings).chain(rows);
    let widths: [usize; 7] = std::array::from_fn(|column| {
        all().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What is said of a route beyond the table.
fn notes(route: &Route) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |holds: bool, text: &str| {
        if holds {
            notes.push(text.to_owned());
        }
    };
    note(route.requires_key, "a request without a key is refused");
    note(route.caller.is_empty(), "all callers are one: whoever knows a key gets its answer");
    note(route.anonymous == Anonymous::Refuse, "anonymous callers are refused");
    note(route.anonymous == Anonymous::Pass, "anonymous callers pass unprotected");
    note(route.compared.authority == Authorities::Together, "all hosts are one");
    note(
        route.terms.on_mismatch == OnMismatch::Replay,
        "a key that was used for another request gets that one's answer",
    );
    note(
        route.terms.on_unknown == OnUnknown::Release,
        "a request whose outcome is unknown may be executed again",
    );
    note(
        route.terms.on_store_error == OnStoreError::Pass,
        "while the store is unavailable, requests pass unprotected",
    );
    note(route.terms.wait.is_zero(), "a repeat does not wait for the first request");
    note(route.oversize == Some(Oversize::Pass), "what is too large passes unprotected");
    note(route.oversize == Some(Oversize::Reject), "what is too large is refused");
    if let Some(header) = &route.forward_key {
        notes.push(format!("the upstream is sent a derived key in `{header}`"));
    }
    notes
}
