//! Patterns of paths: literal segments, `{name}` for one segment, `{*rest}` for all that follows.

use std::fmt;
use std::str::FromStr;

/// A pattern of paths.
///
/// Paths are compared byte for byte as requests spell them, without the query: `/a`, `/a/`, `//a`
/// and `/%61` are four paths.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PathPattern {
    fixed: Box<[Segment]>,
    /// The name of what follows the fixed segments; nothing may follow if there is none.
    rest: Option<Box<str>>,
}

/// One segment of a pattern.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Segment {
    /// This text, which may be empty.
    Literal(Box<str>),
    /// Any text but the empty one, under this name.
    Parameter(Box<str>),
}

/// Where a parameter of a pattern stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// It is the segment that has so many before it.
    Segment(usize),
    /// It is all that follows so many segments.
    Rest(usize),
}

/// Why a text is not a pattern of paths.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// It does not begin with a slash.
    #[error("a path begins with `/`, and this one is {0:?}")]
    NoSlash(String),
    /// It has a query or a fragment.
    #[error("a path is matched without query and fragment, so it can't hold {0:?}")]
    Query(char),
    /// It holds a character that no request has in its path.
    #[error(
        "a path holds visible ASCII characters, and all others percent-encoded, as requests have \
         them; this one holds {0:?}"
    )]
    BadCharacter(char),
    /// A brace stands beside something else in a segment.
    #[error("a parameter takes a whole segment, as in `/v1/{{id}}`, and this segment is `{0}`")]
    PartOfSegment(String),
    /// A parameter has no name, or one with other characters.
    #[error(
        "the name of a parameter is a letter or `_`, and then letters, digits and `_`, as in \
         `{{list_id}}`; this one is {0:?}"
    )]
    BadName(String),
    /// Two parameters have the same name.
    #[error("each parameter of a path needs its own name, and two are named `{0}`")]
    SameName(String),
    /// Something follows a parameter that takes all that follows.
    #[error("`{{*{0}}}` takes all that follows, so nothing may stand after it")]
    RestNotLast(String),
    /// It has too many segments.
    #[error(
        "a path pattern may have at most {max} segments, and this one has {0}",
        max = PathPattern::SEGMENTS_MAX
    )]
    TooManySegments(usize),
}

impl PathPattern {
    /// The most segments that a pattern may have; it bounds how deep a search goes.
    pub const SEGMENTS_MAX: usize = 64;

    /// Whether a path, as the request spells it, is one of the pattern's.
    pub fn matches(&self, path: &str) -> bool {
        let mut left = path.strip_prefix('/');
        for segment in &self.fixed {
            let Some(text) = left else { return false };
            let (found, after) = cut(text);
            if !segment.matches(found) {
                return false;
            }
            left = after;
        }
        match &self.rest {
            Some(_) => left.is_some_and(|rest| !rest.is_empty()),
            None => left.is_none(),
        }
    }

    /// What a path that matches has for the parameter of this name, as it is spelled there.
    pub fn parameter<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        if !self.matches(path) {
            return None;
        }
        let path = path.strip_prefix('/')?;
        match self.place(name)? {
            Place::Segment(index) => path.split('/').nth(index),
            Place::Rest(index) => path.splitn(index + 1, '/').last(),
        }
    }

    /// Where the parameter of this name stands.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        if self.rest.as_deref() == Some(name) {
            return Some(Place::Rest(self.fixed.len()));
        }
        self.fixed.iter().position(|segment| segment.is_named(name)).map(Place::Segment)
    }

    /// Whether the pattern has a parameter of this name.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Whether every path of the other pattern is one of this one's.
    pub fn covers(&self, other: &Self) -> bool {
        let Some((shared, more)) = other.fixed.split_at_checked(self.fixed.len()) else {
            return false;
        };
        let ends = match (&self.rest, more) {
            (None, more) => more.is_empty() && other.rest.is_none(),
            // `/a/` has no byte that the rest of `/a/{*rest}` could be.
            (Some(_), [Segment::Literal(text)]) => !text.is_empty() || other.rest.is_some(),
            (Some(_), more) => !more.is_empty() || other.rest.is_some(),
        };
        ends && self.fixed.iter().zip(shared).all(|(ours, theirs)| ours.covers(theirs))
    }

    /// The segments, without the rest.
    pub(super) fn fixed(&self) -> &[Segment] {
        &self.fixed
    }

    /// Whether more may follow the segments.
    pub(super) fn is_open(&self) -> bool {
        self.rest.is_some()
    }
}

/// The first segment of what is left of a path, and what is left after it.
pub(super) fn cut(left: &str) -> (&str, Option<&str>) {
    match left.split_once('/') {
        Some((segment, after)) => (segment, Some(after)),
        None => (left, None),
    }
}

