//! Requests and routes at random, made of so few words that they are often nearly alike.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use crate::request::{Headers, Place, Plan, Sent, Source, Who};
use crate::tokens;

pub const NAMES: [&str; 16] = [
    "k",
    "l",
    "kl",
    "x-a",
    "x-ab",
    "authorization",
    "cookie",
    "content-type",
    "x-jwt",
    "if-match",
    "prefer",
    "date",
    "user-agent",
    "x-b3-traceid",
    "Via",
    "X-A",
];

const VALUES: [&str; 26] = [
    "",
    "a",
    "b",
    "ab",
    "ba",
    "aa",
    "a,b",
    "a, b",
    "a;b",
    "a b",
    "k=a",
    "k=b",
    "l=a",
    "k=a; l=b",
    "k=a;k=b",
    "kl=a",
    "k =a",
    "\"a\"",
    "\"ab\"",
    "\"a\\\"b\"",
    "\"a",
    "a\"b",
    "1",
    "text/plain",
    "Bearer",
    "\u{e9}",
];

const QUERIES: [&str; 14] = [
    "", "k=a", "k=b", "k=ab", "k", "k=", "l=a", "l=b", "kl=a", "q=a", "q=ab", "a", "k=%61", "k=a=b",
];

pub const PATHS: [&str; 14] = [
    "/", "/a", "/b", "/ab", "/a/", "//a", "/a/b", "/b/a", "/a/a", "/ab/b", "/a/b/a", "/a//b",
    "/a/%62", "/b/a/",
];

pub const AUTHORITIES: [&str; 10] =
    ["a", "a.", "A", "a:80", "a:81", "b", "ab", "x.a", "x.a:81", "x.b"];

pub const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "POSTA"];

/// Patterns whose parameters can be keys: `p`, `q` and `r`.
pub const PATTERNS: [&str; 11] = [
    "/{p}",
    "/{p}/{q}",
    "/{q}/{p}",
    "/a/{p}",
    "/{p}/b",
    "/{p}/{*r}",
    "/a/{*r}",
    "/{*r}",
    "/a",
    "/a/b",
    "/{p}/",
];

const HOSTS: [&str; 5] = ["a", "a:81", "*.a", "x.a", "b"];

pub const POINTERS: [&str; 14] = [
    "/k", "/l", "/t", "/s/*", "/s/0", "/s/1", "/s/*/k", "/s/*/t", "/o/k", "/o/t", "/*/k", "/o/*",
    "/0/k", "/k/t",
];

fn text(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

// Requests

pub fn sent() -> impl Strategy<Value = Sent> {
    let target = (text(&METHODS), text(&AUTHORITIES), text(&PATHS), option::of(query()));
    let certificate = option::weighted(0.3, text(&VALUES).prop_map(String::into_bytes));
    (target, vec(line(), 0..8), coded(), certificate).prop_map(
        |((method, authority, path, query), mut lines, (coding, body), certificate)| {
            lines.extend(coding.map(|coding| ("Content-Encoding".to_owned(), coding.into())));
            Sent { method, authority, path, query, lines, body, certificate }
        },
    )
}

fn query() -> impl Strategy<Value = String> {
    vec(select(&QUERIES[..]), 0..4).prop_map(|pairs| pairs.join("&"))
}

pub fn line() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![select(&NAMES[..3]), select(&NAMES[..])].prop_map(str::to_owned);
    let any_line = (name, value());
    let says_who = (select(vec!["Authorization", "x-jwt"]), credential())
        .prop_map(|(name, value)| (name.to_owned(), value));
    prop_oneof![4 => any_line, 1 => says_who]
}

pub fn value() -> impl Strategy<Value = Vec<u8>> {
    let long = (250..260_usize).prop_map(|length| vec![b'x'; length]);
    prop_oneof![40 => text(&VALUES).prop_map(String::into_bytes), 1 => long]
}

pub fn credential() -> impl Strategy<Value = Vec<u8>> {
    let before = select(vec!["Bearer ", "bearer \t", "", "Basic "]);
    let token = any::<Index>().prop_map(|index| index.get(&tokens::ALL).clone());
    let bearer = (before, token).prop_map(|(before, token)| format!("{before}{token}"));
    let user = select(vec!["a:", "a:b", "a:c", "ab:", "a", ":a", "a:b:c", ""]);
    let basic = (select(vec!["Basic ", "BASIC  ", "Basic"]), user)
        .prop_map(|(before, user)| format!("{before}{}", STANDARD.encode(user)));
    prop_oneof![bearer, basic].prop_map(String::into_bytes)
}

/// A body, and the coding that it is said to have.
fn coded() -> impl Strategy<Value = (Option<&'static str>, Vec<u8>)> {
    let coding = select(vec!["gzip", "X-GZip", "deflate", "identity", "br", ""]);
    (option::weighted(0.2, coding), body(), any::<bool>()).prop_map(|(coding, body, codes)| {
        match coding {
            Some(coding) if codes => (Some(coding), pack(coding, body.as_bytes())),
            _ => (coding, body.into_bytes()),
        }
    })
}

/// A body in a coding.
pub fn pack(coding: &str, plain: &[u8]) -> Vec<u8> {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    // In pieces, as a sender might have flushed them.
    let (one, other) = plain.split_at(plain.len() / 2);
    match coding {
        "gzip" | "X-GZip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(one).unwrap();
            encoder.flush().unwrap();
            encoder.write_all(other).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(one).unwrap();
            encoder.flush().unwrap();
            encoder.write_all(other).unwrap();
            encoder.finish().unwrap()
        }
        _ => plain.to_vec(),
    }
}

