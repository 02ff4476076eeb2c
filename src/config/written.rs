//! What was said, as it was written: in a file, in variables and in flags.

use toml::de::DeTable;

use super::found::Source;
use super::keys::{
    GuardKeys, JwtKeys, LimitKeys, RouteKeys, StoreKeys, StoreTlsKeys, TelemetryKeys, TlsKeys,
    TopKeys, UpstreamKeys, UpstreamTlsKeys,
};
use super::mistake::{Mistake, Mistakes, Place};
use super::section::{Entry, Section, SectionInfo};
use super::table::Table;

/// All that was said.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// What stands before the first table.
    pub top: TopKeys,
    /// `[tls]`
    pub tls: TlsKeys,
    /// `[upstream]`
    pub upstream: UpstreamKeys,
    /// `[upstream.tls]`
    pub upstream_tls: UpstreamTlsKeys,
    /// `[store]`
    pub store: StoreKeys,
    /// `[store.tls]`
    pub store_tls: StoreTlsKeys,
    /// `[jwt]`
    pub jwt: JwtKeys,
    /// `[limits]`
    pub limits: LimitKeys,
    /// `[telemetry]`
    pub telemetry: TelemetryKeys,
    /// `[defaults]`
    pub defaults: GuardKeys,
    /// `[[route]]`, in their order
    pub routes: Vec<WrittenRoute>,
    /// Whether all of the file was understood as TOML; something may be missing otherwise.
    pub incomplete: bool,
}

/// A `[[route]]`.
#[derive(Clone, Debug, Default)]
pub struct WrittenRoute {
    /// What it is for.
    pub route: RouteKeys,
    /// How it is guarded.
    pub guard: GuardKeys,
}

impl WrittenRoute {
    /// What holds in it: what it says, and where it says nothing, what the defaults say.
    ///
    /// The lists of statuses are its own or the defaults' as a whole; a policy, in which a route's
    /// statuses go before those of the defaults, is made of both.
    pub fn guard_over(&self, defaults: &GuardKeys) -> GuardKeys {
        self.guard.clone().over(defaults.clone())
    }
}

impl Written {
    /// Every table that a file may have.
    pub fn sections() -> Vec<SectionInfo> {
        let route = SectionInfo::of::<RouteKeys>("route");
        let keys = [route.keys, GuardKeys::keys()].concat();
        vec![
            SectionInfo::of::<TopKeys>(""),
            SectionInfo::of::<TlsKeys>("tls"),
            SectionInfo::of::<UpstreamKeys>("upstream"),
            SectionInfo::of::<UpstreamTlsKeys>("upstream.tls"),
            SectionInfo::of::<StoreKeys>("store"),
            SectionInfo::of::<StoreTlsKeys>("store.tls"),
            SectionInfo::of::<JwtKeys>("jwt"),
            SectionInfo::of::<LimitKeys>("limits"),
            SectionInfo::of::<TelemetryKeys>("telemetry"),
            SectionInfo::of::<GuardKeys>("defaults"),
            SectionInfo { keys, many: true, ..route },
        ]
    }

    /// Reads as much of a file as can be read, and finds what can't.
    pub fn parse(text: &str, file: &str) -> (Self, Mistakes) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source::new(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut mistakes = Mistakes::new(file);
        let mut written = Self::read(Table::new(document.get_ref(), &source, &mut mistakes));
        written.incomplete = !errors.is_empty();
        let errors: Vec<_> = errors.iter().map(|error| not_toml(error, &source)).collect();
        // What can't be read in a line that is not TOML, or below a header that is not, follows
        // from that.
        let lines = |error: &Mistake| error.place.line().map(|line| (line, source.last_line(line)));
        let broken: Vec<_> = errors.iter().filter_map(lines).collect();
        mistakes.retain(|mistake| {
            let line = mistake.place.line().unwrap_or_default();
            !broken.iter().any(|(first, last)| (*first..=*last).contains(&line))
        });
        for error in errors {
            mistakes.add(error);
        }
        (written, mistakes)
    }

