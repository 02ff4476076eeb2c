//! JSON bodies: a slow and simple reading of the document finds the same values, and leaves the
//! same bytes.

use oncegate::policy::{Ignored, Pointer, key_material, without};
use serde_json::value::RawValue;

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A value of a key: its kind, and what it says.
type Value = (u8, String);

/// Takes the lines before the first empty one as pointers, and what follows it as a document.
pub fn run(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let lines = String::from_utf8_lossy(&data[..end]);
    let body = data.get(end + 2..).unwrap_or_default();
    let pointers: Vec<_> = lines.lines().filter_map(|line| line.parse().ok()).take(16).collect();
    for pointer in &pointers {
        found(pointer, body);
    }
    cut(&pointers, body);
}

fn found(pointer: &Pointer, body: &[u8]) {
    let path = path(pointer);
    let mut expected = Vec::new();
    let is_there = document(body).and_then(|value| values(value, &path, &mut expected));
    let mut material = b"before".to_vec();
    assert_eq!(key_material(pointer, body, &mut material), is_there, "{pointer}");
    let material = material.strip_prefix(b"before").unwrap();
    if is_there.is_none() {
        return assert!(material.is_empty());
    }
    // What can be read back is not written for anything else.
    let is_list = path.iter().any(|token| token == "*");
    assert_eq!(read_back(material, is_list), expected, "{pointer}");
}

fn read_back(mut material: &[u8], is_list: bool) -> Vec<Value> {
    let mut take = |length: usize| material.split_off(..length).unwrap();
    let number = |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().unwrap()));
    let count = match is_list {
        true => {
            assert_eq!(take(1), b"*");
            number(take(8)).unwrap()
        }
        false => 1,
    };
    let mut values = Vec::new();
    for _ in 0..count {
        let kind = take(1)[0];
        let length = number(take(8)).unwrap();
        values.push((kind, String::from_utf8(take(length).to_vec()).unwrap()));
    }
    assert!(material.is_empty());
    values
}

fn cut(pointers: &[Pointer], body: &[u8]) {
    let paths: Vec<_> = pointers.iter().map(path).collect();
    let paths: Vec<_> = paths.iter().map(Vec::as_slice).collect();
    let ignored = Ignored::new(pointers);
    let rest = rest(&ignored, body);
    let Some(expected) = document(body).and_then(|value| edited(value, &paths, None)) else {
        return assert_eq!(rest, body);
    };
    let text = str::from_utf8(body).unwrap();
    let whole = |value: &str| text.replacen(text.trim_matches(SPACE), value, 1).into_bytes();
    assert_eq!(rest.escape_ascii().to_string(), whole(&expected).escape_ascii().to_string());
    assert!(document(&rest).is_some());
    // It does not depend on what is cut.
    for other in ["null", r#""]},\"""#, "{\"a\" : [{}, 1e-9],\"a\":0\n}"] {
        let other = edited(document(body).unwrap(), &paths, Some(other)).unwrap();
        assert_eq!(self::rest(&ignored, &whole(&other)), rest);
    }
    // There is nothing left to cut, unless an element has taken the place of another.
    if !paths.iter().any(|path| path.iter().any(|token| token.parse::<usize>().is_ok())) {
        assert_eq!(self::rest(&ignored, &rest), rest);
    }
}

/// All pieces together; they lie in the body, one after another.
fn rest(ignored: &Ignored, body: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut end = body.as_ptr_range().start;
    without(ignored, body, &mut |piece| {
        let piece_range = piece.as_ptr_range();
        assert!(end <= piece_range.start && piece_range.end <= body.as_ptr_range().end);
        end = piece_range.end;
        rest.extend_from_slice(piece);
    });
    rest
}

