//! Tables of a config file, each declared once: its keys with what they mean, their kinds and
//! their defaults.

use serde_json::Value;

use super::mistake::Place;
use super::setting::{Choice, Form};
use super::table::Table;

/// A table of a config file.
pub trait Section: Clone + Default {
    /// What is said of the table as a whole.
    const DOC: &'static [&'static str];

    /// Its keys.
    fn keys() -> Vec<KeyInfo>;

    /// Reads what a file says.
    fn read(table: &mut Table<'_, '_>) -> Self;

    /// Sets a key from the text of a flag. Nothing, if there is no such key.
    fn set(&mut self, key: &str, text: &str, place: Place) -> Option<Result<(), String>>;

    /// What it says; where it says nothing, what `base` says.
    #[must_use]
    fn over(self, base: Self) -> Self;

    /// What holds for each key.
    fn entries(&self) -> Vec<Entry>;
}

/// A key of a config file.
#[derive(Clone, Debug)]
pub struct KeyInfo {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub doc: String,
    /// What holds when nothing is said, as a file has it.
    pub default: Option<String>,
    /// The values that there are, if they are few.
    pub choices: &'static [Choice],
    /// How a flag says it.
    pub form: Form,
    /// What a JSON Schema says of its value.
    pub schema: fn() -> Value,
    /// Checks the text of a flag, or says why it is not a value.
    pub check: fn(&str) -> Result<(), String>,
}

/// What holds for a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The key.
    pub name: &'static str,
    /// Its value as a file has it; none if nothing is said and there is no default.
    pub value: Option<String>,
    /// Where it was said.
    pub place: Place,
}

/// A table as a file has it.
#[derive(Clone, Debug)]
pub struct SectionInfo {
    /// Its name, after that of the table that it is in; empty at the top level.
    pub name: &'static str,
    /// Whether there may be many.
    pub many: bool,
    /// What it is about.
    pub doc: String,
    /// Its keys.
    pub keys: Vec<KeyInfo>,
}

impl SectionInfo {
    /// A table that may stand once.
    pub fn of<T: Section>(name: &'static str) -> Self {
        Self { name, many: false, doc: paragraph(T::DOC), keys: T::keys() }
    }

    /// Its header in a file; empty at the top level.
    pub fn title(&self) -> String {
        match (self.name, self.many) {
            ("", _) => "the top level".to_owned(),
            (name, false) => format!("[{name}]"),
            (name, true) => format!("[[{name}]]"),
        }
    }

    /// Whether it has a key of this name.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known.name == key)
    }
}

/// The lines of a comment, as one.
pub(super) fn paragraph(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ").trim().to_owned()
}

/// Declares a table: a struct in which each key is an `Option` of what was said and where. A key
/// that has a default also has a method of its name, which says what holds.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $section:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $kind:ty $(= $default:expr)?; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default)]
        pub struct $section {
            /// Where it begins, if it was written.
            pub place: Option<Place>,
            /// The keys that were written, but could not be read.
            pub unread: Vec<&'static str>,
            $( $(#[doc = $doc])+ pub $key: Option<Located<$kind>>, )+
        }

        impl $section {
            $($(
                #[doc = concat!("What holds for `", stringify!($key), "`.")]
                pub fn $key(&self) -> Located<$kind> {
                    let default = || Located::default_of($default);
                    self.$key.clone().unwrap_or_else(default)
                }
            )?)+
        }

        impl Section for $section {
            const DOC: &'static [&'static str] = &[$($about),+];

            fn keys() -> Vec<KeyInfo> {
                vec![$( KeyInfo {
                    name: stringify!($key),
                    doc: paragraph(&[$($doc),+]),
                    default: section!(@default $kind $(, $default)?),
                    choices: <$kind as Setting>::CHOICES,
                    form: <$kind as Setting>::FORM,
                    schema: <$kind as Setting>::schema,
                    check: |text| check_text::<$kind>(text).map(|_| ()),
                } ),+]
            }

            fn read(table: &mut Table<'_, '_>) -> Self {
                let place = Some(table.place);
                $( let $key = table.take(stringify!($key)); )+
                Self { place, unread: table.take_unread(), $( $key ),+ }
            }

            fn set(&mut self, key: &str, text: &str, place: Place) -> Option<Result<(), String>> {
                match key {
                    $( stringify!($key) => Some(check_text(text).map(|value| {
                        self.$key = Some(Located { value, place });
                    })), )+
                    _ => None,
                }
            }

            fn over(self, base: Self) -> Self {
                Self {
                    place: self.place.or(base.place),
                    unread: [self.unread, base.unread].concat(),
                    $( $key: self.$key.or(base.$key), )+
                }
            }

            fn entries(&self) -> Vec<Entry> {
                vec![$( match &self.$key {
                    Some(said) => Entry {
                        name: stringify!($key),
                        value: Some(said.value.write()),
                        place: said.place,
                    },
                    None => Entry {
                        name: stringify!($key),
                        value: section!(@default $kind $(, $default)?),
                        place: Place::Default,
                    },
                } ),+]
            }
        }
    };
    (@default $kind:ty) => { None };
    (@default $kind:ty, $default:expr) => { Some(<$kind as Setting>::write(&$default)) };
}

pub(super) use section;
