//! Requests that have nearly all that a route may look for.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::generate::{LEAVES, credential, pack};
use crate::request::Sent;

pub fn sent() -> impl Strategy<Value = Sent> {
    let said = option::weighted(0.85, select(vec!["a", "b", "ab"]));
    let names = vec![
        ("k", ""),
        ("l", ""),
        ("x-a", ""),
        ("x-ab", ""),
        ("cookie", "k="),
        ("cookie", "l="),
        ("content-type", "text/"),
        ("if-match", ""),
        ("prefer", ""),
        ("date", ""),
    ];
    let lines = vec(said.clone(), names.len()).prop_map(move |all| {
        let lines = names.iter().zip(all);
        let line = |(&(name, before), value): (&(&str, &str), Option<&str>)| {
            Some((name.to_owned(), format!("{before}{}", value?).into_bytes()))
        };
        lines.filter_map(line).collect::<Vec<_>>()
    });
    let parameters = vec(said.clone(), 3).prop_map(|all| {
        let pairs = ["k", "l", "q"].into_iter().zip(all);
        let pairs = pairs.filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        Some(pairs.collect::<Vec<_>>().join("&"))
    });
    let who = vec((select(vec!["authorization", "x-jwt"]), credential()), 0..3);
    let body = (rich_value(3), option::weighted(0.4, Just("gzip")));
    (lines, parameters, who, body, said).prop_map(
        |(mut lines, query, who, (body, coding), other)| {
            lines.extend(who.into_iter().map(|(name, value)| (name.to_owned(), value)));
            lines.extend(coding.map(|coding| ("content-encoding".to_owned(), coding.into())));
            let body = pack(coding.unwrap_or_default(), body.as_bytes());
            let certificate = other.map(Vec::from);
            let [method, authority, path] = ["POST", "a", "/"].map(str::to_owned);
            Sent { method, authority, path, query, lines, body, certificate }
        },
    )
}

fn rich_value(depth: u32) -> BoxedStrategy<String> {
    let leaf = select(&LEAVES[..12]).prop_map(str::to_owned);
    if depth == 0 {
        return leaf.boxed();
    }
    let array = vec(rich_value(depth - 1), 1..3).prop_map(|all| format!("[{}]", all.join(",")));
    let names = ["k", "l", "t", "s", "o", "*", "0", "1"];
    let object =
        vec(option::weighted(0.6, rich_value(depth - 1)), names.len()).prop_map(move |all| {
            let members = names.iter().zip(all);
            let members =
                members.filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        });
    match depth {
        3 => prop_oneof![4 => object, 1 => array].boxed(),
        _ => prop_oneof![1 => object, 1 => array, 2 => leaf].boxed(),
    }
}

/// A body out of what [`pack`] has made of it.
pub fn unpack(coding: &str, body: &[u8]) -> Vec<u8> {
    use std::io::Read;

    let mut plain = Vec::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap()),
        _ => plain.extend_from_slice(body),
    }
    plain
}
