//! The places where a route looks for callers and keys, in the order in which it hashes what it
//! finds there; what stands in them, and what happens when it stands in the next one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

use crate::json::tokens;
use crate::request::{Place, Plan, Sent, Source, Who};

/// One such place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Slot {
    Header(&'static str),
    Query(&'static str),
    Cookie(&'static str),
    Certificate,
    Basic,
    Path(&'static str),
    Json(&'static str),
}

/// What is done to the values of two slots.
#[derive(Clone, Copy, Debug)]
pub enum Shift {
    /// The last byte of one goes to the front of the other.
    Forth,
    /// The first byte of the other goes to the end of the one.
    Back,
    /// The value goes to the other, which had none.
    Away,
    /// The values change places.
    Exchange,
}

/// A shift between one slot and the next, or another.
#[derive(Clone, Debug)]
pub struct Move(Shift, Index, Option<Index>);

pub fn shift() -> impl Strategy<Value = Move> {
    let shift = select(vec![Shift::Forth, Shift::Back, Shift::Away, Shift::Exchange]);
    (shift, any::<Index>(), any::<Option<Index>>()).prop_map(|(one, at, to)| Move(one, at, to))
}

/// What a plan's slots are filled with: which of its sources has a key, and the values.
pub fn filling() -> impl Strategy<Value = (Index, Vec<Option<&'static str>>)> {
    let value = proptest::option::weighted(0.7, select(vec!["a", "b", "ab", "ba", "aa", "bab"]));
    (any::<Index>(), proptest::collection::vec(value, 12))
}

/// A request with a key, and with some of the callers.
pub fn filled(
    plan: &Plan,
    sent: &Sent,
    (source, values): &(Index, Vec<Option<&'static str>>),
) -> Sent {
    let mut sent = sent.clone();
    sent.lines.retain(|line| !["k", "l", "cookie", "authorization"].contains(&line.0.as_str()));
    sent.query = None;
    let mut values = values.iter().cycle();
    for slot in callers(plan) {
        if let Some(value) = values.next().copied().flatten() {
            slot.set(plan, &mut sent, Some(value.into()));
        }
    }
    if let Some(Source::Joined(places)) = plan.key.get(source.index(plan.key.len().max(1))) {
        for place in places {
            let value = values.next().copied().flatten().unwrap_or("b");
            Slot::of(place).set(plan, &mut sent, Some(value.into()));
        }
    }
    sent
}

fn callers(plan: &Plan) -> impl Iterator<Item = Slot> {
    plan.caller.iter().filter_map(|who| {
        Some(match who {
            Who::Header("cookie") | Who::Claim(_) => return None,
            Who::Header(name) => Slot::Header(name),
            Who::Cookie(name) => Slot::Cookie(name),
            Who::Query(name) => Slot::Query(name),
            Who::Certificate => Slot::Certificate,
            Who::Basic => Slot::Basic,
        })
    })
}

impl Move {
    pub fn apply(&self, plan: &Plan, sent: &mut Sent) {
        let places = plan.key.iter().flat_map(|source| match source {
            Source::Joined(places) => &places[..],
            Source::Checksum => &[],
        });
        let slots: Vec<_> = callers(plan).chain(places.map(Slot::of)).collect();
        let there = |slot: &Slot| slot.get(plan, sent).is_some();
        let full: Vec<_> = slots.iter().copied().filter(there).collect();
        let Self(shift, at, to) = self;
        if full.is_empty() {
            return;
        }
        let at = at.index(full.len());
        let one = full[at];
        let other = match (shift, to) {
            (Shift::Away, Some(to)) => to.get(&slots),
            (Shift::Away, None) => slots.iter().find(|slot| is_like(**slot, one)).unwrap_or(&one),
            (_, Some(to)) => to.get(&full),
            (_, None) => full.get(at + 1).unwrap_or(&full[0]),
        };
        if one != *other {
            shift.apply((one, *other), plan, sent);
        }
    }
}

/// Whether another slot has the same name.
fn is_like(slot: Slot, one: Slot) -> bool {
    slot != one && slot.name() == one.name()
}

impl Shift {
    fn apply(self, (one, other): (Slot, Slot), plan: &Plan, sent: &mut Sent) {
        let (mut own, others) = (one.get(plan, sent).unwrap_or_default(), other.get(plan, sent));
        let mut theirs = others.clone().unwrap_or_default();
        match self {
            Self::Forth => theirs.splice(..0, own.pop()).for_each(drop),
            Self::Back if theirs.is_empty() => {}
            Self::Back => own.push(theirs.remove(0)),
            Self::Away if others.is_none() => {
                one.set(plan, sent, None);
                other.set(plan, sent, Some(own));
                return;
            }
            Self::Away => {}
            Self::Exchange => std::mem::swap(&mut own, &mut theirs),
        }
        one.set(plan, sent, Some(own));
        other.set(plan, sent, Some(theirs));
    }
}

impl Slot {
    fn of(place: &Place) -> Self {
        match place {
            Place::Header(name) => Self::Header(name),
            Place::Query(name) => Self::Query(name),
            Place::Path(name) => Self::Path(name),
            Place::Cookie(name) => Self::Cookie(name),
            Place::Json(pointer) => Self::Json(pointer),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Header(name) | Self::Query(name) | Self::Cookie(name) | Self::Path(name) => name,
            Self::Json(pointer) => &pointer[1..],
            Self::Certificate | Self::Basic => "",
        }
    }

    fn get(self, plan: &Plan, sent: &Sent) -> Option<Vec<u8>> {
        let text = |text: &str| text.as_bytes().to_vec();
        match self {
            Self::Header(name) => sent.values(name).first().map(|value| value.to_vec()),
            Self::Query(name) => {
                let mut pairs =
                    sent.query.as_ref()?.split('&').filter_map(|one| one.split_once('='));
                pairs.find(|pair| pair.0 == name).map(|pair| text(pair.1))
            }
            Self::Cookie(name) => {
                let lines = sent.values("cookie");
                let mut pairs =
                    lines.iter().filter_map(|line| str::from_utf8(line).ok()?.split_once('='));
                pairs.find(|pair| pair.0 == name).map(|pair| text(pair.1))
            }
            Self::Certificate => sent.certificate.clone(),
            Self::Basic => {
                let line =
                    String::from_utf8(sent.values("authorization").first()?.to_vec()).ok()?;
                let mut user = STANDARD.decode(line.strip_prefix("Basic ")?).ok()?;
                user.pop().is_some_and(|last| last == b':').then_some(user)
            }
            Self::Path(name) => {
                let at = segment(plan, name)?;
                sent.path.split('/').nth(at).map(text)
            }
            Self::Json(pointer) => {
                let mut value = &serde_json::from_slice::<Value>(&sent.body).ok()?;
                for token in tokens(pointer) {
                    value = value.as_object()?.get(&token)?;
                }
                value.as_str().map(text)
            }
        }
    }

    fn set(self, plan: &Plan, sent: &mut Sent, value: Option<Vec<u8>>) {
        let shown = value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        let mut replace = |name: &str, before: &str, value: Option<Vec<u8>>| {
            let is_it = |line: &(String, Vec<u8>)| {
                line.0.eq_ignore_ascii_case(name) && line.1.starts_with(before.as_bytes())
            };
            sent.lines.retain(|line| !is_it(line));
            sent.lines
                .extend(value.map(|value| (name.to_owned(), [before.as_bytes(), &value].concat())));
        };
        match self {
            Self::Header(name) => replace(name, "", value),
            Self::Cookie(name) => replace("cookie", &format!("{name}="), value),
            Self::Basic => {
                let user = value.map(|value| STANDARD.encode([&value[..], b":"].concat()).into());
                replace("authorization", "Basic ", user);
            }
            Self::Query(name) => {
                let before = sent.query.take().unwrap_or_default();
                let others =
                    before.split('&').filter(|pair| !pair.starts_with(&format!("{name}=")));
                let own = shown.map(|value| format!("{name}={value}"));
                let all: Vec<_> = others.map(str::to_owned).chain(own).collect();
                sent.query = Some(all.join("&"));
            }
            Self::Certificate => sent.certificate = value,
            Self::Path(name) => {
                if let (Some(at), Some(value)) = (segment(plan, name), shown) {
                    let mut segments: Vec<_> = sent.path.split('/').map(str::to_owned).collect();
                    segments.resize(segments.len().max(at + 1), "a".to_owned());
                    segments[at] = value;
                    sent.path = segments.join("/");
                }
            }
            Self::Json(pointer) => {
                let value = shown.map(Value::from);
                let mut whole = serde_json::from_slice(&sent.body).unwrap_or_default();
                put(&mut whole, &tokens(pointer), value.unwrap_or_default());
                sent.body = whole.to_string().into_bytes();
            }
        }
    }
}

/// Where a parameter is among the segments of a path, the empty one before the first included.
fn segment(plan: &Plan, name: &str) -> Option<usize> {
    let is_it = |segment: &str| segment.trim_matches(['{', '}', '*']) == name && segment != name;
    plan.path?.split('/').position(is_it)
}

/// Puts a value where a pointer leads; all names are taken for those of members.
pub fn put(whole: &mut Value, pointer: &[String], value: Value) {
    let Some((token, deeper)) = pointer.split_first() else {
        *whole = value;
        return;
    };
    if !whole.is_object() {
        *whole = Value::Object(Map::new());
    }
    put(&mut whole[token], deeper, value);
}
