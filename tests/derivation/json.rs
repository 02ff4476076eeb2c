//! JSON texts, read naively: into a tree that keeps every character, so that parts of it can be
//! left out, taken out and changed.

use serde_json::value::RawValue;

/// A whole text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Document {
    pub lead: String,
    pub value: Json,
    pub trail: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Json {
    /// A string, a number or a word, as it is spelled.
    Leaf(String),
    /// The items, and the space where there are none.
    Array(Vec<Item>, String),
    Object(Vec<Item>, String),
}

/// A value in an array or an object, with the space around it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    pub lead: String,
    /// Its name as it is spelled and all that follows up to the value, if it is a member.
    pub name: Option<(String, String)>,
    pub value: Json,
    pub trail: String,
}

/// A value that can be a key: its kind, and what it means (a string) or how it is spelled.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Scalar(pub char, pub String);

/// The names of a pointer.
pub type Tokens = Vec<String>;

pub fn tokens(pointer: &str) -> Tokens {
    pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
}

/// The items of an array or an object whose own names and numbers are known, unless an object has
/// a name twice or one that means nothing.
fn steps(items: &[Item]) -> Option<Vec<(Option<String>, usize)>> {
    let mut steps: Vec<(Option<String>, usize)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let name = match &item.name {
            Some((name, _)) => Some(serde_json::from_str::<String>(name).ok()?),
            None => None,
        };
        if name.is_some() && steps.iter().any(|(other, _)| *other == name) {
            return None;
        }
        steps.push((name, index));
    }
    Some(steps)
}

fn leads(token: &str, (name, index): &(Option<String>, usize)) -> bool {
    match name {
        Some(name) => name == token,
        None => token == "*" || index.to_string() == token,
    }
}

impl Document {
    pub fn read(text: &str) -> Option<Self> {
        let mut reader = Reader { left: text };
        let lead = reader.space();
        let value = reader.value()?;
        let trail = reader.space();
        reader.left.is_empty().then_some(Self { lead, value, trail })
    }

    pub fn write(&self) -> String {
        format!("{}{}{}", self.lead, self.value.write(), self.trail)
    }

    /// What is left of a text without what the pointers name; nothing if that is not clear.
    fn without(&self, pointers: &[Tokens]) -> Option<String> {
        Some(format!("{}{}{}", self.lead, self.value.without(pointers)?, self.trail))
    }

    /// The values that a pointer names, if all are there and can be a key.
    fn values(&self, pointer: &[String]) -> Option<Vec<Scalar>> {
        let mut values = Vec::new();
        self.value.values(pointer, &mut values)?;
        Some(values)
    }
}

/// What counts of a body when these pointers are ignored.
pub fn without(body: &[u8], pointers: &[Tokens]) -> Vec<u8> {
    let left = || Document::read(str::from_utf8(body).ok()?)?.without(pointers);
    match pointers.is_empty() {
        true => body.into(),
        false => left().map_or(body.into(), String::into_bytes),
    }
}

/// The values that a pointer names in a body.
pub fn values(body: &[u8], pointer: &[String]) -> Option<Vec<Scalar>> {
    Document::read(str::from_utf8(body).ok()?)?.values(pointer)
}

impl Json {
    pub fn write(&self) -> String {
        match self {
            Self::Leaf(text) => text.clone(),
            Self::Array(items, space) => {
                format!("[{}{space}]", join(items.iter().map(Item::write)))
            }
            Self::Object(items, space) => {
                format!("{{{}{space}}}", join(items.iter().map(Item::write)))
            }
        }
    }

    fn without(&self, pointers: &[Tokens]) -> Option<String> {
        let (open, items, space, close) = match self {
            Self::Leaf(_) => return Some(self.write()),
            _ if pointers.is_empty() => return Some(self.write()),
            Self::Array(items, space) => ('[', items, space, ']'),
            Self::Object(items, space) => ('{', items, space, '}'),
        };
        let mut kept = Vec::new();
        // The space before a value belongs to the place where it stands, which is the one after
        // the last value that was kept; and so does the space after the last value of all.
        let (mut lead, mut trail) = (items.first().map(|item| &item.lead), "");
        for (index, step) in steps(items)?.iter().enumerate() {
            let next: Vec<_> = pointers
                .iter()
                .filter(|pointer| leads(&pointer[0], step))
                .map(|pointer| pointer[1..].to_vec())
                .collect();
            let item = &items[index];
            trail = &item.trail;
            if next.iter().any(Vec::is_empty) {
                continue;
            }
            let value = item.value.without(&next)?;
            kept.push((lead.cloned().unwrap_or_default(), item.named(&value), &item.trail));
            lead = items.get(index + 1).map(|item| &item.lead);
        }
        let last = kept.len().wrapping_sub(1);
        let kept = kept.into_iter().enumerate().map(|(index, (lead, text, own))| {
            format!("{lead}{text}{}", if index == last { "" } else { own })
        });
        Some(format!("{open}{}{trail}{space}{close}", join(kept)))
    }

