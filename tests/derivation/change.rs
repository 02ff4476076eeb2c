//! Small changes to a request, most of which leave nearly all of its bytes where they were: a byte
//! crosses the border between two neighbours, a part turns up as one of another kind.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::generate::{self, METHODS, value_of};
use crate::json::{Document, Item, Json};
use crate::request::{Plan, Sent};
use crate::slots::{self, Move};

#[derive(Clone, Debug)]
pub enum Change {
    Line(LineChange, Index, Index),
    Target(TargetChange, Index),
    Swap(Kind, Kind, Index),
    Body(Vec<BodyChange>),
    Recode(&'static str),
    Certify(Option<Vec<u8>>),
    Shift(Move),
}

#[derive(Clone, Copy, Debug)]
pub enum LineChange {
    /// The last byte of a value goes to the front of the next one.
    ValueToNext,
    /// The first byte of a value goes to the end of its name.
    ValueToName,
    NameToValue,
    /// A value becomes two lines.
    Split,
    /// The last byte of a value becomes the name of a line.
    Bud,
    /// Two lines become one.
    Merge,
    Repeat,
    Remove,
    Swap,
    /// A line takes the name of another.
    Rename,
    Quote,
    Spell,
    Respell,
    Add(&'static str, &'static str),
}

#[derive(Clone, Copy, Debug)]
pub enum TargetChange {
    Method,
    /// The border between the method and the authority moves.
    MethodToAuthority,
    AuthorityToPath,
    PathToQuery,
    QueryToPath,
    /// The border between a name and a value, or two values, moves.
    EqualsSign,
    DropQuery,
    /// The last character of the query becomes the name of a line.
    QueryToLine,
    Slash,
    SpellAuthority,
}

/// Where a named value may stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Header,
    Query,
    Cookie,
    Certificate,
}

/// A change to one value of a JSON text.
#[derive(Clone, Debug)]
pub struct BodyChange(pub Index, pub ValueChange, pub Index);

