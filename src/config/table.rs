//! Reads one table of a config file, and finds the keys that nobody knows.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::found::{Found, Source, quoted};
use super::mistake::{Located, Mistake, Mistakes, Place};
use super::section::SectionInfo;
use super::setting::Setting;

/// How like a key another must be, to be what was meant.
const LIKENESS_MIN: f64 = 0.6;

/// A table that is read key by key.
#[derive(Debug)]
pub struct Table<'a, 'm> {
    entries: &'a DeTable<'a>,
    /// Where it begins.
    pub place: Place,
    source: &'a Source<'a>,
    mistakes: &'m mut Mistakes,
    /// The keys that have been asked for.
    known: Vec<&'static str>,
    /// Those whose values could not be read.
    unread: Vec<&'static str>,
}

impl<'a, 'm> Table<'a, 'm> {
    /// The table of a whole file.
    pub fn new(
        entries: &'a DeTable<'a>,
        source: &'a Source<'a>,
        mistakes: &'m mut Mistakes,
    ) -> Self {
        let place = Place::WholeFile;
        Self { entries, place, source, mistakes, known: Vec::new(), unread: Vec::new() }
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Takes the value of a key, if it is there and can be read.
    pub fn take<T: Setting>(&mut self, key: &'static str) -> Option<Located<T>> {
        let found = Found { value: self.find(key)?, source: self.source };
        match T::read(&found) {
            Ok(value) => Some(Located { value, place: found.place() }),
            Err(mistakes) => {
                self.unread.push(key);
                for mistake in mistakes {
                    self.mistakes.add(Mistake { key: key.to_owned(), ..mistake });
                }
                None
            }
        }
    }

    /// The keys that were there and could not be read, since the last time.
    pub fn take_unread(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.unread)
    }

    /// Reads the table `[name]`, if it is there. The name is that of this table and a key of it.
    pub fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Table<'a, '_>) -> T,
    ) -> Option<T> {
        let key = last_of(name);
        let value = self.find(key)?;
        let found = Found { value, source: self.source };
        if let Some(entries) = value.get_ref().as_table() {
            return Some(read(&mut self.inner(entries, found.place())));
        }
        self.unread.push(key);
        let many = |array: &DeArray<'_>| array.iter().all(|one| one.get_ref().is_table());
        let text = match value.get_ref().as_array().is_some_and(many) {
            true => format!("this table may stand only once: [{name}], in single brackets"),
            false => format!("found {}, a table [{name}] is needed", found.shown()),
        };
        self.mistakes.add(Mistake::new(found.place(), key, text));
        None
    }

    /// Reads the tables `[[key]]` in their order.
    pub fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Table<'a, '_>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let source = self.source;
        let values = match value.get_ref().as_array() {
            Some(array) => array.iter().collect(),
            None => vec![value],
        };
        let mut sections = Vec::with_capacity(values.len());
        for value in values {
            let found = Found { value, source };
            match value.get_ref().as_table() {
                Some(entries) => sections.push(read(&mut self.inner(entries, found.place()))),
                None => {
                    let text = format!("found {}, a table [[{key}]] is needed", found.shown());
                    self.mistakes.add(Mistake::new(found.place(), key, text));
                }
            }
        }
        if value.get_ref().is_table() {
            let text = format!("there may be many of this table: [[{key}]], in double brackets");
            self.mistakes.add(Mistake::new(Found { value, source }.place(), key, text));
        }
        sections
    }

    fn inner(&mut self, entries: &'a DeTable<'a>, place: Place) -> Table<'a, '_> {
        let (known, unread) = (Vec::new(), Vec::new());
        let (source, mistakes) = (self.source, &mut *self.mistakes);
        Table { entries, place, source, mistakes, known, unread }
    }

    /// Calls every key a mistake that nobody has asked for.
    pub fn finish(&mut self, title: &str, all: &[SectionInfo]) {
        for (key, _) in self.entries {
            let name = key.get_ref();
            if !self.known.iter().any(|known| known == name) {
                let place = self.source.place(key.span().start);
                let text = unknown(name, title, &self.known, all);
                let shown = if is_bare(name) { name.to_string() } else { quoted(name) };
                self.mistakes.add(Mistake::new(place, &shown, text));
            }
        }
    }
}

fn unknown(name: &str, title: &str, known: &[&'static str], all: &[SectionInfo]) -> String {
    let whose = match title {
        "" => "unknown key at the top level".to_owned(),
        title => format!("unknown key in {title}"),
    };
    let elsewhere: Vec<_> =
        all.iter().filter(|section| section.has(name)).map(SectionInfo::title).collect();
    if !elsewhere.is_empty() {
        return format!("{whose}; it is a key of {}", elsewhere.join(" and "));
    }
    // A table is shown in its brackets.
    let spelled = |key: &str| {
        let outer = title.trim_matches(['[', ']']);
        let is_it = |section: &&SectionInfo| match section.name.rsplit_once('.') {
            Some((table, last)) => (table, last) == (outer, key),
            None => (section.name, "") == (key, outer),
        };
        all.iter().find(is_it).map_or_else(|| key.to_owned(), SectionInfo::title)
    };
    if let Some(key) = nearest(name, known) {
        return format!("{whose}; did you mean {}?", spelled(key));
    }
    let near = all.iter().find_map(|section| {
        let keys: Vec<_> = section.keys.iter().map(|key| key.name).collect();
        Some((section, nearest(name, &keys)?))
    });
    if let Some((section, key)) = near {
        return format!("{whose}; did you mean {key} of {}?", section.title());
    }
    let keys: Vec<_> = known.iter().map(|key| spelled(key)).collect();
    format!("{whose}; the known ones are {}", keys.join(", "))
}

/// The last part of a table's name: what it is called in the table that it is in.
pub(super) fn last_of(name: &'static str) -> &'static str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// The known key that is most like another, if any is.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let plain = name.to_lowercase().replace('-', "_");
    let likeness = |key: &&'static str| match plain.len() >= 3 && key.starts_with(&plain) {
        true => 1.0,
        false => strsim::normalized_damerau_levenshtein(&plain, key),
    };
    let all = known.iter().copied().map(|key| (likeness(&key), key));
    let best = all.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
}

fn is_bare(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=40).contains(&key.len()) && key.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_what_was_meant() {
        let known = ["url", "timeout", "linger", "connect_timeout", "max_connections"];
        for (name, meant) in [
            ("ur", Some("url")),
            ("tiemout", Some("timeout")),
            ("connect-timeout", Some("connect_timeout")),
            ("Linger", Some("linger")),
            ("max_conn", Some("max_connections")),
            ("retries", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), meant, "{name}");
        }
    }
}
