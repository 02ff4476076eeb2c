//! Values of every kind that a file may have: how each is read, described and written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, Method};
use serde_json::{Value, json};

use super::found::Found;
use super::mistake::Mistake;
use super::setting::{Form, Setting, TextSetting, Wrong, in_quotes, refused};
use super::units::{Bytes, UnitError, parse_bytes, parse_duration, write_bytes, write_duration};

/// The path of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilePath(PathBuf);

/// A text of at least one character.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Words(String);

/// The name of a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteName(String);

impl From<UnitError> for Wrong {
    fn from(error: UnitError) -> Self {
        match error {
            UnitError::NotDuration | UnitError::NotSize => Self::Kind,
            UnitError::Zero | UnitError::TooLong | UnitError::TooMuch => {
                Self::Because(error.to_string())
            }
        }
    }
}

impl Setting for Duration {
    fn needed() -> String {
        "a duration such as \"24h\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Ok(parse_duration(text)?)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": r"^\s*([0-9]+\s*[a-zA-Z]+\s*)+$" })
    }

    fn write(&self) -> String {
        in_quotes(&write_duration(*self))
    }
}

impl Setting for Bytes {
    fn needed() -> String {
        "a size such as \"8MiB\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Ok(parse_bytes(text)?)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": r"^\s*[0-9][0-9.]*\s*[a-zA-Z]*\s*$" })
    }

    fn write(&self) -> String {
        in_quotes(&write_bytes(*self))
    }
}

/// A number of things of which there must be at least one.
impl Setting for usize {
    fn needed() -> String {
        "a whole number such as 100".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text.parse() {
            Ok(0) => Err(Wrong::Because("it must be more than 0".into())),
            Ok(count) => Ok(count),
            Err(_) => Err(Wrong::Kind),
        }
    }

    fn read(found: &Found<'_>) -> Result<Self, Vec<Mistake>> {
        let read = match found.number().map(Self::try_from) {
            Some(Ok(0)) => Err(Wrong::Because("it must be more than 0".into())),
            Some(Ok(count)) => Ok(count),
            Some(Err(_)) | None => Err(Wrong::Kind),
        };
        read.map_err(|wrong| vec![refused::<Self>(found, wrong)])
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 1 })
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for bool {
    const FORM: Form = Form::Switch;

    fn needed() -> String {
        "true or false".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| Wrong::Kind)
    }

    fn read(found: &Found<'_>) -> Result<Self, Vec<Mistake>> {
        let value = found.value.get_ref().as_bool();
        value.ok_or_else(|| vec![refused::<Self>(found, Wrong::Kind)])
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl TextSetting for HeaderName {
    const NEEDED: &'static str = "the name of a header, such as \"Idempotency-Key\",";
    const EXPLAINS: bool = false;
    const PATTERN: Option<&'static str> = Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");
}

impl Setting for Method {
    fn needed() -> String {
        "a method such as \"POST\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let method = Self::from_bytes(text.as_bytes()).map_err(|_| Wrong::Kind)?;
        match text.to_ascii_uppercase() {
            upper if upper == text => Ok(method),
            upper => Err(Wrong::Because(format!("methods are in upper case: \"{upper}\""))),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Z-]+$" })
    }

    fn write(&self) -> String {
        in_quotes(self.as_str())
    }
}

impl FilePath {
    /// The path as it was written.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl Setting for FilePath {
    fn needed() -> String {
        "the path of a file".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text.is_empty() || text.contains('\0') {
            true => Err(Wrong::Kind),
            false => Ok(Self(text.into())),
        }
    }

    /// What it shows may not be what was found, which may be the secret itself.
    fn read(found: &Found<'_>) -> Result<Self, Vec<Mistake>> {
        let path = found.text().and_then(|text| Self::from_text(text).ok());
        let hidden = || Wrong::Hidden(format!("{} is needed", Self::needed()));
        path.ok_or_else(|| vec![refused::<Self>(found, hidden())])
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn write(&self) -> String {
        in_quotes(&self.0.to_string_lossy())
    }
}

impl Words {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Words {
    fn needed() -> String {
        "a text of at least one character".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() { Err(Wrong::Kind) } else { Ok(Self(text.to_owned())) }
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn write(&self) -> String {
        in_quotes(&self.0)
    }
}

impl RouteName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for RouteName {
    fn needed() -> String {
        "a name of lower-case letters, digits, \"-\" and \"_\"".into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        match !text.is_empty() && text.bytes().all(plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(Wrong::Kind),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9_-]+$" })
    }

    fn write(&self) -> String {
        in_quotes(&self.0)
    }
}