#[derive(Clone, Debug)]
pub enum ValueChange {
    Replace(String),
    Remove,
    Repeat,
    Swap,
    Rotate,
    /// A number becomes a string, or the other way round.
    Quote,
    /// A character goes from one string to the next.
    Shift,
    /// A string becomes two.
    Split,
    Space(&'static str),
}

/// The names of lines that are added.
const ADDED: [&str; 8] =
    ["k", "l", "x-a", "content-type", "Content-Type", "cookie", "if-match", "via"];

pub fn change() -> impl Strategy<Value = Change> {
    use LineChange::*;
    use TargetChange::*;
    let line = prop_oneof![
        select(vec![ValueToNext, ValueToName, NameToValue, Split, Bud, Merge, Repeat, Remove]),
        select(vec![Swap, Rename, Quote, Spell, Respell]),
        (select(&ADDED[..]), select(vec!["", "a", "b"])).prop_map(|(n, v)| Add(n, v)),
    ];
    let target = vec![
        Method,
        MethodToAuthority,
        AuthorityToPath,
        PathToQuery,
        QueryToPath,
        EqualsSign,
        DropQuery,
        QueryToLine,
        Slash,
        SpellAuthority,
    ];
    let kind = || select(vec![Kind::Header, Kind::Query, Kind::Cookie, Kind::Certificate]);
    let coding = select(vec!["gzip", "deflate", "identity", "br", "none"]);
    let index = any::<Index>;
    prop_oneof![
        6 => slots::shift().prop_map(Change::Shift),
        6 => (line, index(), index()).prop_map(|(one, at, to)| Change::Line(one, at, to)),
        3 => (select(target), index()).prop_map(|(one, at)| Change::Target(one, at)),
        2 => (kind(), kind(), index()).prop_map(|(from, to, at)| Change::Swap(from, to, at)),
        5 => bodies().prop_map(Change::Body),
        1 => coding.prop_map(Change::Recode),
        1 => proptest::option::of(generate::value()).prop_map(Change::Certify),
    ]
}

pub fn bodies() -> impl Strategy<Value = Vec<BodyChange>> {
    use ValueChange::*;
    let change = prop_oneof![
        2 => value_of(1).prop_map(Replace),
        4 => select(vec![Remove, Repeat, Swap, Rotate, Quote, Shift, Split]),
        1 => select(vec![Space(""), Space(" ")]),
    ];
    let one =
        (any::<Index>(), change, any::<Index>()).prop_map(|(at, one, to)| BodyChange(at, one, to));
    proptest::collection::vec(one, 1..4)
}

impl Change {
    /// The changed request; the same where there is nothing to be changed.
    pub fn apply(&self, plan: &Plan, sent: &Sent) -> Sent {
        sent.with(|other| match self {
            Self::Line(change, at, to) => change.apply(&mut other.lines, *at, *to),
            Self::Target(change, at) => change.apply(other, *at).unwrap_or_default(),
            Self::Swap(from, to, at) => swap(other, (*from, *to), *at).unwrap_or_default(),
            Self::Body(changes) => {
                if let Some(changed) = str::from_utf8(&other.body).ok().and_then(Document::read) {
                    other.body = edited(changed, changes).into_bytes();
                }
            }
            Self::Recode(coding) => recode(other, coding),
            Self::Shift(shift) => shift.apply(plan, other),
            Self::Certify(certificate) => other.certificate.clone_from(certificate),
        })
    }
}

impl LineChange {
    fn apply(self, lines: &mut Vec<(String, Vec<u8>)>, at: Index, to: Index) {
        if let Self::Add(name, value) = self {
            lines.insert(at.index(lines.len() + 1), (name.to_owned(), value.into()));
        }
        if lines.is_empty() {
            return;
        }
        let (at, to) = (at.index(lines.len()), to.index(lines.len()));
        let (name, value) = lines[at].clone();
        let middle = value.len() / 2;
        match self {
            Self::ValueToNext => {
                let byte = lines[at].1.pop();
                lines[to].1.splice(0..0, byte);
            }
            Self::ValueToName => {
                let first = value.first().map(|byte| char::from(*byte));
                lines[at] = (name + &first.map(String::from).unwrap_or_default(), value);
                lines[at].1.drain(..first.iter().len());
            }
            Self::NameToValue => {
                let byte = lines[at].0.pop().map(|last| last as u8);
                lines[at].1.splice(0..0, byte);
            }
            Self::Split => {
                lines[at].1.truncate(middle);
                lines.insert(at + 1, (name, value[middle..].to_vec()));
            }
            Self::Bud => {
                if let Some(last) = lines[at].1.pop() {
                    lines.push((char::from(last).to_string(), Vec::new()));
                }
            }
            Self::Merge => {
                let second = lines.remove(to).1;
                if let Some(line) = lines.get_mut(at) {
                    line.1.extend_from_slice(&second);
                }
            }
            Self::Repeat => lines.insert(to, (name, value)),
            Self::Remove => drop(lines.remove(at)),
            Self::Swap => {
                let to = of_same_name(lines, at).unwrap_or(to);
                lines.swap(at, to);
            }
            Self::Rename => {
                let name = lines[to].0.clone();
                lines[at].0 = name;
            }
            Self::Quote => lines[at].1 = [b"\"", &value[..], b"\""].concat(),
            Self::Spell => lines[at].0 = name.to_ascii_uppercase(),
            Self::Respell => lines[at].1 = value.to_ascii_uppercase(),
            Self::Add(..) => {}
        }
    }
}

/// The next line of the same name: their order is part of what they say.
fn of_same_name(lines: &[(String, Vec<u8>)], at: usize) -> Option<usize> {
    let is_same = |index: &usize| lines[*index].0.eq_ignore_ascii_case(&lines[at].0);
    (at + 1..lines.len()).find(is_same)
}

impl TargetChange {
    fn apply(self, sent: &mut Sent, at: Index) -> Option<()> {
        match self {
            Self::Method => METHODS[at.index(METHODS.len())].clone_into(&mut sent.method),
            Self::MethodToAuthority => {
                let last = sent.method.pop()?;
                sent.authority.insert(0, last);
            }
            Self::AuthorityToPath => {
                let last = sent.authority.pop()?;
                sent.path = format!("/{last}{}", sent.path.strip_prefix('/')?);
            }
            Self::PathToQuery => {
                let last = sent.path.pop()?;
                sent.query.get_or_insert_default().insert(0, last);
            }
            Self::QueryToPath => {
                let query = sent.query.as_mut().filter(|query| !query.is_empty())?;
                sent.path.push(query.remove(0));
            }
            Self::EqualsSign => {
                let query = sent.query.as_mut()?;
                let signs: Vec<_> = query.match_indices(['=', '&']).map(|(at, _)| at).collect();
                let sign = *signs.get(at.index(signs.len().max(1)))?;
                let mut bytes: Vec<_> = query.chars().collect();
                let next = (sign + 1).min(bytes.len() - 1);
                bytes.swap(sign, next);
                *query = bytes.into_iter().collect();
            }
            Self::DropQuery => {
                sent.query = sent
                    .query
                    .take()
                    .filter(|query| !query.is_empty())
                    .map_or_else(|| Some(String::new()), |_| None);
            }
            Self::QueryToLine => {
                let last = sent.query.as_mut()?.pop()?;
                sent.lines.push((last.to_string(), Vec::new()));
            }
            Self::Slash => sent.path.push('/'),
            Self::SpellAuthority => {
                sent.authority = format!("{}:80", sent.authority.to_uppercase());
            }
        }
        Some(())
    }
}

/// A named value of one kind becomes one of another.
fn swap(sent: &mut Sent, (from, to): (Kind, Kind), at: Index) -> Option<()> {
    let (name, value) = match from {
        Kind::Header => {
            let index = at.index(sent.lines.len().max(1));
            sent.lines.get(index)?;
            sent.lines.remove(index)
        }
        Kind::Query => {
            let query = sent.query.take()?;
            let mut pairs: Vec<_> = query.split('&').collect();
            let pair = pairs.remove(at.index(pairs.len()));
            sent.query = (!pairs.is_empty()).then(|| pairs.join("&"));
            let (name, value) = pair.split_once('=')?;
            (name.to_owned(), value.into())
        }
        Kind::Cookie => {
            let line = sent.lines.iter_mut().find(|line| line.0 == "cookie")?;
            let text = String::from_utf8(line.1.clone()).ok()?;
            let (pair, rest) = text.split_once(';').unwrap_or((&text, ""));
            let (name, value) = pair.split_once('=')?;
            line.1 = rest.trim_start().into();
            (name.to_owned(), value.into())
        }
        Kind::Certificate => ("k".to_owned(), sent.certificate.take()?),
    };
    let pair = || format!("{name}={}", String::from_utf8_lossy(&value));
    match to {
        Kind::Header => sent.lines.push((name, value)),
        Kind::Query => match &mut sent.query {
            Some(query) => *query = format!("{query}&{}", pair()),
            None => sent.query = Some(pair()),
        },
        Kind::Cookie => sent.lines.push(("cookie".to_owned(), pair().into_bytes())),
        Kind::Certificate => sent.certificate = Some(value),
    }
    Some(())
}

/// The body as it is, in a coding or only said to be in it.
fn recode(sent: &mut Sent, coding: &'static str) {
    let was_coded = !sent.values("content-encoding").is_empty();
    sent.lines.retain(|line| !line.0.eq_ignore_ascii_case("content-encoding"));
    if coding != "none" {
        sent.lines.push(("content-encoding".into(), coding.into()));
    }
    if !was_coded {
        sent.body = generate::pack(coding, &sent.body);
    }
}

/// A text after changes to some of its values.
pub fn edited(mut document: Document, changes: &[BodyChange]) -> String {
    for BodyChange(at, change, to) in changes {
        let at = at.index(document.value.nodes());
        document.value.change(at, &mut |value| change.apply(value, *to));
    }
    document.write()
}

impl ValueChange {
    fn apply(&self, value: &mut Json, to: Index) {
        if let Self::Replace(text) = self {
            *value = Document::read(text).unwrap().value;
        }
        match value {
            Json::Leaf(text) => self.apply_to_leaf(text),
            Json::Array(items, _) | Json::Object(items, _) if !items.is_empty() => {
                self.apply_to_items(items, to);
            }
            Json::Array(_, space) | Json::Object(_, space) => {
                if let Self::Space(wanted) = self {
                    (*wanted).clone_into(space);
                }
            }
        }
    }

