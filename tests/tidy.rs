//! Rules that the source keeps: the order of its modules, the size of its files, and the floors of
//! its dependencies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules in their order: each may use only those before it.
const ORDER: [&str; 15] = [
    "clock",
    "message",
    "telemetry",
    "idempotency",
    "policy",
    "store",
    "transport",
    "upstream",
    "server",
    "engine",
    "proxy",
    "admin",
    "config",
    "app",
    "cli",
];

/// Modules that a module may not use although they stand before it.
const NEVER: [(&str, &[&str]); 8] = [
    ("telemetry", &["idempotency"]),
    ("store", &["policy"]),
    ("upstream", &["idempotency", "policy", "store"]),
    ("server", &["idempotency", "policy", "store", "upstream"]),
    ("engine", &["message", "policy", "upstream", "server"]),
    ("proxy", &["store"]),
    ("config", &["engine", "proxy", "server"]),
    ("cli", &["engine", "proxy", "server", "app"]),
];

/// Words that have no place in a module: pure ones do not wait, the engine knows no HTTP.
const BANNED: [(&str, &[&str]); 5] = [
    ("clock", &["tokio"]),
    ("idempotency", &["tokio", "hyper", "http::", "async ", ".await", "Instant", "SystemTime"]),
    ("policy", &["tokio", "hyper", "async ", ".await", "Instant", "SystemTime"]),
    ("store", &["http::", "hyper"]),
    ("engine", &["http::", "hyper"]),
];

const FILE_LINES_MAX: usize = 400;
const LINE_CHARACTERS_MAX: usize = 100;

/// The oldest version of a dependency that has no known advisory.
const FLOORS: [(&str, [u64; 3]); 16] = [
    ("aws-lc-sys", [0, 39, 0]),
    ("bytes", [1, 11, 1]),
    ("crossbeam-channel", [0, 5, 15]),
    ("crossbeam-epoch", [0, 9, 20]),
    ("h2", [0, 4, 20]),
    ("httparse", [1, 10, 1]),
    ("hyper", [1, 12, 0]),
    ("hyper-util", [0, 1, 21]),
    ("jsonwebtoken", [10, 3, 0]),
    ("moka", [0, 12, 14]),
    ("ring", [0, 17, 12]),
    ("rustls", [0, 23, 18]),
    ("slab", [0, 4, 11]),
    ("time", [0, 3, 47]),
    ("tokio", [1, 44, 2]),
    ("tracing-subscriber", [0, 3, 20]),
];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

impl Source {
    /// The lines before the file's own tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.take_while(|(_, line)| *line != "#[cfg(test)]")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
            let module = first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
            sources.push(Source { text: fs::read_to_string(&path).unwrap(), module, path });
        }
    }
    assert!(sources.len() > ORDER.len());
    sources
}

/// The modules of this crate that a line names.
fn used(line: &str) -> Vec<&str> {
    let paths = line.split("crate::").skip(1);
    paths
        .filter_map(|path| path.split(|c: char| !(c.is_alphanumeric() || c == '_')).next())
        .collect()
}

#[test]
fn each_module_uses_only_those_before_it() {
    let place = |module: &str| ORDER.iter().position(|other| *other == module);
    let never: BTreeMap<_, _> = NEVER.into();
    for source in sources() {
        let Some(own) = place(&source.module) else { continue };
        for (number, line) in source.code() {
            for other in used(line) {
                let Some(others) = place(other) else { continue };
                let allowed = others <= own
                    && !never
                        .get(source.module.as_str())
                        .is_some_and(|never| never.contains(&other));
                let path = source.path.display();
                assert!(allowed, "{path}:{number}: {} uses {other}", source.module);
            }
        }
    }
}

#[test]
fn the_order_is_that_of_the_library() {
    let library = include_str!("../src/lib.rs");
    let declared: Vec<_> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(declared, ORDER);
}

#[test]
fn pure_modules_do_not_wait_and_the_engine_knows_no_http() {
    let banned: BTreeMap<_, _> = BANNED.into();
    for source in sources() {
        for (number, line) in source.code().filter(|(_, line)| !line.trim().starts_with("//")) {
            for word in banned.get(source.module.as_str()).into_iter().copied().flatten() {
                let path = source.path.display();
                assert!(!line.contains(word), "{path}:{number}: {word} has no place here");
            }
        }
    }
}

#[test]
fn files_are_small_and_say_what_they_are_for() {
    for source in sources() {
        let path = source.path.display();
        if source.path.extension() == Some(OsStr::new("json")) {
            // Data, which has no place for words of its own.
            continue;
        }
        let begins = |word| source.text.starts_with(word);
        let says = match source.path.extension().and_then(OsStr::to_str) {
            Some("lua") => begins("-- ") || begins("#!lua"),
            Some("html") => begins("<!doctype html>\n<!-- "),
            Some("css") => begins("/* "),
            Some("js") => begins("// "),
            _ => begins("//! "),
        };
        assert!(says, "{path} does not begin with its one job");
        assert!(source.code().count() <= FILE_LINES_MAX, "{path} is too long");
        for (number, line) in source.code() {
            let length = line.chars().count();
            assert!(length <= LINE_CHARACTERS_MAX, "{path}:{number} is too long");
        }
    }
}

#[test]
fn no_dependency_has_a_known_advisory() {
    let lock = include_str!("../Cargo.lock");
    let mut lines = lock.lines();
    let mut checked = 0;
    while let Some(line) = lines.next() {
        let Some(name) = quoted(line, "name = ") else { continue };
        let version = lines.next().and_then(|line| quoted(line, "version = ")).unwrap();
        if let Some((_, floor)) = FLOORS.iter().find(|(floored, _)| *floored == name) {
            assert!(numbers(version) >= *floor, "{name} {version} is older than {floor:?}");
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} floors were checked");
}

fn quoted<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    line.strip_prefix(before).map(|rest| rest.trim_matches('"'))
}

fn numbers(version: &str) -> [u64; 3] {
    let release = version.split(['-', '+']).next().unwrap();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap());
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}