    fn read(mut top: Table<'_, '_>) -> Self {
        let all = Self::sections();
        let top_keys = TopKeys::read(&mut top);
        let tls = read_section(&mut top, "tls", &all);
        let (upstream, upstream_tls) = read_with_tls(
            &mut top,
            ("upstream", "upstream.tls"),
            &all,
            |keys: &mut UpstreamKeys| &mut keys.unread,
        );
        let (store, store_tls) =
            read_with_tls(&mut top, ("store", "store.tls"), &all, |keys: &mut StoreKeys| {
                &mut keys.unread
            });
        let mut written = Self {
            top: top_keys,
            tls,
            upstream,
            upstream_tls,
            store,
            store_tls,
            jwt: read_section(&mut top, "jwt", &all),
            limits: read_section(&mut top, "limits", &all),
            telemetry: read_section(&mut top, "telemetry", &all),
            defaults: read_section(&mut top, "defaults", &all),
            routes: top.sections("route", |table| {
                let (route, guard) = (RouteKeys::read(table), GuardKeys::read(table));
                table.finish("[[route]]", &all);
                WrittenRoute { route, guard }
            }),
            incomplete: false,
        };
        top.finish("", &all);
        written.top.unread.extend(top.take_unread());
        written
    }

    /// Sets the key `TABLE.KEY`, or `KEY` at the top level, from the text of a flag.
    pub fn set(&mut self, key: &str, text: &str, place: Place) -> Result<(), String> {
        let (section, key) = key.rsplit_once('.').unwrap_or(("", key));
        let set = match section {
            "" => self.top.set(key, text, place),
            "tls" => self.tls.set(key, text, place),
            "upstream" => self.upstream.set(key, text, place),
            "upstream.tls" => self.upstream_tls.set(key, text, place),
            "store" => self.store.set(key, text, place),
            "store.tls" => self.store_tls.set(key, text, place),
            "jwt" => self.jwt.set(key, text, place),
            "limits" => self.limits.set(key, text, place),
            "telemetry" => self.telemetry.set(key, text, place),
            "defaults" => self.defaults.set(key, text, place),
            _ => None,
        };
        set.unwrap_or_else(|| Err("there is no such key".into()))
    }

    /// What it says; where it says nothing, what `base` says.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        Self {
            top: self.top.over(base.top),
            tls: self.tls.over(base.tls),
            upstream: self.upstream.over(base.upstream),
            upstream_tls: self.upstream_tls.over(base.upstream_tls),
            store: self.store.over(base.store),
            store_tls: self.store_tls.over(base.store_tls),
            jwt: self.jwt.over(base.jwt),
            limits: self.limits.over(base.limits),
            telemetry: self.telemetry.over(base.telemetry),
            defaults: self.defaults.over(base.defaults),
            routes: if self.routes.is_empty() { base.routes } else { self.routes },
            incomplete: self.incomplete || base.incomplete,
        }
    }

    /// What holds for every key of the tables that stand once, with the tables' names.
    pub fn entries(&self) -> Vec<(&'static str, Vec<Entry>)> {
        vec![
            ("", self.top.entries()),
            ("tls", self.tls.entries()),
            ("upstream", self.upstream.entries()),
            ("upstream.tls", self.upstream_tls.entries()),
            ("store", self.store.entries()),
            ("store.tls", self.store_tls.entries()),
            ("jwt", self.jwt.entries()),
            ("limits", self.limits.entries()),
            ("telemetry", self.telemetry.entries()),
            ("defaults", self.defaults.entries()),
        ]
    }
}

fn read_section<T: Section>(top: &mut Table<'_, '_>, name: &'static str, all: &[SectionInfo]) -> T {
    let read = top.section(name, |table| {
        let section = T::read(table);
        table.finish(&format!("[{name}]"), all);
        section
    });
    read.unwrap_or_default()
}

/// Reads a table, and the table `tls` in it.
fn read_with_tls<K: Section, T: Section>(
    top: &mut Table<'_, '_>,
    (name, tls): (&'static str, &'static str),
    all: &[SectionInfo],
    unread: impl Fn(&mut K) -> &mut Vec<&'static str>,
) -> (K, T) {
    let read = top.section(name, |table| {
        let mut keys = K::read(table);
        let tls = read_section(table, tls, all);
        table.finish(&format!("[{name}]"), all);
        unread(&mut keys).extend(table.take_unread());
        (keys, tls)
    });
    read.unwrap_or_default()
}

fn not_toml(error: &toml::de::Error, source: &Source<'_>) -> Mistake {
    let span = error.span();
    let place = span.clone().map_or(Place::WholeFile, |span| source.place(span.start));
    let key = span.map(|span| source.slice(span)).unwrap_or_default();
    match error.message() {
        "duplicate key" => Mistake::new(place, key, "it stands here for the second time"),
        message if message.starts_with("string values must be quoted") => {
            Mistake::new(place, "", "a text needs quotation marks around it")
        }
        message => Mistake::new(place, "", format!("this is not TOML: {message}")),
    }
}