    fn apply_to_leaf(&self, text: &mut String) {
        if matches!(self, Self::Quote) {
            *text = match text.trim_matches('"').parse::<f64>() {
                Ok(_) if text.starts_with('"') => text.trim_matches('"').to_owned(),
                _ if text.starts_with('"') => "null".to_owned(),
                _ => format!("\"{text}\""),
            };
        }
    }

    fn apply_to_items(&self, items: &mut Vec<Item>, to: Index) {
        let at = to.index(items.len());
        let next = (at + 1) % items.len();
        let item = items[at].clone();
        let string = |item: &Item| match &item.value {
            Json::Leaf(text) if text.starts_with('"') && !text.contains('\\') => {
                Some(text.trim_matches('"').to_owned())
            }
            Json::Leaf(_) | Json::Array(..) | Json::Object(..) => None,
        };
        let leaf = |text: &str| Json::Leaf(format!("\"{text}\""));
        match self {
            Self::Remove => drop(items.remove(at)),
            Self::Repeat => items.insert(next, item),
            Self::Swap => items.swap(at, next),
            Self::Rotate => items.rotate_left(1),
            Self::Space(space) => (*space).clone_into(&mut items[at].lead),
            Self::Shift => {
                if let (Some(one), Some(other)) = (string(&item), string(&items[next]))
                    && at != next
                    && let Some(last) = one.chars().last()
                {
                    items[at].value = leaf(&one[..one.len() - last.len_utf8()]);
                    items[next].value = leaf(&format!("{last}{other}"));
                }
            }
            Self::Split => {
                if let Some(text) = string(&item).filter(|text| text.is_ascii()) {
                    let (one, other) = text.split_at(text.len() / 2);
                    items[at].value = leaf(one);
                    items.insert(at + 1, Item { value: leaf(other), ..item });
                }
            }
            Self::Replace(_) | Self::Quote => {}
        }
    }
}
