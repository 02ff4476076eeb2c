//! Looks into JSON bodies: for the values that make a key, and for what is not to be compared.
//!
//! What is passed over is left to `serde_json`, which does so without recursion. What pointers lead
//! into is read here, so that every place in the text is known; that goes no deeper than they do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::Pointer;
use super::pointer::{Step, Token};

/// The most names that the objects around a place may have: all are held, to find twins. An object
/// with more is not looked into.
const NAMES_MAX: usize = 1 << 17;

/// The parts of a body that may differ between two attempts at one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ignored {
    /// A tree of all pointers, the root first, so that those that begin alike are followed as one.
    places: Vec<Place>,
}

/// Where some pointers lead; the numbers are those of other places.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Place {
    /// One of the pointers ends here.
    ignored: bool,
    members: BTreeMap<Box<str>, usize>,
    elements: BTreeMap<usize, usize>,
    every: Option<usize>,
}

/// Appends the values that a pointer names to what a key is made of, or nothing if one of them is
/// not there.
///
/// A value is there if it is a string with at least one character, a number, `true` or `false`;
/// it is written with its kind and its length, so that no two lists of values are written alike.
/// Strings are compared as what they mean, and numbers as they are spelled. A body that is not
/// JSON has no values, nor has one in which an object on the way to them has two members of one
/// name: servers differ in which of the two they take.
pub fn key_material(pointer: &Pointer, json: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let start = into.len();
    let found = Values { into, count: 0 }.write(pointer, json);
    if found.is_none() {
        into.truncate(start);
    }
    found
}

/// Gives `sink` the pieces of a body that remain without what is ignored, each as it was sent.
///
/// A member goes with its name and with the comma that it no longer needs: what remains is JSON,
/// and is the same wherever among the others the member was, or if it was not there, as long as
/// all are spaced alike. It never depends on the values that are ignored.
///
/// All of the body remains if it is not JSON, or if pointers lead into an object in which a name
/// is there twice or means nothing, having half of a surrogate pair.
pub fn without(ignored: &Ignored, json: &[u8], sink: &mut dyn FnMut(&[u8])) {
    let mut kept = 0;
    for cut in ignored.find(json).unwrap_or_default() {
        sink(&json[kept..cut.start]);
        kept = cut.end;
    }
    sink(&json[kept..]);
}

impl Default for Ignored {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Ignored {
    /// All that the pointers name; two are equal if they are made of the same ones, however these
    /// are listed.
    pub fn new(pointers: &[Pointer]) -> Self {
        let mut ignored = Self { places: vec![Place::default()] };
        // What begins as others do stands after them.
        for pointer in pointers.iter().collect::<BTreeSet<_>>() {
            let end = pointer.tokens().iter().try_fold(0, |place, token| {
                let is_gone = ignored.places[place].ignored;
                (!is_gone).then(|| ignored.add(place, token))
            });
            if let Some(end) = end {
                ignored.places[end].ignored = true;
            }
        }
        ignored
    }

    /// Whether everything counts.
    pub fn is_empty(&self) -> bool {
        self.places.len() == 1
    }

    /// The place to which a token leads from another.
    fn add(&mut self, from: usize, token: &Token) -> usize {
        let new = self.places.len();
        let from = &mut self.places[from];
        let to = *from.members.entry(token.as_str().into()).or_insert(new);
        if let Some(index) = token.index() {
            from.elements.insert(index, to);
        }
        if token.is_every() {
            from.every = Some(to);
        }
        if to == new {
            self.places.push(Place::default());
        }
        to
    }

    /// Where what is ignored stands, from the first to the last.
    fn find(&self, json: &[u8]) -> Option<Vec<Range<usize>>> {
        if self.is_empty() {
            return None;
        }
        let mut cutter = Cutter { ignored: self, places: vec![0], cuts: Vec::new() };
        Cursor::read_whole(json, |cursor| cutter.read(cursor, 0))?;
        Some(cutter.cuts)
    }
}

/// Writes the values of one pointer.
struct Values<'v> {
    into: &'v mut Vec<u8>,
    count: u64,
}