fn body() -> impl Strategy<Value = String> {
    let other = select(vec!["", "a", "ab", "k=a", "{", "{\"k\":\"a\"}}", "{\"k\":\"a\",}", "[]x"]);
    prop_oneof![1 => other.prop_map(str::to_owned), 8 => document()]
}

// JSON

const MEMBERS: [&str; 12] = [
    "\"k\"",
    "\"k\"",
    "\"l\"",
    "\"t\"",
    "\"t\"",
    "\"s\"",
    "\"o\"",
    "\"*\"",
    "\"0\"",
    "\"\\u006b\"",
    "\"\\ud800\"",
    "\"\"",
];

pub const LEAVES: [&str; 22] = [
    "\"a\"",
    "\"b\"",
    "\"ab\"",
    "\"\"",
    "\"\\u0061\"",
    "\"\\\"\"",
    "\"1\"",
    "\"true\"",
    "\"\\ud800\"",
    "1",
    "1.0",
    "1e0",
    "-0",
    "10",
    "1e999",
    "9007199254740993",
    "9007199254740992",
    "true",
    "false",
    "null",
    "{}",
    "[]",
];

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => Just(""), 1 => Just(" "), 1 => Just("\n  ")]
}

/// A JSON text, in which names may stand twice.
pub fn document() -> impl Strategy<Value = String> {
    let value = value_of(3);
    (space(), value, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

pub fn value_of(depth: u32) -> BoxedStrategy<String> {
    let leaf = select(&LEAVES[..]).prop_map(str::to_owned);
    if depth == 0 {
        return leaf.boxed();
    }
    let spaced = |inner: BoxedStrategy<String>| {
        (space(), inner, space())
            .prop_map(|(before, inner, after)| format!("{before}{inner}{after}"))
    };
    let list = |items: Vec<String>| items.join(",");
    let array =
        vec(spaced(value_of(depth - 1)), 0..4).prop_map(move |all| format!("[{}]", list(all)));
    let member = (select(&MEMBERS[..]), space(), value_of(depth - 1))
        .prop_map(|(name, space, value)| format!("{name}{space}:{space}{value}"));
    let object =
        vec(spaced(member.boxed()), 0..5).prop_map(move |all| format!("{{{}}}", list(all)));
    match depth {
        3 => prop_oneof![6 => object, 2 => array, 1 => leaf].boxed(),
        _ => prop_oneof![2 => object, 2 => array, 3 => leaf].boxed(),
    }
}

// Routes

/// A route for all requests that its path matches.
pub fn plan() -> impl Strategy<Value = Plan> {
    let from = (option::weighted(0.6, select(&PATTERNS[..])), sources(), callers());
    let ignored = prop_oneof![Just(Vec::new()), pointers()];
    (from, headers(), ignored, any::<bool>(), option::of(select(vec!["authorization", "x-jwt"])))
        .prop_map(|((path, key, caller), headers, ignored, authority, tokens)| Plan {
            path,
            key,
            caller,
            headers,
            ignored,
            authority,
            tokens,
            ..Plan::default()
        })
}

pub fn methods() -> impl Strategy<Value = Option<&'static str>> {
    option::weighted(0.3, select(vec!["POST", "PUT", "POST,PUT"]))
}

pub fn host() -> impl Strategy<Value = Option<&'static str>> {
    option::weighted(0.3, select(&HOSTS[..]))
}

pub fn pointers() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(&POINTERS[..], 1..4).prop_shuffle()
}

pub fn sources() -> impl Strategy<Value = Vec<Source>> {
    let one = place().prop_map(|place| vec![place]);
    let joined = prop_oneof![2 => one, 1 => vec(place(), 2..4)].prop_map(Source::Joined);
    let last = option::weighted(0.4, Just(Source::Checksum));
    let some = (vec(joined, 1..4), last).prop_map(|(some, last)| some.into_iter().chain(last));
    prop_oneof![5 => some.prop_map(Iterator::collect), 1 => Just(vec![Source::Checksum])]
}

fn place() -> impl Strategy<Value = Place> {
    let name = || select(vec!["k", "l"]);
    prop_oneof![
        3 => name().prop_map(Place::Header),
        3 => name().prop_map(Place::Query),
        1 => select(vec!["p", "q", "r"]).prop_map(Place::Path),
        2 => name().prop_map(Place::Cookie),
        4 => select(&POINTERS[..]).prop_map(Place::Json),
    ]
}

pub fn callers() -> impl Strategy<Value = Vec<Who>> {
    let all = vec![
        Who::Header("authorization"),
        Who::Header("x-a"),
        Who::Header("x-ab"),
        Who::Header("cookie"),
        Who::Cookie("k"),
        Who::Cookie("l"),
        Who::Query("k"),
        Who::Query("q"),
        Who::Certificate,
        Who::Basic,
        Who::Claim("sub"),
        Who::Claim("tid"),
    ];
    let of_one_name = vec![Who::Header("q"), Who::Cookie("q"), Who::Query("q"), Who::Certificate];
    let some = prop_oneof![3 => subsequence(all, 0..5), 1 => subsequence(of_one_name, 2..5)];
    some.prop_shuffle()
}

pub fn headers() -> impl Strategy<Value = Headers> {
    let some = || {
        let names = vec!["x-a", "if-match", "content-type", "prefer", "cookie", "date", "k"];
        subsequence(names, 0..4).prop_shuffle()
    };
    prop_oneof![3 => some().prop_map(Headers::AllBut), 1 => some().prop_map(Headers::Only)]
}
