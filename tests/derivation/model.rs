//! A naive model of what identifies a request: all the parts themselves, instead of hashes of them.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use oncegate::policy::is_volatile;

use crate::json::{self, Scalar};
use crate::request::{Headers, Place, Plan, Sent, Source, Who};
use crate::tokens::GENUINE;

/// What a request is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Model {
    Refused,
    Nothing,
    Identity(Box<Record>, Box<Compared>),
}

/// What makes the key of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    method: String,
    authority: Option<String>,
    path: String,
    pub callers: Vec<Credential>,
    key: Key,
}

/// Of what kind it is, its name, and its value.
type Credential = (&'static str, String, Vec<u8>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Key {
    Chosen(String, Vec<Part>),
    Checksum { query: Option<String>, lines: Vec<(String, Vec<u8>)>, body: Body },
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(Vec<u8>),
    Value(Scalar),
    Values(Vec<Scalar>),
}

/// What must not change under a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Compared {
    Covered,
    Parts { query: Option<String>, content_type: Vec<Vec<u8>>, body: Body },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// What it says, and what counts of that.
    Plain(Vec<u8>),
    /// What it was said to be coded with, and what was sent.
    Undecoded(Vec<Vec<u8>>, Vec<u8>),
}

/// A key that is there, but is none.
struct Malformed;

pub fn of(plan: &Plan, sent: &Sent) -> Model {
    let body = body(sent);
    let key = match key(plan, sent, &body) {
        Err(Malformed) => return Model::Refused,
        Ok(Found::Nothing) => return Model::Nothing,
        Ok(Found::Checksum) => None,
        Ok(Found::Key(source, parts)) => Some((source, parts)),
    };
    let pointers: Vec<_> = plan.ignored.iter().map(|text| json::tokens(text)).collect();
    let body = match body {
        Body::Plain(text) => Body::Plain(json::without(&text, &pointers)),
        undecoded @ Body::Undecoded(..) => undecoded,
    };
    let query = sent.query.clone();
    let (key, compared) = match key {
        Some((source, parts)) => {
            let content_type = match counts(plan, "content-type") || covered(plan, "content-type") {
                true => sent.values("content-type").into_iter().map(Vec::from).collect(),
                false => Vec::new(),
            };
            (Key::Chosen(source, parts), Compared::Parts { query, content_type, body })
        }
        None => {
            let lower = sent.lines.iter().map(|line| (line.0.to_ascii_lowercase(), line.1.clone()));
            let mut lines: Vec<_> = lower.filter(|(name, _)| counts(plan, name)).collect();
            lines.sort_by(|one, other| one.0.cmp(&other.0));
            (Key::Checksum { query, lines, body }, Compared::Covered)
        }
    };
    let record = Record {
        method: sent.method.clone(),
        authority: plan.authority.then(|| canonical(&sent.authority)),
        path: sent.path.clone(),
        callers: plan.caller.iter().flat_map(|who| credentials(plan, sent, who)).collect(),
        key,
    };
    Model::Identity(Box::new(record), Box::new(compared))
}

fn canonical(authority: &str) -> String {
    let lower = authority.to_ascii_lowercase();
    let lower = lower.strip_suffix(":80").unwrap_or(&lower);
    lower.strip_suffix('.').unwrap_or(lower).to_owned()
}

// Bodies

fn body(sent: &Sent) -> Body {
    let codings = sent.values("content-encoding");
    let plain = match &codings[..] {
        [] => Some(sent.body.clone()),
        [coding] => decoded(&coding.trim_ascii().to_ascii_lowercase(), &sent.body),
        _ => None,
    };
    let undecoded =
        || Body::Undecoded(codings.into_iter().map(Vec::from).collect(), sent.body.clone());
    plain.map_or_else(undecoded, Body::Plain)
}

fn decoded(coding: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let left = match coding {
        b"" | b"identity" => return Some(body.to_vec()),
        b"gzip" | b"x-gzip" => {
            let mut decoder = GzDecoder::new(body);
            decoder.read_to_end(&mut plain).ok()?;
            decoder.into_inner()
        }
        b"deflate" if body.len() > 1 && body[0] & 15 == 8 && zlib_check(body) => {
            let mut decoder = ZlibDecoder::new(body);
            decoder.read_to_end(&mut plain).ok()?;
            decoder.into_inner()
        }
        b"deflate" => {
            let mut decoder = DeflateDecoder::new(body);
            decoder.read_to_end(&mut plain).ok()?;
            decoder.into_inner()
        }
        _ => return None,
    };
    left.is_empty().then_some(plain)
}