impl Values<'_> {
    fn write(&mut self, pointer: &Pointer, json: &[u8]) -> Option<()> {
        if !pointer.is_list() {
            return Cursor::read_whole(json, |cursor| self.read(cursor, pointer.tokens()));
        }
        self.into.push(b'*');
        let count = self.into.len()..self.into.len() + size_of::<u64>();
        self.into.extend_from_slice(&[0; size_of::<u64>()]);
        Cursor::read_whole(json, |cursor| self.read(cursor, pointer.tokens()))?;
        self.into[count].copy_from_slice(&self.count.to_le_bytes());
        Some(())
    }

    /// Reads a value from which these tokens lead on.
    fn read(&mut self, cursor: &mut Cursor<'_>, tokens: &[Token]) -> Option<()> {
        let Some((token, deeper)) = tokens.split_first() else {
            return self.value(cursor.skip()?);
        };
        let mut found = false;
        cursor.enter(|cursor, _, step| {
            if !token.leads(step) {
                return cursor.skip().map(drop);
            }
            found = true;
            self.read(cursor, deeper)
        })?;
        found.then_some(())
    }

    fn value(&mut self, value: &str) -> Option<()> {
        let (kind, text) = match value.bytes().next()? {
            b'"' => (b's', string(value)?),
            b't' | b'f' => (b'b', value.into()),
            b'-' | b'0'..=b'9' => (b'n', value.into()),
            _ => return None,
        };
        if text.is_empty() {
            return None;
        }
        self.into.push(kind);
        self.into.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.into.extend_from_slice(text.as_bytes());
        self.count += 1;
        Some(())
    }
}

/// Finds what is to be cut out of a body.
struct Cutter<'i> {
    ignored: &'i Ignored,
    /// The places of the values that are being read, the innermost last. One value can have
    /// several: `/*/a` and `/0/b` both lead into the first element.
    places: Vec<usize>,
    cuts: Vec<Range<usize>>,
}

impl Cutter<'_> {
    /// Reads a value, whose own places are those from `first` on.
    ///
    /// Of several neighbours that are cut, the first one's start and the last one's end count: the
    /// cut goes up to the next one that is kept, or else it begins behind the last one that was.
    fn read(&mut self, cursor: &mut Cursor<'_>, first: usize) -> Option<()> {
        let own = first..self.places.len();
        if own.is_empty() {
            return cursor.skip().map(drop);
        }
        // The bracket counts as kept.
        let mut kept = cursor.at + 1;
        let mut cut: Option<Range<usize>> = None;
        cursor.enter(|cursor, start, step| {
            if self.follow(own.clone(), step) {
                cursor.skip()?;
                let start = cut.as_ref().map_or(start, |cut| cut.start);
                cut = Some(start..cursor.at);
            } else {
                self.cuts.extend(cut.take().map(|cut| cut.start..start));
                self.read(cursor, own.end)?;
                kept = cursor.at;
            }
            self.places.truncate(own.end);
            Some(())
        })?;
        self.cuts.extend(cut.map(|cut| kept..cut.end));
        Some(())
    }

    /// Adds the places to which a step leads; true if one of them is ignored.
    fn follow(&mut self, own: Range<usize>, step: Step<'_>) -> bool {
        let mut ignored = false;
        for index in own {
            let place = &self.ignored.places[self.places[index]];
            let next = match step {
                Step::Member(name) => [place.members.get(name).copied(), None],
                Step::Element(index) => [place.elements.get(&index).copied(), place.every],
            };
            for next in next.into_iter().flatten() {
                ignored |= self.ignored.places[next].ignored;
                self.places.push(next);
            }
        }
        ignored
    }
}

/// A place in a JSON text, which has been found to be in order up to there.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// The names that the objects around the place have had so far.
    names: Vec<Cow<'a, str>>,
}

impl<'a> Cursor<'a> {
    /// Reads a text that holds one value and nothing else.
    fn read_whole(json: &'a [u8], read: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let text = str::from_utf8(json).ok()?;
        let mut cursor = Self { text, at: 0, names: Vec::with_capacity(32) };
        cursor.space();
        read(&mut cursor)?;
        cursor.space();
        (cursor.at == text.len()).then_some(())
    }