    fn values(&self, pointer: &[String], into: &mut Vec<Scalar>) -> Option<()> {
        let Some((token, deeper)) = pointer.split_first() else {
            into.push(self.scalar()?);
            return Some(());
        };
        let (Self::Array(items, _) | Self::Object(items, _)) = self else { return None };
        let steps = steps(items)?;
        let mut led = items.iter().zip(&steps).filter(|(_, step)| leads(token, step)).peekable();
        led.peek()?;
        led.try_for_each(|(item, _)| item.value.values(deeper, into))
    }

    fn scalar(&self) -> Option<Scalar> {
        let Self::Leaf(text) = self else { return None };
        let (kind, value) = match text.as_bytes()[0] {
            b'"' => ('s', serde_json::from_str(text).ok()?),
            b't' | b'f' => ('b', text.clone()),
            b'n' => return None,
            _ => ('n', text.clone()),
        };
        (!value.is_empty()).then_some(Scalar(kind, value))
    }

    /// Every value, the outer before the inner ones.
    pub fn nodes(&mut self) -> usize {
        let mut count = 0;
        self.at(usize::MAX, &mut count, &mut |_| ());
        count
    }

    /// Changes the value with this many others before it.
    pub fn change(&mut self, index: usize, change: &mut dyn FnMut(&mut Self)) {
        self.at(index, &mut 0, change);
    }

    fn at(&mut self, index: usize, count: &mut usize, change: &mut dyn FnMut(&mut Self)) {
        *count += 1;
        if *count == index.wrapping_add(1) {
            return change(self);
        }
        if let Self::Array(items, _) | Self::Object(items, _) = self {
            for item in items {
                item.value.at(index, count, change);
            }
        }
    }
}

impl Item {
    fn named(&self, value: &str) -> String {
        match &self.name {
            Some((name, colon)) => format!("{name}{colon}{value}"),
            None => value.to_owned(),
        }
    }

    fn write(&self) -> String {
        format!("{}{}{}", self.lead, self.named(&self.value.write()), self.trail)
    }
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

struct Reader<'a> {
    left: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) -> String {
        let rest = self.left.trim_start_matches([' ', '\t', '\n', '\r']);
        self.take(self.left.len() - rest.len())
    }

    fn take(&mut self, length: usize) -> String {
        let (taken, left) = self.left.split_at(length);
        self.left = left;
        taken.to_owned()
    }

    fn is_at(&mut self, wanted: char) -> bool {
        let found = self.left.starts_with(wanted);
        if found {
            self.take(1);
        }
        found
    }

    fn value(&mut self) -> Option<Json> {
        match () {
            () if self.is_at('[') => {
                let (items, space) = self.items(']', false)?;
                Some(Json::Array(items, space))
            }
            () if self.is_at('{') => {
                let (items, space) = self.items('}', true)?;
                Some(Json::Object(items, space))
            }
            () => self.leaf().map(Json::Leaf),
        }
    }

    fn items(&mut self, close: char, named: bool) -> Option<(Vec<Item>, String)> {
        let mut lead = self.space();
        if self.is_at(close) {
            return Some((Vec::new(), lead));
        }
        let mut items = Vec::new();
        loop {
            let name = if named { Some(self.name()?) } else { None };
            let value = self.value()?;
            items.push(Item { lead, name, value, trail: self.space() });
            if self.is_at(close) {
                return Some((items, String::new()));
            }
            if !self.is_at(',') {
                return None;
            }
            lead = self.space();
        }
    }

    fn name(&mut self) -> Option<(String, String)> {
        let name = self.leaf().filter(|name| name.starts_with('"'))?;
        let before = self.space();
        if !self.is_at(':') {
            return None;
        }
        Some((name, format!("{before}:{}", self.space())))
    }

    fn leaf(&mut self) -> Option<String> {
        let mut escaped = true;
        let end = match self.left.starts_with('"') {
            true => self.left.find(|found| {
                let ends = found == '"' && !escaped;
                escaped = found == '\\' && !escaped;
                ends
            })?,
            false => {
                let after = |found: char| !(found.is_ascii_alphanumeric() || "+-.".contains(found));
                self.left.find(after).unwrap_or(self.left.len()).checked_sub(1)?
            }
        };
        let text = self.take(end + 1);
        serde_json::from_str::<&RawValue>(&text).is_ok().then_some(text)
    }
}