fn zlib_check(body: &[u8]) -> bool {
    (u32::from(body[0]) * 256 + u32::from(body[1])).is_multiple_of(31)
}

// Keys

/// The first key that a request has.
enum Found {
    /// Where and what it is.
    Key(String, Vec<Part>),
    Checksum,
    Nothing,
}

fn key(plan: &Plan, sent: &Sent, body: &Body) -> Result<Found, Malformed> {
    for source in &plan.key {
        let Source::Joined(places) = source else { return Ok(Found::Checksum) };
        // The header is looked at before there is a body.
        let mut header = Some(Vec::new());
        for place in places.iter().filter(|place| !matches!(place, Place::Json(_))) {
            match in_header(plan, sent, place)? {
                Some(part) => header.as_mut().into_iter().for_each(|all| all.push(part.clone())),
                None => {
                    header = None;
                    break;
                }
            }
        }
        let Some(header) = header else { continue };
        let mut header = header.into_iter();
        let parts = places.iter().map(|place| match place {
            Place::Json(pointer) => in_body(body, pointer),
            Place::Header(_) | Place::Query(_) | Place::Path(_) | Place::Cookie(_) => {
                header.next().map(Part::Text)
            }
        });
        if let Some(parts) = parts.collect() {
            return Ok(Found::Key(source.text(), parts));
        }
    }
    Ok(Found::Nothing)
}

fn in_body(body: &Body, pointer: &str) -> Option<Part> {
    let Body::Plain(plain) = body else { return None };
    let tokens = json::tokens(pointer);
    let values = json::values(plain, &tokens)?;
    match tokens.iter().any(|token| token == "*") {
        true => Some(Part::Values(values)),
        false => values.into_iter().next().map(Part::Value),
    }
}

fn in_header(plan: &Plan, sent: &Sent, place: &Place) -> Result<Option<Vec<u8>>, Malformed> {
    let found: Vec<Vec<u8>> = match place {
        Place::Header(name) => sent.values(name).into_iter().map(Vec::from).collect(),
        Place::Query(name) => parameters(sent, name),
        Place::Path(name) => parameter(plan.path, name, &sent.path).into_iter().collect(),
        Place::Cookie(name) => cookies(sent, name),
        Place::Json(_) => Vec::new(),
    };
    let [one] = &found[..] else {
        return if found.is_empty() { Ok(None) } else { Err(Malformed) };
    };
    let text = match place {
        Place::Header(_) => unquoted(one.trim_ascii()).ok_or(Malformed)?,
        Place::Query(_) | Place::Path(_) | Place::Cookie(_) | Place::Json(_) => one.clone(),
    };
    let good = (1..=255).contains(&text.len()) && text.iter().all(|byte| (33..127).contains(byte));
    if good { Ok(Some(text)) } else { Err(Malformed) }
}

fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    if !text.starts_with(b"\"") {
        return Some(text.to_vec());
    }
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut unquoted = Vec::new();
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        unquoted.push(match byte {
            b'"' => return None,
            b'\\' => *bytes.next().filter(|next| b"\"\\".contains(next))?,
            _ => *byte,
        });
    }
    Some(unquoted)
}

fn parameters(sent: &Sent, name: &str) -> Vec<Vec<u8>> {
    let pairs = sent.query.iter().flat_map(|query| query.split('&'));
    let value = |pair: &str| match pair.find('=') {
        Some(at) => (&pair[..at] == name).then(|| pair[at + 1..].into()),
        None => (pair == name).then(Vec::new),
    };
    pairs.filter_map(value).collect()
}

fn cookies(sent: &Sent, name: &str) -> Vec<Vec<u8>> {
    let lines = sent.values("cookie");
    let pairs = lines.iter().flat_map(|line| line.split(|byte| *byte == b';'));
    let value = |pair: &[u8]| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        (&pair[..at] == name.as_bytes()).then(|| pair[at + 1..].into())
    };
    pairs.filter_map(value).collect()
}