impl Segment {
    fn matches(&self, found: &str) -> bool {
        match self {
            Self::Literal(text) => **text == *found,
            Self::Parameter(_) => !found.is_empty(),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Literal(text)) => self.matches(text),
            (Self::Parameter(_), Self::Parameter(_)) => true,
            (Self::Literal(_), Self::Parameter(_)) => false,
        }
    }

    fn is_named(&self, name: &str) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Parameter(own) => **own == *name,
        }
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let path = text.strip_prefix('/').ok_or_else(|| PatternError::NoSlash(text.into()))?;
        if let Some(bad) = text.chars().find(|found| !found.is_ascii_graphic()) {
            return Err(PatternError::BadCharacter(bad));
        }
        if let Some(bad) = text.chars().find(|found| matches!(found, '?' | '#')) {
            return Err(PatternError::Query(bad));
        }
        let count = path.split('/').count();
        if count > Self::SEGMENTS_MAX {
            return Err(PatternError::TooManySegments(count));
        }
        parse(path)
    }
}

fn parse(path: &str) -> Result<PathPattern, PatternError> {
    let (mut fixed, mut names) = (Vec::new(), Vec::new());
    let mut left = Some(path);
    while let Some(text) = left {
        let (segment, after) = cut(text);
        left = after;
        let Some(inner) = inner(segment)? else {
            fixed.push(Segment::Literal(segment.into()));
            continue;
        };
        let rest = inner.strip_prefix('*');
        let name = rest.unwrap_or(inner);
        if !is_name(name) {
            return Err(PatternError::BadName(name.into()));
        }
        if names.contains(&name) {
            return Err(PatternError::SameName(name.into()));
        }
        names.push(name);
        match (rest, after) {
            (None, _) => fixed.push(Segment::Parameter(name.into())),
            (Some(_), Some(_)) => return Err(PatternError::RestNotLast(name.into())),
            (Some(_), None) => {
                return Ok(PathPattern { fixed: fixed.into(), rest: Some(name.into()) });
            }
        }
    }
    Ok(PathPattern { fixed: fixed.into(), rest: None })
}

