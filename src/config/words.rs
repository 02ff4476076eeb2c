//! The words of a policy, as a file spells them.

use http::HeaderName;
use serde_json::{Value, json};

use super::found::Found;
use super::mistake::Mistake;
use super::setting::{List, Setting, TextSetting, Wrong, default_list};
use crate::policy::{
    CallerSource, HostPattern, KeyPart, KeySource, PathPattern, Pointer, StatusRule,
    default_caller, default_key,
};

macro_rules! words {
    ($($word:ty, $needed:literal;)+) => { $(
        impl TextSetting for $word {
            const NEEDED: &'static str = $needed;
        }
    )+ };
}

words! {
    KeySource, "a source such as \"header:Idempotency-Key\"";
    CallerSource, "a source such as \"header:Authorization\"";
    PathPattern, "a path such as \"/v1/{name}/x\"";
    HostPattern, "a host such as \"api.example\"";
    Pointer, "a JSON pointer such as \"/sentAt\"";
}

/// Whether a key is a checksum, which every request has.
pub(super) fn is_checksum(source: &KeySource) -> bool {
    *source == KeySource::Checksum
}

/// The parameters of the path in which a key is looked for.
pub(super) fn path_names(source: &KeySource) -> impl Iterator<Item = &str> {
    source.parts().iter().filter_map(|part| match part {
        KeyPart::Path(name) => Some(&**name),
        KeyPart::Header(_) | KeyPart::Query(_) | KeyPart::Cookie(_) | KeyPart::Json(_) => None,
    })
}

/// Whether a caller is known by a token.
pub(super) fn is_token(source: &CallerSource) -> bool {
    matches!(source, CallerSource::TokenClaim(_))
}

/// The sources of a key when nothing is said.
pub(super) fn default_keys() -> List<KeySource> {
    default_list(default_key())
}

/// What says whose a request is when nothing is said.
pub(super) fn default_callers() -> List<CallerSource> {
    default_list(default_caller())
}

/// The header in which a token is when nothing is said.
pub(super) const fn default_token_header() -> HeaderName {
    http::header::AUTHORIZATION
}

/// A status is a number, and a class a text.
impl Setting for StatusRule {
    fn needed() -> String {
        "a status from 200 to 599, or a class from \"2xx\" to \"5xx\",".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| Wrong::Kind)
    }

    fn read(found: &Found<'_>) -> Result<Self, Vec<Mistake>> {
        let status = found.number().map(|number| number.to_string());
        let class = found.text().filter(|text| text.ends_with('x'));
        let read = status.as_deref().or(class).and_then(|text| text.parse().ok());
        read.ok_or_else(|| {
            let text = format!("found {}, {} is needed", found.shown(), Self::needed());
            vec![found.mistake(text)]
        })
    }

    fn schema() -> Value {
        json!({
            "oneOf": [
                { "type": "integer", "minimum": 200, "maximum": 599 },
                { "type": "string", "pattern": "^[2-5]xx$" },
            ],
        })
    }

    fn write(&self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::All(digit) => format!("\"{digit}xx\""),
        }
    }
}
