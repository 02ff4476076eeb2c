//! Mistakes in what an instance was told, each with its place.

use std::collections::BTreeSet;
use std::fmt;

/// Where something was said.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// In a flag of this name.
    Flag(&'static str),
    /// In the variable of the flag of this name.
    Variable(&'static str),
    /// In the file as a whole.
    WholeFile,
    /// In a line of the file.
    File {
        /// The number of the line, from 1 on.
        line: usize,
        /// The number of the character in the line, from 1 on.
        column: usize,
    },
    /// Nowhere: it is the default.
    #[default]
    Default,
}

/// Something that was said, and where.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Located<T> {
    /// What was said.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// Something that can't be as it was said.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mistake {
    /// Where it was said.
    pub place: Place,
    /// The key of which it was said; empty if it is not about a key.
    pub key: String,
    /// What was found, and what would be right. It shows nothing that may be secret.
    pub text: String,
}

/// All mistakes, in the order of their places.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mistakes {
    file: String,
    list: BTreeSet<Mistake>,
}

impl Place {
    /// The name of the variable that says the same as a flag.
    pub fn variable(flag: &str) -> String {
        format!("ONCEGATE_{}", flag.to_uppercase().replace('-', "_"))
    }

    /// The number of the line, in a file.
    pub const fn line(self) -> Option<usize> {
        match self {
            Self::File { line, .. } => Some(line),
            Self::Flag(_) | Self::Variable(_) | Self::WholeFile | Self::Default => None,
        }
    }

    /// Whether somebody has said it.
    pub const fn is_said(self) -> bool {
        !matches!(self, Self::Default)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(&Self::variable(name)),
            Self::WholeFile => f.write_str("the file"),
            Self::File { line, column } => write!(f, "{line}:{column}"),
            Self::Default => f.write_str("the default"),
        }
    }
}

impl<T> Located<T> {
    /// What holds when nothing is said.
    pub const fn default_of(value: T) -> Self {
        Self { value, place: Place::Default }
    }
}

impl Mistake {
    /// A mistake that was made in saying what `key` is.
    pub fn new(place: Place, key: &str, text: impl Into<String>) -> Self {
        Self { place, key: key.to_owned(), text: text.into() }
    }
}

impl Mistakes {
    /// No mistakes yet, in a file of this name.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), list: BTreeSet::new() }
    }

    /// Adds one; a mistake that is there already counts once.
    pub fn add(&mut self, mistake: Mistake) {
        self.list.insert(mistake);
    }

    /// Keeps those for which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&Mistake) -> bool) {
        self.list.retain(keep);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.list.iter()
    }

    fn write(&self, mistake: &Mistake, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { place, key, text } = mistake;
        // A flag says by itself what it is about.
        let (place, key) = match place {
            Place::Flag(_) | Place::Variable(_) => (place.to_string(), ""),
            Place::File { line, column } => {
                (format!("{}:{line}:{column}", self.file), key.as_str())
            }
            Place::WholeFile | Place::Default => (self.file.clone(), key.as_str()),
        };
        for part in [place.as_str(), key] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        writeln!(f, "{text}")
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.list {
            self.write(mistake, f)?;
        }
        match self.list.len() {
            1 => f.write_str("1 mistake"),
            count => write!(f, "{count} mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_shown_once_each_in_the_order_of_their_places() {
        let mut mistakes = Mistakes::new("a.toml");
        let at = |line, column| Place::File { line, column };
        for (place, key, text) in [
            (at(12, 7), "window", "c"),
            (at(2, 10), "wait", "b"),
            (at(12, 7), "window", "c"),
            (at(2, 1), "", "a"),
            (Place::WholeFile, "upstream.url", "missing"),
            (Place::Variable("when-full"), "when_full", "y"),
            (Place::Flag("store-max-bytes"), "max_bytes", "x"),
        ] {
            mistakes.add(Mistake::new(place, key, text));
        }
        let expected = "--store-max-bytes: x\n\
                        ONCEGATE_WHEN_FULL: y\n\
                        a.toml: upstream.url: missing\n\
                        a.toml:2:1: a\n\
                        a.toml:2:10: wait: b\n\
                        a.toml:12:7: window: c\n\
                        6 mistakes";
        assert_eq!(mistakes.to_string(), expected);
    }
}
