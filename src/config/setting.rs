//! Values that can be set: how each kind is read, described and written.

use std::fmt::Display;
use std::str::FromStr;

use serde_json::{Value, json};

use super::found::{Found, quoted};
use super::mistake::{Located, Mistake, Place};

/// A value that can be set in a file, and most of them by a flag, too.
pub trait Setting: Clone + Sized {
    /// The values that there are and what each means, if they are few.
    const CHOICES: &'static [Choice] = &[];

    /// How a flag says it.
    const FORM: Form = Form::Value;

    /// What is needed, to be read before "is needed".
    fn needed() -> String;

    /// Reads the text of a flag, or that of a string in a file.
    fn from_text(text: &str) -> Result<Self, Wrong>;

    /// Reads what a file has.
    fn read(found: &Found<'_>) -> Result<Self, Vec<Mistake>> {
        match found.text() {
            Some(text) => {
                Self::from_text(text).map_err(|wrong| vec![refused::<Self>(found, wrong)])
            }
            None => Err(vec![refused::<Self>(found, Wrong::Kind)]),
        }
    }

    /// What a JSON Schema says of it.
    fn schema() -> Value;

    /// Writes it as a file has it.
    fn write(&self) -> String;
}

/// One of few values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    /// How it is written.
    pub name: &'static str,
    /// What it means; empty where the name says it.
    pub doc: &'static str,
}

/// How a flag says a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// By a text after it.
    Value,
    /// By texts after it with commas between them, or by being given more than once.
    Values,
    /// By being there, or by a text after it.
    Switch,
}

/// Why a text is not a value of some kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wrong {
    /// It is nothing like it.
    Kind,
    /// It can't be, because of this.
    Because(String),
    /// It can't be, because of this, and it may hold a secret.
    Hidden(String),
}

/// A text with a grammar of its own.
pub trait TextSetting: Clone + Display + FromStr<Err: Display> {
    /// What is needed, to be read before "is needed".
    const NEEDED: &'static str;
    /// Whether the error says what is wrong, better than `NEEDED` does.
    const EXPLAINS: bool = true;
    /// A regular expression for the text.
    const PATTERN: Option<&'static str> = None;
}

/// Values in their order, each with its place.
pub type List<T> = Vec<Located<T>>;

/// Values like those of a list, of which one may stand without an array.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Several<T>(pub List<T>);

impl<T> Located<Several<T>> {
    /// Each of them with its place, which is that of all where they were said together.
    pub(super) fn each(&self) -> impl Iterator<Item = (&T, Place)> {
        self.value.0.iter().map(|one| {
            let place = if one.place.is_said() { one.place } else { self.place };
            (&one.value, place)
        })
    }
}

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self(List::new())
    }
}

/// Why what a file has is not a value of this kind.
pub(super) fn refused<T: Setting>(found: &Found<'_>, wrong: Wrong) -> Mistake {
    let text = match wrong {
        Wrong::Kind => format!("found {}, {} is needed", found.shown(), T::needed()),
        // Some reasons show by themselves what was found.
        Wrong::Because(reason) if found.text().is_some_and(|text| shows(&reason, text)) => reason,
        Wrong::Because(reason) => format!("found {}: {reason}", found.shown()),
        Wrong::Hidden(reason) => reason,
    };
    found.mistake(text)
}

fn shows(reason: &str, text: &str) -> bool {
    reason.contains(&quoted(text))
}

/// Why the text of a flag is not a value of this kind.
pub(super) fn check_text<T: Setting>(text: &str) -> Result<T, String> {
    T::from_text(text).map_err(|wrong| match wrong {
        Wrong::Kind => format!("{} is needed", T::needed()),
        Wrong::Because(reason) | Wrong::Hidden(reason) => reason,
    })
}

impl<T: TextSetting> Setting for T {
    fn needed() -> String {
        T::NEEDED.into()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|error: T::Err| match T::EXPLAINS {
            true => Wrong::Because(error.to_string()),
            false => Wrong::Kind,
        })
    }

    fn schema() -> Value {
        match T::PATTERN {
            Some(pattern) => json!({ "type": "string", "pattern": pattern }),
            None => json!({ "type": "string" }),
        }
    }

    fn write(&self) -> String {
        in_quotes(&self.to_string())
    }
}

impl<T: Setting + PartialEq> Setting for List<T> {
    fn needed() -> String {
        "an array".into()
    }

    fn from_text(_: &str) -> Result<Self, Wrong> {
        Err(Wrong::Kind)
    }

    fn read(found: &Found<'_>) -> Result<Self, Vec<Mistake>> {
        let Some(elements) = found.elements() else {
            let hint = match T::read(found) {
                Ok(one) => format!(" such as [{}]", one.write()),
                Err(_) => String::new(),
            };
            let text = format!("found {}, an array{hint} is needed", found.shown());
            return Err(vec![found.mistake(text)]);
        };
        let (mut list, mut mistakes) = (Self::new(), Vec::new());
        for element in elements {
            match T::read(&element) {
                Ok(value) if list.iter().any(|one: &Located<T>| one.value == value) => {
                    mistakes.push(element.mistake(format!("{} stands twice", value.write())));
                }
                Ok(value) => list.push(Located { value, place: element.place() }),
                Err(wrong) => mistakes.extend(wrong),
            }
        }
        if mistakes.is_empty() { Ok(list) } else { Err(mistakes) }
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema(), "uniqueItems": true })
    }

    fn write(&self) -> String {
        let values: Vec<_> = self.iter().map(|one| one.value.write()).collect();
        format!("[{}]", values.join(", "))
    }
}

impl<T: Setting + PartialEq> Setting for Several<T> {
    const FORM: Form = Form::Values;

    fn needed() -> String {
        T::needed()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let mut values = Vec::new();
        for one in text.split(',') {
            let value = T::from_text(one.trim())?;
            if values.contains(&value) {
                return Err(Wrong::Because(format!("{} stands twice", value.write())));
            }
            values.push(value);
        }
        Ok(Self(default_list(values)))
    }

    fn read(found: &Found<'_>) -> Result<Self, Vec<Mistake>> {
        if found.elements().is_some() {
            return List::read(found).map(Self);
        }
        T::read(found).map(|value| Self(vec![Located { value, place: found.place() }]))
    }

    fn schema() -> Value {
        let mut schema = T::schema();
        schema["type"] = json!([schema["type"], "array"]);
        schema["items"] = T::schema();
        schema["uniqueItems"] = json!(true);
        schema
    }

    fn write(&self) -> String {
        match self.0.as_slice() {
            [one] => one.value.write(),
            several => {
                let values: Vec<_> = several.iter().map(|one| one.value.write()).collect();
                format!("[{}]", values.join(", "))
            }
        }
    }
}

/// A list that holds when nothing is said.
pub(super) fn default_list<T>(values: impl IntoIterator<Item = T>) -> List<T> {
    values.into_iter().map(Located::default_of).collect()
}

/// Writes a string of TOML.
pub(super) fn in_quotes(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.extend(format!("\\u{:04X}", u32::from(control)).chars());
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