fn parameter(pattern: Option<&str>, name: &str, path: &str) -> Option<Vec<u8>> {
    let mut found = None;
    let mut segments = path.strip_prefix('/')?.split('/');
    for wanted in pattern?.strip_prefix('/')?.split('/') {
        let inner = wanted.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        if let Some(rest) = inner.and_then(|inner| inner.strip_prefix('*')) {
            let left = segments.collect::<Vec<_>>().join("/");
            found = if rest == name { Some(left.clone()) } else { found };
            return found.filter(|_| !left.is_empty()).map(String::into_bytes);
        }
        let segment = segments.next()?;
        match inner {
            Some(_) if segment.is_empty() => return None,
            Some(inner) if inner == name => found = Some(segment.to_owned()),
            Some(_) => {}
            None if segment == wanted => {}
            None => return None,
        }
    }
    found.filter(|_| segments.next().is_none()).map(String::into_bytes)
}

// Callers, and headers that count

fn covered(plan: &Plan, name: &str) -> bool {
    plan.caller.iter().any(|who| match who {
        Who::Header(header) => *header == name,
        Who::Basic => name == "authorization",
        Who::Claim(_) => plan.tokens == Some(name),
        Who::Cookie(_) | Who::Query(_) | Who::Certificate => false,
    })
}

fn counts(plan: &Plan, name: &str) -> bool {
    !covered(plan, name)
        && match &plan.headers {
            Headers::AllBut(ignored) => !is_volatile(name) && !ignored.contains(&name),
            Headers::Only(listed) => listed.contains(&name),
        }
}

fn credentials(plan: &Plan, sent: &Sent, who: &Who) -> Vec<Credential> {
    let all = |kind, name: &str, values: Vec<Vec<u8>>| {
        values.into_iter().map(|value| (kind, name.to_owned(), value)).collect()
    };
    let lines = |name| all("header", name, sent.values(name).into_iter().map(Vec::from).collect());
    match who {
        Who::Header(name) => lines(name),
        Who::Cookie(name) => all("cookie", name, cookies(sent, name)),
        Who::Query(name) => all("query", name, parameters(sent, name)),
        Who::Certificate => all("client-cert", "", sent.certificate.iter().cloned().collect()),
        Who::Basic => match user(&sent.values("authorization")) {
            Some(user) => all("basic", "", vec![user]),
            None => lines("authorization"),
        },
        Who::Claim(claim) => {
            let Some(header) = plan.tokens else { return Vec::new() };
            match claimed(header, &sent.values(header), claim) {
                Claimed::Nothing => Vec::new(),
                Claimed::Lines => lines(header),
                Claimed::By(value) => all("jwt", claim, vec![value.into_bytes()]),
            }
        }
    }
}

fn user(lines: &[&[u8]]) -> Option<Vec<u8>> {
    let [line] = lines else { return None };
    let scheme = line.get(..6)?.eq_ignore_ascii_case(b"basic ");
    let decoded = STANDARD.decode(line[6..].trim_ascii()).ok().filter(|_| scheme)?;
    let user = decoded.split(|byte| *byte == b':').next()?.to_vec();
    (!user.is_empty() && user.len() < decoded.len()).then_some(user)
}

enum Claimed {
    Nothing,
    Lines,
    By(String),
}

fn claimed(header: &str, lines: &[&[u8]], claim: &str) -> Claimed {
    let says_nothing = |line: &&[u8]| {
        let line = line.trim_ascii();
        line.is_empty() || line.eq_ignore_ascii_case(b"bearer")
    };
    if lines.iter().all(says_nothing) && lines.len() < 2 {
        return Claimed::Nothing;
    }
    let [line] = lines else { return Claimed::Lines };
    let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
    let token = match text.split_once([' ', '\t']) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_ascii(),
        Some(_) if header == "authorization" => return Claimed::Lines,
        _ => &text,
    };
    let Some((_, payload)) = GENUINE.iter().find(|(genuine, _)| genuine == token) else {
        return Claimed::Lines;
    };
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
    let value = &payload[claim];
    match value.as_str().map_or(value.is_i64(), |text| !text.is_empty()) {
        true => Claimed::By(format!("{:?} says {value}", payload.get("iss"))),
        false => Claimed::Lines,
    }
}
