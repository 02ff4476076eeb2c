//! JSON Pointers (RFC 6901), in which `*` also stands for every element of an array.

use std::fmt;
use std::str::FromStr;

/// Names a part of a JSON document, or with `*` several.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pointer(Box<[Token]>);

/// Why a text is not a pointer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PointerError {
    /// It has no characters.
    #[error("a pointer needs at least one name, as in `/id`, and this one is empty")]
    Empty,
    /// It begins with something other than a slash.
    #[error("a pointer begins with `/`, as in `/id`, and this one begins with `{0}`")]
    NoSlash(char),
    /// It has a tilde that stands for nothing; this many characters are before it.
    #[error(
        "`~` may stand only in `~0`, which means `~`, and in `~1`, which means `/`; \
         the one after {0} characters stands in neither"
    )]
    BadEscape(usize),
    /// It has more than 1024 bytes.
    #[error("a pointer may have at most 1024 bytes, and this one has {0}")]
    TooLong(usize),
    /// It has more than 64 names.
    #[error("a pointer may have at most 64 names, each after a `/`, and this one has {0}")]
    TooDeep(usize),
}

/// What leads from a value to those inside it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Token(Box<str>);

/// The way from a value to one inside it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// To the member of an object that has this name.
    Member(&'a str),
    /// To the element of an array that has so many before it.
    Element(usize),
}

impl Pointer {
    /// The longest pointer, in bytes.
    pub const BYTES_MAX: usize = 1024;
    /// The most names in a pointer; each takes the stack once while a document is read.
    pub const TOKENS_MAX: usize = 64;

    pub(super) fn tokens(&self) -> &[Token] {
        &self.0
    }

    /// Whether it can name several values.
    pub(super) fn is_list(&self) -> bool {
        self.0.iter().any(Token::is_every)
    }
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        let first = text.chars().next().ok_or(PointerError::Empty)?;
        let names = text.strip_prefix('/').ok_or(PointerError::NoSlash(first))?;
        if text.len() > Self::BYTES_MAX {
            return Err(PointerError::TooLong(text.len()));
        }
        let count = names.split('/').count();
        if count > Self::TOKENS_MAX {
            return Err(PointerError::TooDeep(count));
        }
        if let Some(at) = bad_escape(text) {
            return Err(PointerError::BadEscape(text[..at].chars().count()));
        }
        Ok(Self(names.split('/').map(Token::unescape).collect()))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Token(name) in &self.0 {
            write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

impl Token {
    fn unescape(text: &str) -> Self {
        // In this order: `~01` means `~1`.
        Self(text.replace("~1", "/").replace("~0", "~").into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_every(&self) -> bool {
        self.as_str() == "*"
    }

    /// The element that it names in an array: decimal digits without a leading zero.
    pub(super) fn index(&self) -> Option<usize> {
        let canonical = self.as_str() == "0" || !self.as_str().starts_with('0');
        let digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        // What does not fit is an index, but no array is so long.
        self.0.parse().ok().filter(|_| canonical && digits)
    }

    pub(super) fn leads(&self, step: Step<'_>) -> bool {
        match step {
            Step::Member(name) => self.as_str() == name,
            Step::Element(index) => self.is_every() || self.index() == Some(index),
        }
    }
}

/// Where a tilde is that no `0` or `1` follows.
fn bad_escape(text: &str) -> Option<usize> {
    let mut tildes = text.match_indices('~');
    let is_bad = |at: usize| !text[at + 1..].starts_with(['0', '1']);
    tildes.find_map(|(at, _)| is_bad(at).then_some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let pointer: Pointer = text.parse().unwrap();
        let names: Vec<_> = pointer.tokens().iter().map(Token::as_str).collect();
        assert_eq!(names, expected);
        assert_eq!(pointer.to_string(), text);
    }

    #[test]
    fn pointers_are_read_and_shown_as_they_were() {
        check("/", &[""]);
        check("/id", &["id"]);
        check("/batch/*/messageId", &["batch", "*", "messageId"]);
        check("//a/", &["", "a", ""]);
        check("/a~1b/m~0n", &["a/b", "m~n"]);
        check("/~01/~10/~00/~11", &["~1", "/0", "~0", "/1"]);
        check("/ä \"\\/\u{0}", &["ä \"\\", "\u{0}"]);
        check("/0/-/01", &["0", "-", "01"]);
        check(&"/a".repeat(64), &["a"; 64]);
        check(&format!("/{}", "a".repeat(1023)), &[&"a".repeat(1023)]);
    }

    #[test]
    fn what_is_no_pointer_is_refused_with_its_reason() {
        let long = format!("/{}", "ä".repeat(512));
        let deep = "/".repeat(65);
        let cases = [
            ("", PointerError::Empty),
            ("id", PointerError::NoSlash('i')),
            ("$.id", PointerError::NoSlash('$')),
            ("#/id", PointerError::NoSlash('#')),
            (" /id", PointerError::NoSlash(' ')),
            ("~", PointerError::NoSlash('~')),
            ("/~", PointerError::BadEscape(1)),
            ("/ä~2", PointerError::BadEscape(2)),
            ("/~0~/1", PointerError::BadEscape(3)),
            ("/~~0", PointerError::BadEscape(1)),
            (&long, PointerError::TooLong(1025)),
            (&deep, PointerError::TooDeep(65)),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Pointer>(), Err(error), "{text}");
        }
    }

    #[test]
    fn only_plain_numbers_name_elements() {
        let index = |text: &str| Token(text.into()).index();
        assert_eq!(index("0"), Some(0));
        assert_eq!(index("10"), Some(10));
        assert_eq!(index(&usize::MAX.to_string()), Some(usize::MAX));
        for text in ["", "-", "*", "00", "01", "+1", "-1", "1.0", "1e0", " 1", "¹", "٣"] {
            assert_eq!(index(text), None, "{text}");
        }
        assert_eq!(index("99999999999999999999"), None);
    }

    #[test]
    fn a_star_leads_to_every_element_and_to_the_member_of_that_name() {
        let leads = |text: &str, step| Token(text.into()).leads(step);
        assert!(leads("*", Step::Element(0)) && leads("*", Step::Element(7)));
        assert!(leads("*", Step::Member("*")) && !leads("*", Step::Member("a")));
        assert!(leads("7", Step::Element(7)) && !leads("7", Step::Element(0)));
        assert!(leads("7", Step::Member("7")) && !leads("07", Step::Element(7)));
    }
}
