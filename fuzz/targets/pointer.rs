//! JSON Pointers: each leads to what its names say, and the reason for which another text is
//! refused is the true one.

use oncegate::policy::{Pointer, PointerError, key_material};

/// Takes the input as the text of a pointer.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match text.parse::<Pointer>() {
        Ok(pointer) => accepted(&text, &pointer),
        Err(error) => refused(&text, error),
    }
}

fn accepted(text: &str, pointer: &Pointer) {
    assert_eq!(pointer.to_string(), text);
    assert!(text.starts_with('/') && text.len() <= 1024);
    let names: Vec<_> = text[1..].split('/').map(unescaped).collect();
    assert!(names.len() <= 64);
    let is_list = names.iter().any(|name| name == "*");
    // A document in which each name is one of a member, and nothing has another name.
    let objects = nested(&names, |name, value| format!("{{{}:{value}}}", quoted(name)));
    assert_eq!(is_there(pointer, &objects), Some(is_list));
    let other =
        nested(&names, |name, value| format!("{{{}:{value}}}", quoted(&format!("{name}x"))));
    assert_eq!(is_there(pointer, &other), None);
    // And one in which each is the number of an element, as far as it is a small one.
    let index = |name: &str| if name == "*" { Some(0) } else { small(name) };
    let arrays = nested(&names, |name, value| {
        format!("[{}{value}]", "0,".repeat(index(name).unwrap_or_default()))
    });
    let numbered = names.iter().all(|name| index(name).is_some());
    assert_eq!(is_there(pointer, &arrays), numbered.then_some(is_list));
}

/// Whether the pointer leads to the 1 in the document, and does so as a list.
fn is_there(pointer: &Pointer, json: &str) -> Option<bool> {
    let mut material = Vec::new();
    key_material(pointer, json.as_bytes(), &mut material)?;
    let list = [&b"*"[..], &1_u64.to_le_bytes()].concat();
    let value = material.strip_prefix(&list[..]).unwrap_or(&material);
    assert_eq!(value, [&b"n"[..], &1_u64.to_le_bytes(), b"1"].concat());
    Some(value.len() < material.len())
}

fn nested(names: &[String], around: impl Fn(&str, String) -> String) -> String {
    names.iter().rev().fold("1".to_owned(), |value, name| around(name, value))
}

/// The number that is written like this, if it is small.
fn small(name: &str) -> Option<usize> {
    let number: usize = name.parse().ok().filter(|number| *number < 100)?;
    (number.to_string() == name).then_some(number)
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

/// Reads the escapes from left to right.
fn unescaped(token: &str) -> String {
    let mut parts = token.split('~');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |name, part| match part.strip_prefix('0') {
        Some(rest) => name + "~" + rest,
        None => name + "/" + part.strip_prefix('1').unwrap(),
    })
}

fn refused(text: &str, error: PointerError) {
    match error {
        PointerError::Empty => assert!(text.is_empty()),
        PointerError::NoSlash(first) => {
            assert!(first != '/' && text.starts_with(first));
            assert_ne!(format!("/{text}").parse::<Pointer>(), Err(error));
        }
        PointerError::TooLong(length) => assert!(text.len() == length && length > 1024),
        PointerError::TooDeep(count) => {
            assert!(text.matches('/').count() == count && count > 64);
        }
        PointerError::BadEscape(before) => {
            let mut rest = text.chars().skip(before);
            assert_eq!(rest.next(), Some('~'));
            assert!(!matches!(rest.next(), Some('0' | '1')));
            let before: String = text.chars().take(before).collect();
            assert!(before.parse::<Pointer>().is_ok());
        }
    }
}
