//! The config file: every mistake has its place, what goes before what, and what is said of it
//! elsewhere is so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use oncegate::cli::{Cli, Command};
use oncegate::config::{Given, Mistakes, Place, Settings, Written, schema};
use oncegate::idempotency::{Purpose, Secret};

/// A folder with a config file and the files that it names; it goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Loads a config with this text, under these flags.
    fn load(&self, text: &str, flags: &[&str]) -> Result<Settings, Mistakes> {
        let path = self.write("oncegate.toml", text);
        load(Some(&path), written(flags))
    }

    /// The lines that tell of the mistakes, without the name of the folder.
    fn mistakes(&self, text: &str, flags: &[&str]) -> Vec<String> {
        let shown = match self.load(text, flags) {
            Ok(_) => return Vec::new(),
            Err(mistakes) => mistakes.to_string(),
        };
        let file = self.0.join("oncegate.toml");
        let mut lines: Vec<_> =
            shown.lines().map(|line| line.replace(file.to_str().unwrap(), "FILE")).collect();
        let count = lines.pop().unwrap();
        assert!(count.starts_with(&format!("{} mistake", lines.len())), "{count}");
        lines
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Loads a config file under what flags say.
fn load(file: Option<&Path>, flags: Written) -> Result<Settings, Mistakes> {
    let given = Given { file: file.map(Path::to_path_buf), flags };
    given.load(&Secret::from_bytes([7; 32])).0
}

fn written(flags: &[&str]) -> Written {
    let upstream = ["oncegate", "run", "--upstream", "http://127.0.0.1:9"];
    let Command::Run(run) = Cli::parse_from([&upstream, flags].concat()).command else {
        panic!("not the command that was given");
    };
    run.given().flags
}

/// Cases are separated by empty lines; what is expected stands in them after an arrow.
#[test]
fn every_mistake_is_told_with_its_place_and_what_would_be_right() {
    let folder = Folder::new("mistakes");
    folder.write("short", "a".repeat(31) + "\n");
    folder.write("long", "b".repeat(32) + "\n");
    let mut failed = Vec::new();
    let cases: Vec<_> = include_str!("config/mistakes.txt").split("\n\n").collect();
    for case in &cases {
        let (expected, text): (Vec<_>, Vec<_>) =
            case.lines().partition(|line| line.starts_with("=> "));
        if text.iter().all(|line| line.starts_with("####")) {
            continue;
        }
        let found: Vec<_> = folder
            .mistakes(&text.join("\n"), &[])
            .iter()
            .map(|line| line.replace("FILE:", "=> "))
            .collect();
        assert!(!found.iter().any(|line| line.contains("secret@")), "{found:?}");
        if found != expected || expected.is_empty() {
            failed.push(format!("{}\n{}\n", text.join("\n"), found.join("\n")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(cases.len() > 100, "{}", cases.len());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let folder = Folder::new("several");
    let text = "listen = \"8080\"\nworkres = 2\n[upstream]\nurl = \"ftp://a\"\ntimeout = 5m\n\
                [[route]]\npath = \"/a\"\nkey = [\"checksum\", \"json:/a\"]\nkeep = [600]\n";
    let expected = [
        "FILE:1:10: listen: found \"8080\" (a string), an address with a port, such as \
         \"0.0.0.0:8080\", is needed",
        "FILE:2:1: workres: unknown key at the top level; did you mean workers?",
        "FILE:4:7: url: its scheme is \"ftp\", and only \"http\" is supported",
        "FILE:5:11: timeout: found \"5\" (a string), a duration such as \"24h\" is needed",
        "FILE:6:1: name: it is missing: each route needs one, such as name = \"payments\"",
    ];
    let found = folder.mistakes(&text.replace("5m", "\"5\""), &[]);
    assert_eq!(found.len(), 7, "{found:#?}");
    for line in expected {
        assert!(found.contains(&line.to_owned()), "{line}\n{found:#?}");
    }
    // What is not TOML hides only what may follow from it.
    let found = folder.mistakes(text, &[]);
    let quotes = "FILE:5:11: a text needs quotation marks around it".to_owned();
    assert!(found.contains(&quotes) && found.len() == 5, "{found:#?}");
}

#[test]
fn what_flags_say_is_told_with_the_flag() {
    let folder = Folder::new("flags");
    let flags = ["--when-full", "refuse", "--store-max-bytes", "1KiB"];
    let expected = "--store-max-bytes: a store of 1KiB that refuses when it is full has no room \
                    for one answer of 1MiB and its header; give it at least 1089KiB, or keep \
                    smaller answers";
    assert_eq!(folder.mistakes("", &flags), [expected]);
    let found = folder.mistakes("[limits]\nmax_waiters = 5", &["--max-waiters-per-key", "6"]);
    let expected = "--max-waiters-per-key: 6 can wait for one key, but only 5 for all together \
                    (max_waiters, 2:15)";
    assert_eq!(found, [expected]);
    let found = folder.mistakes("[store]\nsecret_file = \"a\"", &["--store-secret-file", "b"]);
    let expected = "--store-secret-file: the file can't be read: No such file or directory \
                    (os error 2)";
    assert_eq!(found, [expected]);
}

#[test]
fn an_upstream_is_needed_and_a_file_that_can_be_read() {
    let folder = Folder::new("missing");
    let lines = |path: &Path, flags| match load(Some(path), flags) {
        Ok(_) => panic!("no mistake"),
        Err(mistakes) => mistakes.to_string().replace(folder.0.to_str().unwrap(), ""),
    };
    let missing = "upstream.url: it is missing; say where the API is, such as url = \
                   \"http://127.0.0.1:3000\" in [upstream], or by --upstream\n1 mistake";
    let path = folder.write("a.toml", "");
    assert_eq!(lines(&path, Written::default()), format!("/a.toml: {missing}"));
    let path = folder.write("a.toml", "workers = 1\n[upstream]\ntimeout = \"5m\"\n");
    assert_eq!(lines(&path, Written::default()), format!("/a.toml:2:1: {missing}"));
    let path = folder.write("a.toml", b"workers = 1\n# \xc3\xa9 \xff");
    let expected = "/a.toml:2:5: the file is not UTF-8 from here on\n1 mistake";
    assert_eq!(lines(&path, written(&[])), expected);
    let shown = lines(&folder.0.join("none.toml"), written(&[]));
    assert!(shown.starts_with("/none.toml: the file can't be read: "), "{shown}");
    let shown = lines(&folder.0, written(&[]));
    assert!(shown.starts_with(": the file can't be read: "), "{shown}");
    let path = folder.write("a.toml", "#".repeat(5 << 20));
    let expected = "/a.toml: the file can't be read: it has more than 4 MiB\n1 mistake";
    assert_eq!(lines(&path, written(&[])), expected);
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let folder = Folder::new("order");
    let text = "listen = \"127.0.0.1:1\"\n[upstream]\nurl = \"http://file\"\ntimeout = \"1m\"\n\
                [store]\nwhen_full = \"refuse\"\n[defaults]\nwindow = \"2h\"\nwait = \"1s\"\n\
                [[route]]\nname = \"a\"\nwindow = \"3h\"\n";
    let flags = ["--window", "4h", "--listen", "127.0.0.1:2"];
    let settings = folder.load(text, &flags).unwrap();
    assert_eq!(settings.listen.port(), 2);
    assert_eq!(settings.upstream.endpoint.to_string(), "http://127.0.0.1:9");
    assert_eq!(settings.upstream.timeout.as_secs(), 60);
    assert_eq!(settings.upstream.linger.as_secs(), 600);
    let windows = settings.policy.routes().map(|route| route.terms.window.as_secs());
    assert_eq!(windows.collect::<Vec<_>>(), [3 * 3600, 4 * 3600]);
    assert!(settings.policy.routes().all(|route| route.terms.wait.as_secs() == 1));
    let entries = written(&flags).over(Written::parse(text, "").0).entries();
    let entry = |section, key| {
        let (_, entries) = entries.iter().find(|(name, _)| *name == section).unwrap();
        let entry = entries.iter().find(|entry| entry.name == key).unwrap();
        (entry.value.as_deref(), entry.place)
    };
    assert_eq!(entry("", "listen"), (Some("\"127.0.0.1:2\""), Place::Flag("listen")));
    let place = Place::File { line: 4, column: 11 };
    assert_eq!(entry("upstream", "timeout"), (Some("\"60s\""), place));
    assert_eq!(entry("upstream", "linger"), (Some("\"10m\""), Place::Default));
    assert_eq!(entry("store", "secret_file"), (None, Place::Default));
}

#[test]
fn a_secret_is_read_from_beside_the_config() {
    let folder = Folder::new("secret");
    let hash = |flags: &[&str]| {
        let path = folder.write("oncegate.toml", "[store]\nsecret_file = \"secret\"\n");
        let given = Given { file: Some(path), flags: written(flags) };
        let (settings, files) = given.load(&Secret::from_bytes([7; 32]));
        let settings = settings.unwrap();
        assert!(settings.store.has_secret_file);
        (settings.secret.hash(Purpose::Content, b"a"), files)
    };
    folder.write("secret", "s".repeat(40));
    let (first, files) = hash(&[]);
    assert_eq!(
        files.paths().collect::<Vec<_>>(),
        [folder.0.join("oncegate.toml"), folder.0.join("secret")]
    );
    for newline in ["\n", "\r\n"] {
        folder.write("secret", "s".repeat(40) + newline);
        assert_eq!(hash(&[]).0, first, "a newline at the end is an editor's");
    }
    folder.write("secret", "s".repeat(40) + "\n\n");
    assert_ne!(hash(&[]).0, first);
    let other = folder.write("other", [0xff; 32]);
    let (second, files) = hash(&["--store-secret-file", other.to_str().unwrap()]);
    assert_ne!(second, first);
    assert_eq!(files.paths().collect::<Vec<_>>(), [folder.0.join("oncegate.toml"), other]);
    let without = load(None, written(&[])).unwrap();
    assert_eq!(without.secret, Secret::from_bytes([7; 32]), "the one that was given");
    assert!(!without.store.has_secret_file);
}

#[test]
fn every_default_reads_as_what_it_is() {
    for section in Written::sections() {
        let header = if section.name.is_empty() { String::new() } else { section.title() };
        for key in &section.keys {
            let name = key.name;
            assert!(key.doc.len() > 10 && key.doc.is_ascii(), "{header} {name}: {}", key.doc);
            let Some(default) = &key.default else { continue };
            let text = format!("{header}\n{name} = {default}\n");
            let (read, mistakes) = Written::parse(&text, "a");
            assert!(mistakes.is_empty(), "{mistakes}");
            let entries = read.entries();
            for (_, entries) in entries.iter().filter(|(other, _)| *other == section.name) {
                let entry = entries.iter().find(|entry| entry.name == name).unwrap();
                assert_eq!(entry.value.as_deref(), Some(default.as_str()), "{header} {name}");
                assert_ne!(entry.place, Place::Default, "{header} {name}");
            }
        }
    }
}

#[test]
fn the_schema_describes_every_key() {
    let schema = schema();
    let mut described = 0;
    for section in Written::sections() {
        let table = match (section.name, section.many) {
            ("", _) => &schema,
            (name, false) => &schema["properties"][name],
            (name, true) => &schema["properties"][name]["items"],
        };
        assert_eq!(table["additionalProperties"], false, "{}", section.title());
        for key in &section.keys {
            let property = &table["properties"][key.name];
            let description = property["description"].as_str().unwrap();
            assert!(description.starts_with(key.doc.trim_end_matches('.')), "{description}");
            assert!(property["type"].is_string(), "{} {}", section.title(), key.name);
            let default = key.default.as_ref().filter(|_| !section.many);
            assert_eq!(property.get("default").is_some(), default.is_some(), "{}", key.name);
            assert_ne!(property.get("default"), Some(&serde_json::Value::Null), "{}", key.name);
            if let (Some(choices), Some(default)) = (property.get("enum"), default) {
                let value: serde_json::Value = serde_json::from_str(default).unwrap();
                assert!(choices.as_array().unwrap().contains(&value), "{}", key.name);
            }
            described += 1;
        }
    }
    assert!(described > 80, "{described}");
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// A key is documented where it stands in its table, be it in a comment.
#[test]
fn the_example_documents_every_key_with_its_default() {
    let text = fs::read_to_string(examples().join("oncegate.toml")).unwrap();
    let mut documented = BTreeSet::new();
    let mut table = "";
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line).trim();
        let header = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
        if let Some(header) = header {
            table = header.trim_start_matches('[').trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ") {
            documented.insert((table, key));
        }
    }
    let (written, mistakes) = Written::parse(&text, "oncegate.toml");
    assert!(mistakes.is_empty(), "{mistakes}");
    let entries = written.entries();
    for section in Written::sections() {
        // What a route shares with the defaults is documented there.
        let shared = |key| documented.contains(&("defaults", key));
        for key in &section.keys {
            let found = documented.contains(&(section.name, key.name));
            let here = found || (section.many && shared(key.name));
            assert!(here, "{} {} is not documented", section.title(), key.name);
        }
        for (_, entries) in entries.iter().filter(|(name, _)| *name == section.name) {
            for key in section.keys.iter().filter(|key| key.default.is_some()) {
                let entry = entries.iter().find(|entry| entry.name == key.name).unwrap();
                assert_eq!(entry.value, key.default, "{} {}", section.title(), key.name);
            }
        }
    }
}

#[test]
fn every_example_is_without_a_mistake() {
    let mut checked = 0;
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let loaded = load(Some(&path), written(&[]));
            assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
            checked += 1;
        }
    }
    assert!(checked > 0);
}