    /// Has `read` read every value inside the one here, being told where that, or its name,
    /// starts; a value that has none inside is passed over.
    fn enter(&mut self, read: impl FnMut(&mut Self, usize, Step<'_>) -> Option<()>) -> Option<()> {
        match self.peek() {
            Some(b'{') => self.members(read),
            Some(b'[') => self.elements(read),
            _ => self.skip().map(drop),
        }
    }

    fn members(
        &mut self,
        mut read: impl FnMut(&mut Self, usize, Step<'_>) -> Option<()>,
    ) -> Option<()> {
        let outer = self.names.len();
        let mut more = self.open(b'}');
        while more {
            let start = self.at;
            let name = string(self.skip()?)?;
            self.colon()?;
            read(self, start, Step::Member(&name))?;
            self.names.push(name);
            if self.names.len() > NAMES_MAX {
                return None;
            }
            more = self.next(b'}')?;
        }
        self.names[outer..].sort_unstable();
        let distinct = self.names[outer..].is_sorted_by(|one, other| one < other);
        self.names.truncate(outer);
        distinct.then_some(())
    }

    fn elements(
        &mut self,
        mut read: impl FnMut(&mut Self, usize, Step<'_>) -> Option<()>,
    ) -> Option<()> {
        let mut more = self.open(b']');
        let mut index = 0;
        while more {
            read(self, self.at, Step::Element(index))?;
            index += 1;
            more = self.next(b']')?;
        }
        Some(())
    }

    /// Passes over the value here, and gives back its text.
    fn skip(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let value = Deserializer::from_str(rest).into_iter::<&RawValue>().next()?.ok()?.get();
        self.at += value.len();
        Some(value)
    }

    fn colon(&mut self) -> Option<()> {
        self.space();
        (self.peek()? == b':').then(|| self.step())
    }

    /// Passes over an opening bracket; true if the closing one does not follow at once.
    fn open(&mut self, close: u8) -> bool {
        self.step();
        let empty = self.peek() == Some(close);
        self.at += usize::from(empty);
        !empty
    }

    /// Passes over a comma, which is true, or the closing bracket.
    fn next(&mut self, close: u8) -> Option<bool> {
        self.space();
        match self.peek()? {
            b',' => {
                self.step();
                Some(true)
            }
            byte => (byte == close).then(|| {
                self.at += 1;
                false
            }),
        }
    }

    /// Passes over a byte, and over the space after it.
    fn step(&mut self) {
        self.at += 1;
        self.space();
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// What a value means if it is a string; half of a surrogate pair means nothing.
fn string(text: &str) -> Option<Cow<'_, str>> {
    let plain = text.strip_prefix('"')?.strip_suffix('"')?;
    match plain.contains('\\') {
        false => Some(plain.into()),
        true => serde_json::from_str::<String>(text).ok().map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn material(pointer: &str, json: &str) -> Option<Vec<u8>> {
        let mut into = b"before".to_vec();
        let found = key_material(&pointer.parse().unwrap(), json.as_bytes(), &mut into);
        let added = into.strip_prefix(b"before").unwrap().to_vec();
        assert!(found.is_some() || added.is_empty());
        found.map(|()| added)
    }

    fn written(kind: u8, text: &str) -> Vec<u8> {
        [&[kind][..], &(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn listed(values: &[Vec<u8>]) -> Vec<u8> {
        [&[b'*'][..], &(values.len() as u64).to_le_bytes(), &values.concat()].concat()
    }

    fn rest(ignored: &[&str], json: &str) -> String {
        let mut rest = Vec::new();
        let ignored = Ignored::new(&pointers(ignored));
        without(&ignored, json.as_bytes(), &mut |piece| rest.extend_from_slice(piece));
        String::from_utf8(rest).unwrap()
    }

    #[test]
    fn values_are_found_and_written_with_their_kind() {
        let cases = [
            ("/id", r#"{"id":"a"}"#, written(b's', "a")),
            ("/id", " {\r\n\t\"x\" : [ { } ] , \"id\" : \"a\" } ", written(b's', "a")),
            ("/id", r#"{"\u0069d":"\u0061"}"#, written(b's', "a")),
            ("/id", r#"{"id":"\ud83d\ude00"}"#, written(b's', "\u{1f600}")),
            ("/id", r#"{"id":"1"}"#, written(b's', "1")),
            ("/id", r#"{"id":1}"#, written(b'n', "1")),
            ("/id", r#"{"id":-1.0}"#, written(b'n', "-1.0")),
            ("/id", r#"{"id":1e999}"#, written(b'n', "1e999")),
            ("/id", r#"{"id":9007199254740993}"#, written(b'n', "9007199254740993")),
            ("/id", r#"{"id":true}"#, written(b'b', "true")),
            ("/id", r#"{"id":false}"#, written(b'b', "false")),
            ("/a/b~1c/m~0n", r#"{"a":{"b/c":{"m~n":1}}}"#, written(b'n', "1")),
            ("/", r#"{"":1}"#, written(b'n', "1")),
            ("/0/1", r#"{"0":[1,2]}"#, written(b'n', "2")),
            ("/10", "[0,1,2,3,4,5,6,7,8,9,10]", written(b'n', "10")),
            ("/*", "[1]", listed(&[written(b'n', "1")])),
            ("/*", r#"{"*":1}"#, listed(&[written(b'n', "1")])),
            ("/*/*", "[[1,2],[3]]", listed(&["1", "2", "3"].map(|text| written(b'n', text)))),
            (
                "/batch/*/id",
                r#"{"batch":[{"id":"a","x":null},{"x":[],"id":"b"}]}"#,
                listed(&[written(b's', "a"), written(b's', "b")]),
            ),
            // Other objects may have what they like.
            ("/id", r#"{"x":{"y":1,"y":2},"id":1}"#, written(b'n', "1")),
            ("/id", r#"{"x":"\ud800","id":1}"#, written(b'n', "1")),
        ];
        for (pointer, json, expected) in cases {
            assert_eq!(material(pointer, json), Some(expected), "{pointer} in {json}");
        }
    }

    #[test]
    fn what_is_not_there_adds_nothing() {
        let cases = [
            ("/id", ""),
            ("/id", "id=1"),
            ("/id", "\u{feff}{\"id\":1}"),
            ("/id", r#"{"id":1}}"#),
            ("/id", r#"{"id":1}{"id":1}"#),
            ("/id", r#"{"id":1,"x":01}"#),
            ("/id", r#"{"id":1,}"#),
            ("/id", r#"{"id":1,"x"}"#),
            ("/id", r#"{"id":1 "x":2}"#),
            ("/id", r#"{"id":1"#),
            ("/id", r#"{"id":1]"#),
            ("/id", r#"{"id"}"#),
            ("/id", r#"{"id",1}"#),
            ("/id", r#"{"id" 1}"#),
            ("/id", r#"{"id":1,2:3}"#),
            ("/id", r#"{"id":"a}"#),
            ("/id", "{'id':1}"),
            ("/id", "{id:1}"),
            ("/id", "[]"),
            ("/id", "1"),
            ("/id", r#"{"ID":1}"#),
            ("/id", r#"{"id":null}"#),
            ("/id", r#"{"id":""}"#),
            ("/id", r#"{"id":{}}"#),
            ("/id", r#"{"id":[1]}"#),
            ("/id", r#"{"id":"\ud800"}"#),
            ("/id/x", r#"{"id":1}"#),
            ("/id", r#"{"id":1,"id":1}"#),
            ("/id", r#"{"id":1,"\u0069d":1}"#),
            ("/id", r#"{"id":1,"x":1,"x":2}"#),
            ("/id", r#"{"id":1,"\udc00":1}"#),
            ("/a/id", r#"{"a":{"id":1},"x":1,"x":2}"#),
            ("/*/id", "[]"),
            ("/*/id", r#"[{"id":1},{}]"#),
            ("/*/id", r#"[{"id":1},{"id":null}]"#),
            ("/*/id", r#"[{"id":1},{"id":2,"x":1,"x":2}]"#),
            ("/*/id", r#"[{"id":1},[]]"#),
            ("/*/*", "[[1],[]]"),
            ("/2", "[0,1]"),
            ("/-", "[0,1]"),
            ("/01", "[0,1]"),
            ("/*", r#"{"a":1}"#),
        ];
        for (pointer, json) in cases {
            assert_eq!(material(pointer, json), None, "{pointer} in {json}");
        }
        let mut into = Vec::new();
        assert_eq!(key_material(&"/id".parse().unwrap(), b"{\"id\":\"\xff\"}", &mut into), None);
    }

    #[test]
    fn members_go_with_their_commas_wherever_they_stand() {
        let cases = [
            (r#"{"a":1,"t":2}"#, r#"{"a":1}"#),
            (r#"{"t":2,"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":1,"t":2,"b":3}"#, r#"{"a":1,"b":3}"#),
            (r#"{"u":[{}],"a":1,"u\u0020":0,"b":3,"t":"x"}"#, r#"{"a":1,"u\u0020":0,"b":3}"#),
            (r#"{"t":1,"u":2,"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":1,"t":1,"u":2}"#, r#"{"a":1}"#),
            (r#"{"t":1,"u":2}"#, "{}"),
            (r#"{"\u0074":1}"#, "{}"),
            ("{\n  \"a\": 1,\n  \"t\": 2\n}\n", "{\n  \"a\": 1\n}\n"),
            ("{\n  \"t\": 2,\n  \"a\": 1\n}\n", "{\n  \"a\": 1\n}\n"),
            ("{\n  \"t\": 2\n}\n", "{\n}\n"),
            (" { \"a\" : 1e0 , \"t\" : 2 , \"b\" : -0 } ", " { \"a\" : 1e0 , \"b\" : -0 } "),
            (r#"{"T":1,"t ":2,"x":{"t":3}}"#, r#"{"T":1,"t ":2,"x":{"t":3}}"#),
            ("{}", "{}"),
            ("[{\"t\":1}]", "[{\"t\":1}]"),
        ];
        for (json, expected) in cases {
            assert_eq!(rest(&["/t", "/u"], json), expected, "{json}");
        }
    }

    #[test]
    fn pointers_are_followed_into_arrays_and_through_one_another() {
        let cases: [(&[&str], &str, &str); 12] = [
            (&["/*"], "[1, 2]", "[]"),
            (&["/0"], "[1, 2,3]", "[2,3]"),
            (&["/1"], "[1, 2,3]", "[1, 3]"),
            (&["/2"], "[1, 2,3 ]", "[1, 2 ]"),
            (&["/0", "/2"], "[ 1, 2, 3 ]", "[ 2 ]"),
            (&["/3", "/-", "/00"], "[1,2,3]", "[1,2,3]"),
            (&["/*"], r#"{"*":1,"a":2}"#, r#"{"a":2}"#),
            (&["/0"], r#"{"0":1,"00":2}"#, r#"{"00":2}"#),
            (&["/a", "/a/b"], r#"{"a":{"b":1},"c":2}"#, r#"{"c":2}"#),
            (&["/a/b", "/a"], r#"{"a":{"b":1,"b":2},"c":2}"#, r#"{"c":2}"#),
            (
                &["/t", "/batch/*/t", "/batch/*/c/t"],
                r#"{"batch":[{"t":1,"id":1},{"id":2,"c":{"t":1}},3],"t":1}"#,
                r#"{"batch":[{"id":1},{"id":2,"c":{}},3]}"#,
            ),
            (
                &["/*/a", "/1/b", "/2"],
                r#"[{"a":1,"b":2},{"a":1,"b":2,"c":3},{"c":3}]"#,
                r#"[{"b":2},{"c":3}]"#,
            ),
        ];
        for (ignored, json, expected) in cases {
            assert_eq!(rest(ignored, json), expected, "{ignored:?} in {json}");
        }
    }

    #[test]
    fn a_body_that_could_be_read_in_two_ways_remains_whole() {
        let cases = [
            "",
            "t=1",
            r#"{"t":1}}"#,
            r#"{"t":1} {}"#,
            r#"{"t":1,}"#,
            r#"{"t":1,"a":[}"#,
            r#"{"t":1,"a":.5}"#,
            r#"{"t":1,"a":"\x"}"#,
            "{\"t\":1,\"a\":\"\n\"}",
            "\u{feff}{\"t\":1}",
            r#"{"t":1,"t":2}"#,
            r#"{"t":1,"\u0074":2}"#,
            r#"{"t":1,"a":2,"a":3}"#,
            r#"{"t":1,"u":{"a":2,"a":3}}"#,
            r#"{"t":1,"\ud800":2}"#,
        ];
        for json in cases {
            assert_eq!(rest(&["/t", "/u/v"], json), json);
        }
        let mut rest = Vec::new();
        let ignored = Ignored::new(&pointers(&["/t"]));
        without(&ignored, b"{\"t\":\"\xff\"}", &mut |piece| rest.extend_from_slice(piece));
        assert_eq!(rest, b"{\"t\":\"\xff\"}");
    }

    #[test]
    fn values_that_are_not_entered_may_be_anything() {
        for value in [r#"{"x":1,"x":2}"#, r#""\ud800""#, "1e999", "0.10", "[[],[{}]]"] {
            let json = format!(r#"{{"t":{value},"a":{value}}}"#);
            assert_eq!(rest(&["/t", "/b/c"], &json), format!(r#"{{"a":{value}}}"#));
        }
        assert_eq!(rest(&["/t", "/a/b"], r#"{"t":1,"a":1e999}"#), r#"{"a":1e999}"#);
    }

    #[test]
    fn depth_and_length_make_no_difference() {
        let brackets = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deep = brackets(1 << 20);
        let json = format!(r#"{{"t":{deep},"id":1}}"#);
        assert_eq!(rest(&["/t"], &json), r#"{"id":1}"#);
        assert_eq!(material("/id", &json), Some(written(b'n', "1")));
        let open = &json[..json.len() - 9];
        assert!(rest(&["/t"], open) == open);
        assert_eq!(rest(&[&"/*".repeat(64)], &deep), brackets(64));
        let nested = format!("{}1{}", r#"{"a":"#.repeat(64), "}".repeat(64));
        assert_eq!(rest(&[&"/a".repeat(64)], &nested), nested.replace(r#""a":1"#, ""));
        assert_eq!(material(&"/a".repeat(64), &nested), Some(written(b'n', "1")));
        let members: Vec<_> = (0..1 << 14).map(|name| format!(r#""{name}":{{"t":1}}"#)).collect();
        let json = format!("{{{}}}", members.join(","));
        let cut = json.replace(r#""77":{"t":1}"#, r#""77":{}"#);
        assert!(cut != json && rest(&["/77/t", "/t"], &json) == cut);
        let twice = json.replace(r#""78":"#, r#""77":"#);
        assert!(rest(&["/77/t", "/t"], &twice) == twice);
    }

    #[test]
    fn nothing_ignored_is_nothing_looked_for() {
        assert!(Ignored::new(&[]).is_empty());
        assert!(!Ignored::new(&pointers(&["/t"])).is_empty());
        assert_eq!(rest(&[], r#"{"t":1}"#), r#"{"t":1}"#);
        let same = |one: &[&str], other: &[&str]| {
            assert_eq!(Ignored::new(&pointers(one)), Ignored::new(&pointers(other)));
        };
        same(&["/t", "/t"], &["/t"]);
        same(&["/t", "/a/*/b", "/a/0"], &["/a/0", "/t", "/a/*/b"]);
        same(&["/t/a", "/t", "/t/a/b"], &["/t"]);
        assert_ne!(Ignored::new(&pointers(&["/t/a"])), Ignored::new(&pointers(&["/t"])));
    }
}
