//! What stands in the header `tracestate` (W3C Trace Context): it goes on as it came, or not at
//! all.

use std::sync::Arc;

use http::HeaderMap;

use super::context::TRACESTATE;

/// The most members that the list may have.
const MEMBERS_MAX: usize = 32;

/// The longest key, and the longest value of a member.
const LENGTH_MAX: usize = 256;

/// What the lines say together; nothing if there are none, or they are not a valid list.
pub(super) fn of(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut joined = String::new();
    for line in headers.get_all(TRACESTATE) {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(line.to_str().ok()?);
    }
    is_valid(&joined).then(|| joined.into())
}

/// Whether a text is a list of members, each of which has another key.
fn is_valid(list: &str) -> bool {
    let mut keys = Vec::new();
    for member in list.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        if member.is_empty() {
            continue;
        }
        let Some((key, value)) = member.split_once('=') else { return false };
        if !(is_key(key) && is_value(value)) || keys.contains(&key) || keys.len() == MEMBERS_MAX {
            return false;
        }
        keys.push(key);
    }
    !keys.is_empty()
}

fn is_key(key: &str) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_next = |byte: &u8| is_first(byte) || b"_-*/@".contains(byte);
    let bytes = key.as_bytes();
    bytes.first().is_some_and(is_first) && bytes.len() <= LENGTH_MAX && bytes.iter().all(is_next)
}

fn is_value(value: &str) -> bool {
    let is_part = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    (1..=LENGTH_MAX).contains(&value.len()) && value.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_members_are_valid() {
        let many: Vec<_> = (0..MEMBERS_MAX).map(|index| format!("k{index}=1")).collect();
        let longest = format!("{}={}", "k".repeat(LENGTH_MAX), "v".repeat(LENGTH_MAX));
        for list in [
            "congo=t61rcWkgMzE",
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "a=1 ,\tb=2,, c=3 ,",
            "0tenant@system=!\"#$%&'()*+-./:;<>?@[]^_`{|}~ x",
            "a_-*/=1",
            &many.join(","),
            &longest,
        ] {
            assert!(is_valid(list), "{list:?}");
        }
    }

    #[test]
    fn other_texts_are_not() {
        let many: Vec<_> = (0..=MEMBERS_MAX).map(|index| format!("k{index}=1")).collect();
        for list in [
            "",
            " ",
            ",",
            "a",
            "a=",
            "=1",
            "A=1",
            "a=1,a=2",
            "a=b=c",
            "a =1",
            "a=1;b=2, c",
            "_a=1",
            "a.b=1",
            "a=\u{1}",
            "a=é",
            &many.join(","),
            &format!("{}=1", "k".repeat(LENGTH_MAX + 1)),
            &format!("a={}", "v".repeat(LENGTH_MAX + 1)),
        ] {
            assert!(!is_valid(list), "{list:?}");
        }
    }

    #[test]
    fn lines_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), None);
        headers.append(TRACESTATE, "a=1".parse().unwrap());
        headers.append(TRACESTATE, "b=2".parse().unwrap());
        assert_eq!(of(&headers).as_deref(), Some("a=1,b=2"));
        headers.append(TRACESTATE, "a=3".parse().unwrap());
        assert_eq!(of(&headers), None);
    }
}