/// What the text of a pointer says.
fn path(pointer: &Pointer) -> Vec<String> {
    let text = pointer.to_string();
    text.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

/// The value in a body that is nothing but JSON.
fn document(body: &[u8]) -> Option<&str> {
    let text = str::from_utf8(body).ok()?;
    serde_json::from_str::<&RawValue>(text).ok()?;
    Some(text.trim_matches(SPACE))
}

/// A member or an element, and all the text between the commas around it.
struct Item<'a> {
    lead: &'a str,
    /// The name as a member has it, or the number of an element.
    name: String,
    is_member: bool,
    /// From the name to the value.
    label: &'a str,
    value: &'a str,
    tail: &'a str,
}

impl Item<'_> {
    fn is_meant(&self, token: &str) -> bool {
        self.name == token || (!self.is_member && token == "*")
    }
}

/// What is in an object or an array; none of it if a name is not one, or is there twice.
fn items(container: &str) -> Option<Vec<Item<'_>>> {
    let inner = &container[1..container.len() - 1];
    let mut items: Vec<Item<'_>> = Vec::new();
    if inner.trim_matches(SPACE).is_empty() {
        return Some(items);
    }
    for text in split(inner, ',') {
        let core = text.trim_matches(SPACE);
        let (lead, _) = text.split_once(core).unwrap();
        let tail = &text[lead.len() + core.len()..];
        let is_member = container.starts_with('{');
        let (name, value) = match is_member {
            true => {
                let name = split(core, ':')[0];
                let value = core[name.len() + 1..].trim_start_matches(SPACE);
                (serde_json::from_str(name).ok()?, value)
            }
            false => (items.len().to_string(), core),
        };
        if items.iter().any(|item| item.name == name) {
            return None;
        }
        let label = &core[..core.len() - value.len()];
        items.push(Item { lead, name, is_member, label, value, tail });
    }
    Some(items)
}

/// Splits at the marks that are in no string and in no bracket.
fn split(text: &str, mark: char) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let is_mark = |character: char| {
        if quoted {
            quoted = character != '"' || escaped;
            escaped = character == '\\' && !escaped;
            return false;
        }
        match character {
            '"' => quoted = true,
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        character == mark && depth == 0
    };
    text.split(is_mark).collect()
}

fn values(value: &str, path: &[String], into: &mut Vec<Value>) -> Option<()> {
    let Some((token, deeper)) = path.split_first() else {
        let kind = match value.as_bytes()[0] {
            b'"' => b's',
            b't' | b'f' => b'b',
            b'-' | b'0'..=b'9' => b'n',
            _ => return None,
        };
        let text = if kind == b's' { serde_json::from_str(value).ok()? } else { value.to_owned() };
        into.push((kind, text));
        return into.last().filter(|(_, text)| !text.is_empty()).map(|_| ());
    };
    if !value.starts_with(['{', '[']) {
        return None;
    }
    let mut items = items(value)?;
    items.retain(|item| item.is_meant(token));
    items.iter().try_for_each(|item| values(item.value, deeper, into))?;
    (!items.is_empty()).then_some(())
}

/// The value without all that is at the ends of the paths, or with `instead` there.
fn edited(value: &str, paths: &[&[String]], instead: Option<&str>) -> Option<String> {
    if paths.is_empty() || !value.starts_with(['{', '[']) {
        return Some(value.to_owned());
    }
    let items = items(value)?;
    let Some(last) = items.last() else { return Some(value.to_owned()) };
    let mut text = value[..1].to_owned();
    let mut lead = None;
    let mut tail = None;
    for item in &items {
        let meant = paths.iter().filter(|path| item.is_meant(&path[0]));
        let deeper: Vec<_> = meant.map(|path| &path[1..]).collect();
        lead = lead.or(Some(item.lead));
        let edited = match (deeper.iter().any(|path| path.is_empty()), instead) {
            (true, None) => continue,
            (true, Some(instead)) => instead.to_owned(),
            (false, _) => edited(item.value, &deeper, instead)?,
        };
        let comma = tail.map_or(String::new(), |tail: &str| format!("{tail},"));
        text += &[&comma, lead.take().unwrap_or_default(), item.label, &edited].concat();
        tail = Some(item.tail);
    }
    Some(text + last.tail + &value[value.len() - 1..])
}
