//! The config file: every mistake has its place, what goes before what, and what is said of it
//! elsewhere is so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use oncegate::cli::{Cli, Command, effective};
use oncegate::config::{
    ClientCertificate, Files, Given, Mistakes, Place, Settings, Written, schema,
};
use oncegate::idempotency::{Purpose, Secret};
use oncegate::upstream::Protocol;
use rcgen::generate_simple_self_signed;

/// A folder with a config file and the files that it names; it goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a new certificate and its key.
    fn certify(&self, certificate: &str, key: &str) {
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.write(certificate, made.cert.pem());
        self.write(key, made.signing_key.serialize_pem());
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Loads a config with this text, under these flags.
    fn load(&self, text: &str, flags: &[&str]) -> Result<Settings, Mistakes> {
        self.load_with_files(text, flags).0
    }

    /// The same, with the files that it took.
    fn load_with_files(&self, text: &str, flags: &[&str]) -> (Result<Settings, Mistakes>, Files) {
        let file = Some(self.write("oncegate.toml", text));
        Given { file, flags: written(flags) }.load(&Secret::from_bytes([7; 32]))
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
    let upstream = ["--upstream", "http://127.0.0.1:9"];
    let upstream = if flags.contains(&"--upstream") { &[] } else { &upstream[..] };
    let Command::Run(run) =
        Cli::parse_from([&["oncegate", "run"], upstream, flags].concat()).command
    else {
        panic!("not the command that was given");
    };
    run.given().flags
}

/// Cases are separated by empty lines; what is expected stands in them after an arrow, and flags
/// after a dollar sign.
#[test]
fn every_mistake_is_told_with_its_place_and_what_would_be_right() {
    let folder = Folder::new("mistakes");
    folder.write("short", "a".repeat(31) + "\n");
    folder.write("long", "b".repeat(32) + "\n");
    folder.certify("cert.pem", "key.pem");
    folder.certify("other.pem", "other-key.pem");
    folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let mut failed = Vec::new();
    let cases: Vec<_> = include_str!("config/mistakes.txt").split("\n\n").collect();
    for case in &cases {
        let (expected, text): (Vec<_>, Vec<_>) =
            case.lines().partition(|line| line.starts_with("=> "));
        let (flags, text): (Vec<_>, Vec<_>) =
            text.into_iter().partition(|line| line.starts_with("$ "));
        let flags: Vec<_> = flags.iter().flat_map(|line| line[2..].split_whitespace()).collect();
        if text.iter().all(|line| line.starts_with("####")) {
            continue;
        }
        let found: Vec<_> = folder
            .mistakes(&text.join("\n"), &flags)
            .iter()
            .map(|line| format!("=> {}", line.strip_prefix("FILE:").unwrap_or(line)))
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
        "FILE:1:10: listen: found \"8080\" (a string), an address such as \"0.0.0.0:8080\" or \
         \"unix:/run/oncegate.sock\" is needed",
        "FILE:2:1: workres: unknown key at the top level; did you mean workers?",
        "FILE:4:7: url: its scheme is \"ftp\", and only \"http\", \"https\" and \"unix\" are supported",
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
    assert_eq!(settings.listen, ["127.0.0.1:2".parse().unwrap()]);
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

const TLS: &str = "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";

#[test]
fn what_is_said_of_connections_is_used() {
    let folder = Folder::new("connections");
    folder.certify("cert.pem", "key.pem");
    let plain = folder.load("", &[]).unwrap();
    assert_eq!(plain.listen, ["0.0.0.0:8080".parse().unwrap()]);
    assert!(plain.tls.is_none() && !plain.proxy_protocol && plain.trusted.is_empty());
    assert_eq!((plain.upstream.protocol, &plain.upstream.tls), (Protocol::Http1, &None));
    assert_eq!(plain.client_certificate, None);
    let text = format!(
        "listen = [\"127.0.0.1:1\", \"unix:/a\"]\nproxy_protocol = true\ntrusted_hops = \
         [\"10.0.0.0/8\", \"::1\"]\nlimits = {{ max_streams = 7, stream_window = \"16KiB\", \
         connection_window = \"2147483647B\", max_pending_resets = 8, ping_interval = \"9s\", \
         ping_timeout = \"10s\", handshake_timeout = \"11s\", max_handshakes = 12 }}\n\
         upstream.http2 = true\n{TLS}client_ca_file = \"cert.pem\"\n"
    );
    let settings = folder.load(&text, &[]).unwrap();
    let listen = settings.listen.iter().map(ToString::to_string);
    assert_eq!(listen.collect::<Vec<_>>(), ["127.0.0.1:1", "unix:/a"]);
    assert!(settings.tls.is_some() && settings.proxy_protocol);
    assert_eq!(settings.client_certificate, Some(ClientCertificate::Required));
    let trusts = |address: &str| settings.trusted.contains(address.parse().unwrap());
    assert!(trusts("10.1.2.3") && trusts("::1") && !trusts("192.0.2.1"));
    assert_eq!((settings.upstream.protocol, &settings.upstream.tls), (Protocol::Http2, &None));
    let limits = settings.limits;
    assert_eq!((limits.streams_max, limits.stream_window), (7, 16 << 10));
    assert_eq!((limits.connection_window, limits.pending_resets_max), (0x7fff_ffff, 8));
    assert_eq!((limits.ping_interval.as_secs(), limits.ping_timeout.as_secs()), (9, 10));
    assert_eq!((limits.handshake_timeout.as_secs(), limits.handshakes_max), (11, 12));
    let auth = |which| folder.load(&format!("{text}client_auth = \"{which}\"\n"), &[]).unwrap();
    assert_eq!(auth("optional").client_certificate, Some(ClientCertificate::Optional));
    assert_ne!(auth("optional").tls, settings.tls);
    assert_eq!(auth("required").tls, settings.tls);
    let https = "upstream.tls.ca_file = \"cert.pem\"";
    let https = folder.load(https, &["--upstream", "https://a"]).unwrap();
    assert!(https.upstream.tls.is_some());
}

#[test]
fn a_flag_may_say_several_and_may_be_a_switch() {
    let listen = |flags: &[&str]| {
        let settings = load(None, written(flags)).unwrap();
        settings.listen.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let both = ["127.0.0.1:1", "unix:/run/a.sock"];
    assert_eq!(listen(&["--listen", both[0], "--listen", both[1]]), both);
    assert_eq!(listen(&["--listen", "127.0.0.1:1, unix:/run/a.sock"]), both);
    let proxied = |flags: &[&str]| load(None, written(flags)).unwrap().proxy_protocol;
    assert!(proxied(&["--proxy-protocol"]) && proxied(&["--proxy-protocol=true"]));
    assert!(!proxied(&["--proxy-protocol=false"]));
    let spoken = |flags: &[&str]| load(None, written(flags)).unwrap().upstream.protocol;
    assert_eq!(spoken(&["--upstream-http2", "--workers", "1"]), Protocol::Http2);
    for flags in [
        &["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:1"][..],
        &["--listen", "127.0.0.1:1,"],
        &["--proxy-protocol=yes"],
        &["--trusted-hops", "10.0.0.1/8"],
    ] {
        let all = [&["oncegate", "run", "--upstream", "http://127.0.0.1:9"], flags].concat();
        let shown = Cli::try_parse_from(all).unwrap_err().to_string();
        assert!(shown.contains(flags[0].split('=').next().unwrap()), "{shown}");
    }
}

/// A certificate that was renewed under the same name is a change of the config.
#[test]
fn files_of_tls_are_looked_at_and_may_change() {
    let folder = Folder::new("renewed");
    for name in ["", "api-", "ca-", "api-ca-"] {
        folder.certify(&format!("{name}cert.pem"), &format!("{name}key.pem"));
    }
    let text = format!(
        "{TLS}client_ca_file = \"ca-cert.pem\"\n[upstream.tls]\nca_file = \"api-ca-cert.pem\"\n\
         cert_file = \"api-cert.pem\"\nkey_file = \"api-key.pem\"\n"
    );
    let flags = ["--upstream", "https://a"];
    let (settings, files) = folder.load_with_files(&text, &flags);
    let settings = settings.unwrap();
    let all =
        ["cert.pem", "key.pem", "ca-cert.pem", "api-cert.pem", "api-key.pem", "api-ca-cert.pem"];
    let read: BTreeSet<_> = files.paths().map(Path::to_path_buf).collect();
    let named = all.iter().map(|name| folder.0.join(name));
    assert_eq!(read, named.chain([folder.0.join("oncegate.toml")]).collect());
    assert!(files.are_unchanged());
    for (name, index) in [("", 0), ("api-", 3), ("ca-", 2), ("api-ca-", 5)] {
        let before = files.look();
        folder.certify(&format!("{name}cert.pem"), &format!("{name}key.pem"));
        assert!(!before.are_unchanged(), "{}", all[index]);
    }
    let renewed = folder.load(&text, &flags).unwrap();
    assert_ne!(renewed.tls, settings.tls);
    assert_ne!(renewed.upstream, settings.upstream);
    assert!(settings.fixed_changes(&renewed).is_empty());
    // The same files make the same settings: connections are kept.
    let same = folder.load(&text, &flags).unwrap();
    assert_eq!((same.tls, same.upstream), (renewed.tls, renewed.upstream));
}

#[test]
fn what_the_server_was_started_with_does_not_change() {
    let folder = Folder::new("fixed");
    folder.certify("cert.pem", "key.pem");
    let changes = |text: &str| {
        let started = folder.load("", &[]).unwrap();
        started.fixed_changes(&folder.load(text, &[]).unwrap()).join(" ")
    };
    let mutual = format!("{TLS}client_ca_file = \"cert.pem\"\n");
    let by_tls = |text: &str| folder.load(&format!("{mutual}{text}"), &[]).unwrap();
    let asked = by_tls("");
    assert!(asked.fixed_changes(&by_tls("client_auth = \"optional\"")).is_empty());
    let plain = folder.load(TLS, &[]).unwrap();
    assert_eq!(asked.fixed_changes(&plain), ["tls.client_ca_file"]);
    assert_eq!(plain.fixed_changes(&asked), ["tls.client_ca_file"]);
    for (text, fixed) in [
        ("listen = [\"0.0.0.0:8080\"]", ""),
        ("listen = [\"0.0.0.0:8080\", \"unix:/a\"]", "listen"),
        ("proxy_protocol = true", "proxy_protocol"),
        ("trusted_hops = []", ""),
        ("trusted_hops = \"10.0.0.0/8\"", "trusted_hops"),
        (TLS, "tls"),
        ("upstream.http2 = true", ""),
        ("limits.max_streams = 3", "limits.max_streams"),
        ("limits.stream_window = \"1MiB\"", "limits.stream_window"),
        ("limits.connection_window = \"2MiB\"", "limits.connection_window"),
        ("limits.max_pending_resets = 3", "limits.max_pending_resets"),
        ("limits.ping_interval = \"3s\"", "limits.ping_interval"),
        ("limits.ping_timeout = \"3s\"", "limits.ping_timeout"),
        ("limits.handshake_timeout = \"3s\"", "limits.handshake_timeout"),
        ("limits.max_handshakes = 3", "limits.max_handshakes"),
    ] {
        assert_eq!(changes(text), fixed, "{text}");
    }
}

/// What is out of the ordinary about connections stands below the table of routes.
#[test]
fn the_effective_connections_are_shown() {
    let folder = Folder::new("shown");
    folder.certify("cert.pem", "key.pem");
    let shown = |text: &str| {
        let shown = effective(&folder.load(text, &[]).unwrap());
        let notes = shown.lines().skip_while(|line| !line.is_empty());
        notes.filter(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(""), "");
    let text = format!(
        "listen = [\"127.0.0.1:1\", \"unix:/a\", \"127.0.0.1:2\"]\nproxy_protocol = true\n\
         upstream.http2 = true\n{TLS}"
    );
    let secure = "127.0.0.1:1 127.0.0.1:2";
    let rest = format!(
        "connections begin with a PROXY header: {secure} callers connect by a Unix socket: \
         unix:/a the API is spoken to in HTTP/2: http://127.0.0.1:9"
    );
    assert_eq!(shown(&text), format!("callers connect by TLS: {secure} {rest}"));
    let must = format!("callers connect by TLS, and each must show a certificate: {secure} {rest}");
    assert_eq!(shown(&format!("{text}client_ca_file = \"cert.pem\"")), must);
    let may = format!("{text}client_ca_file = \"cert.pem\"\nclient_auth = \"optional\"");
    assert!(shown(&may).contains("a certificate that one shows is verified"));
}

#[test]
fn what_is_allowed_and_should_be_known_is_told() {
    let folder = Folder::new("warnings");
    folder.certify("cert.pem", "key.pem");
    let warns = |text: &str, warning: &str| {
        let warnings = folder.load(text, &[]).unwrap().warnings();
        warnings.iter().filter(|told| told.contains(warning)).count()
    };
    let mutual = format!("{TLS}client_ca_file = \"cert.pem\"\n");
    let named = "[defaults]\ncaller = [\"header:A\"]\n";
    let route = "[[route]]\nname = \"a\"\npath = \"/a\"\ncaller = [\"client-cert\"]\n";
    assert_eq!(warns(&mutual, "certificates"), 0, "the default callers have it");
    assert_eq!(warns(&format!("{mutual}{named}"), "certificates of callers"), 1);
    assert_eq!(warns(&format!("{mutual}{named}{route}"), "certificates"), 0);
    assert_eq!(warns(&format!("{mutual}{named}{route}mode = \"off\""), "certificates"), 1);
    assert_eq!(warns(&format!("{TLS}{named}"), "certificates"), 0);
    assert_eq!(warns("proxy_protocol = true", "PROXY"), 1);
    assert_eq!(warns("proxy_protocol = true\ntrusted_hops = \"10.0.0.1\"", "PROXY"), 0);
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
            (name, false) => {
                let path = name.split('.').map(|name| format!("/properties/{name}"));
                schema.pointer(&path.collect::<String>()).unwrap()
            }
            (name, true) => &schema["properties"][name]["items"],
        };
        assert_eq!(table["additionalProperties"], false, "{}", section.title());
        for key in &section.keys {
            let property = &table["properties"][key.name];
            let description = property["description"].as_str().unwrap();
            assert!(description.starts_with(key.doc.trim_end_matches('.')), "{description}");
            let kind = &property["type"];
            let several =
                kind.as_array().is_some_and(|kinds| kinds.iter().all(serde_json::Value::is_string));
            assert!(kind.is_string() || several, "{} {}", section.title(), key.name);
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

/// The rows of a table in a document, by the heading above it.
fn rows(document: &'static str, heading: &str) -> Vec<Vec<&'static str>> {
    let (_, below) = document.split_once(&format!("# {heading}")).unwrap();
    let rows = below.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands in backticks.
fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Every key by its full name, with its default.
fn defaults() -> BTreeMap<String, Option<String>> {
    let sections = Written::sections().into_iter().filter(|section| !section.many);
    let keys = sections.flat_map(|section| {
        let name = move |key: &str| [section.name, key].join(".").trim_matches('.').to_owned();
        section.keys.into_iter().map(move |key| (name(key.name), key.default))
    });
    keys.collect()
}

#[test]
fn the_readme_tells_every_limit_with_its_default() {
    let defaults = defaults();
    let mut told = BTreeSet::new();
    for row in rows(include_str!("../README.md"), "Limits") {
        let (keys, values) = (codes(row[0]), codes(row[1]));
        assert_eq!(keys.len(), values.len(), "{row:?}");
        for (key, value) in keys.into_iter().zip(values) {
            let default = defaults.get(key).unwrap_or_else(|| panic!("{key} is no key"));
            let default = default.as_deref().map(|default| default.trim_matches('"'));
            assert_eq!(default, Some(value), "{key}");
            assert!(told.insert(key), "{key} is told twice");
        }
    }
    let limits: BTreeSet<_> =
        defaults.keys().map(String::as_str).filter(|key| key.starts_with("limits.")).collect();
    let missing: Vec<_> = limits.difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Each is a flag, too.
    let command = Cli::command();
    let run = command.find_subcommand("run").unwrap();
    for key in limits {
        let flag = key.trim_start_matches("limits.").replace('_', "-");
        let is_flag = run.get_arguments().any(|argument| argument.get_long() == Some(&flag));
        assert!(is_flag, "--{flag}");
    }
}

#[test]
fn the_reference_tells_every_key_of_connections() {
    let defaults = defaults();
    let mut told = BTreeSet::new();
    for row in rows(include_str!("../docs/reference.md"), "Connections") {
        for key in codes(row[0]) {
            let default = defaults.get(key).unwrap_or_else(|| panic!("{key} is no key"));
            assert_eq!(codes(row[2]).first().copied(), default.as_deref(), "{key}");
            assert!(told.insert(key), "{key} is told twice");
        }
    }
    let is_about = |key: &&str| {
        let tables = ["tls.", "upstream.tls."].iter().any(|table| key.starts_with(table));
        tables || ["listen", "proxy_protocol", "trusted_hops", "upstream.http2"].contains(key)
    };
    let all: BTreeSet<_> = defaults.keys().map(String::as_str).filter(is_about).collect();
    let missing: Vec<_> = all.difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?}");
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