/// What stands between the braces of a segment that is a parameter.
fn inner(segment: &str) -> Result<Option<&str>, PatternError> {
    let has_brace = |text: &str| text.contains(['{', '}']);
    match segment.strip_prefix('{').and_then(|open| open.strip_suffix('}')) {
        Some(inner) if !has_brace(inner) => Ok(Some(inner)),
        None if !has_brace(segment) => Ok(None),
        _ => Err(PatternError::PartOfSegment(segment.into())),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.fixed {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Parameter(name) => write!(f, "/{{{name}}}")?,
            }
        }
        match &self.rest {
            Some(name) => write!(f, "/{{*{name}}}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(text: &str, paths: &[&str], others: &[&str]) {
        let pattern = pattern(text);
        for path in paths {
            assert!(pattern.matches(path), "{text} {path}");
        }
        for path in others {
            assert!(!pattern.matches(path), "{text} {path}");
        }
    }

    #[test]
    fn paths_match_byte_for_byte() {
        check("/", &["/"], &["", "*", "//", "/a", "a"]);
        check("/a", &["/a"], &["/", "/a/", "//a", "/%61", "/A", "/ab", "a"]);
        check("/a/", &["/a/"], &["/a", "/a//", "/a/b"]);
        check("//a", &["//a"], &["/a", "//a/"]);
        check("/%61", &["/%61"], &["/a"]);
        check("/a:b/*/@c", &["/a:b/*/@c"], &["/a:b/x/@c"]);
    }

    #[test]
    fn parameters_take_a_segment_and_the_rest_takes_all() {
        check("/{x}", &["/a", "/{}", "/ä", "/%2F"], &["/", "//", "/a/", "/a/b", "a", "*"]);
        check("/a/{x}/b", &["/a/1/b"], &["/a//b", "/a/1/b/", "/a/b", "/a/1/2/b", "/b/1/b"]);
        check("/a/{*x}", &["/a/b", "/a//", "/a/b/", "/a/b/c"], &["/a", "/a/", "/b/c", "/ab/c"]);
        check("/{*x}", &["/a", "//", "//a", "/a/b"], &["/", "", "*", "a/b"]);
        check("/{x}/{*y}", &["/a/b", "/a//", "/a/b/c"], &["/a", "/a/", "//a", "//"]);
        check("/a//{*x}", &["/a//b", "/a///"], &["/a//", "/a/b/c"]);
    }

    #[test]
    fn parameters_are_found_by_name() {
        for (text, name, path, expected) in [
            ("/v1/{id}", "id", "/v1/7", Some("7")),
            ("/v1/{id}", "id", "/v1/%37", Some("%37")),
            ("/v1/{id}", "id", "/v2/7", None),
            ("/v1/{id}", "v1", "/v1/7", None),
            ("/{a}/x/{b}", "a", "/1/x/2", Some("1")),
            ("/{a}/x/{b}", "b", "/1/x/2", Some("2")),
            ("/{a}/{*rest}", "rest", "/1/2/3/", Some("2/3/")),
            ("/{*rest}", "rest", "//", Some("/")),
            ("/a//{*rest}", "rest", "/a///b", Some("/b")),
        ] {
            assert_eq!(pattern(text).parameter(name, path), expected, "{text} {name} {path}");
        }
        for (name, expected) in [("a", true), ("rest", true), ("b", false), ("*rest", false)] {
            assert_eq!(pattern("/b/{a}/{*rest}").has_parameter(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_reason() {
        use PatternError as E;
        let part = |segment: &str| E::PartOfSegment(segment.into());
        for (text, expected) in [
            ("", E::NoSlash(String::new())),
            ("v1/a", E::NoSlash("v1/a".into())),
            ("/a?b", E::Query('?')),
            ("/a#b", E::Query('#')),
            ("/a b", E::BadCharacter(' ')),
            ("/a\n", E::BadCharacter('\n')),
            ("/ä", E::BadCharacter('ä')),
            ("/a{id}", part("a{id}")),
            ("/{id}.json", part("{id}.json")),
            ("/{a}{b}", part("{a}{b}")),
            ("/{a", part("{a")),
            ("/a}", part("a}")),
            ("/{{a}}", part("{{a}}")),
            ("/{a/b}", part("{a")),
            ("/{}", E::BadName(String::new())),
            ("/{*}", E::BadName(String::new())),
            ("/{1a}", E::BadName("1a".into())),
            ("/{a-b}", E::BadName("a-b".into())),
            ("/{**a}", E::BadName("*a".into())),
            ("/{a}/{a}", E::SameName("a".into())),
            ("/{a}/{*a}", E::SameName("a".into())),
            ("/{*a}/b", E::RestNotLast("a".into())),
            ("/{*a}/", E::RestNotLast("a".into())),
            (&"/a".repeat(65), E::TooManySegments(65)),
        ] {
            assert_eq!(text.parse::<PathPattern>(), Err(expected), "{text}");
        }
        assert!("/a".repeat(64).parse::<PathPattern>().is_ok());
    }

    #[test]
    fn reasons_say_what_would_be_right() {
        let reason = |text: &str| text.parse::<PathPattern>().unwrap_err().to_string();
        assert_eq!(
            reason("/v1/{id}.json"),
            "a parameter takes a whole segment, as in `/v1/{id}`, and this segment is `{id}.json`"
        );
        assert_eq!(
            reason("/{*all}/x"),
            "`{*all}` takes all that follows, so nothing may stand after it"
        );
    }

    #[test]
    fn patterns_are_shown_as_they_were_written() {
        for text in ["/", "/a", "/a/", "//a", "/{x}", "/a/{x}/b", "/{*x}", "/a//{_y}/{*x}"] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    /// Every pattern of up to three segments over a small alphabet.
    fn patterns() -> Vec<PathPattern> {
        let mut fixed = vec![String::new()];
        let mut all = vec![pattern("/{*r}")];
        for name in ["x", "y", "z"] {
            let longer = |text: &String| {
                let text = text.clone();
                ["", "a", &format!("{{{name}}}")].map(|segment| format!("{text}/{segment}"))
            };
            fixed = fixed.iter().flat_map(longer).collect();
            all.extend(fixed.iter().map(|text| pattern(text)));
            all.extend(fixed.iter().map(|text| pattern(&format!("{text}/{{*r}}"))));
        }
        all
    }

    #[test]
    fn a_pattern_covers_another_if_it_has_all_its_paths() {
        let mut paths = vec![String::new()];
        for length in 1..=5 {
            let longer = |path: &String| {
                let path = path.clone();
                ["", "a", "b"].map(|segment| format!("{path}/{segment}"))
            };
            let whole = paths.iter().filter(|path| path.matches('/').count() == length - 1);
            let more: Vec<_> = whole.flat_map(longer).collect();
            paths.extend(more);
        }
        let patterns = patterns();
        let sets: Vec<Vec<bool>> = patterns
            .iter()
            .map(|pattern| paths.iter().map(|path| pattern.matches(path)).collect())
            .collect();
        for (one, ours) in patterns.iter().zip(&sets) {
            for (other, theirs) in patterns.iter().zip(&sets) {
                let expected = ours.iter().zip(theirs).all(|(ours, theirs)| *ours || !theirs);
                assert_eq!(one.covers(other), expected, "{one} {other}");
            }
        }
    }
}
