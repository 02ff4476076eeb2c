//! `oncegate check`: what a config says, or all that is wrong with it.

use serde_json::Value;

use crate::support::{Ended, Folder, run};

const UPSTREAM: &str = "[upstream]\nurl = \"http://127.0.0.1:9\"\n";

async fn check(toml: &str) -> (Ended, String) {
    let folder = Folder::new();
    let path = folder.write("oncegate.toml", toml);
    (run(&["check", "--config", &path], &[]).await, path)
}

/// The cells of the row that begins with this word.
#[track_caller]
fn row<'a>(text: &'a str, route: &str) -> Vec<&'a str> {
    // What is out of the ordinary is said below the table, after an empty line.
    let table = text.lines().take_while(|line| !line.is_empty());
    let rows = table.map(|line| line.split("  ").map(str::trim));
    let rows = rows.map(|cells| cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>());
    let mut rows = rows.filter(|cells| cells.first() == Some(&route));
    let row = rows.next().unwrap_or_else(|| panic!("no {route} in {text}"));
    assert_eq!(rows.next(), None, "{route} stands once in {text}");
    row
}

#[tokio::test]
async fn the_effective_routes_are_shown_in_their_order() {
    let toml = format!(
        r#"{UPSTREAM}
        [defaults]
        window = "7d"
        [[route]]
        name = "segment-batch"
        path = "/v1/batch"
        host = "*.example"
        methods = ["POST"]
        key = ["json:/batch/*/messageId", "header:X-A+json:/id"]
        require_key = true
        window = "90m"
        [[route]]
        name = "files"
        path = "/files/{{*path}}"
        key = ["path:path"]
        caller = ["basic", "cookie:sid"]
        mode = "observe"
        [[route]]
        name = "health"
        path = "/health"
        mode = "off"
    "#
    );
    let (ended, _) = check(&toml).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let table = &ended.stdout;
    let names: Vec<_> =
        table.lines().filter_map(|line| line.split_whitespace().next()).take(5).collect();
    assert_eq!(names, ["ROUTE", "segment-batch", "files", "health", "default"]);
    let all = "POST PUT PATCH DELETE";
    let batch = [
        "segment-batch",
        "enforce",
        "POST",
        "*.example/v1/batch",
        "json:/batch/*/messageId header:x-a+json:/id",
        "default",
        "1h 30m",
    ];
    assert_eq!(row(table, "segment-batch"), batch);
    let files =
        ["files", "observe", all, "/files/{*path}", "path:path", "basic cookie:sid", "7days"];
    assert_eq!(row(table, "files"), files);
    let keys = "header:idempotency-key header:request-id checksum";
    assert_eq!(row(table, "default"), ["default", "enforce", all, "any", keys, "default", "7days"]);
    let health = row(table, "health");
    assert_eq!(health[..2], ["health", "off"]);
    let (_, required) = table.split_once("a request without a key is refused").expect("a note");
    assert!(required.contains("segment-batch") && !required.contains("files"), "{table}");
}

/// Every mistake at once, each with its place and what would be right.
#[tokio::test]
async fn all_mistakes_are_shown_at_once() {
    let toml = r#"lisen = "127.0.0.1:0"
[upstream]
url = "ftp://127.0.0.1:9"
[store]
secret_file = "nowhere"
[defaults]
window = "24"
wait = 60
keep = [99, "6xx"]
key = ["header:Idempotency-Key", "body:/id"]
[[route]]
path = "/v1/{name}.json"
[[route]]
name = "two"
path = "/v1/{a}"
key = ["path:b"]
mode = "watch"
[[route]]
name = "two"
path = "/v1/x"
"#;
    let (ended, path) = check(toml).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    for (line, column, named) in [
        (1, 1, "listen"),
        (3, 7, "ftp"),
        (5, 15, "can't be read"),
        (7, 10, "duration"),
        (8, 8, "duration"),
        (9, 9, "status"),
        (9, 13, "class"),
        (10, 34, "header:NAME"),
        (11, 1, "name"),
        (12, 8, "segment"),
        (16, 8, "{b}"),
        (17, 8, "\"observe\""),
        (19, 8, "another route"),
    ] {
        let place = format!("{path}:{line}:{column}: ");
        let found = lines.iter().find(|text| text.starts_with(&place));
        let found = found.unwrap_or_else(|| panic!("{line}:{column}: {}", ended.stderr));
        assert!(found.contains(named), "{named}: {found}");
    }
    let last = lines.last().expect("a line");
    assert_eq!(*last, format!("{} mistakes", lines.len() - 1));
    // Whoever would run it is told the same, before anything listens.
    let folder = Folder::new();
    let path = folder.write("oncegate.toml", toml);
    let run = run(&["run", "--config", &path], &[]).await;
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    assert_eq!(run.stderr.lines().count(), lines.len(), "{run:?}");
    assert!(run.stdout.is_empty() && run.stderr.contains(last), "{run:?}");
}

#[tokio::test]
async fn what_is_no_config_ends_it_with_2() {
    for (toml, named) in [
        ("", "upstream.url"),
        ("[upstream\nurl = 1", "1:"),
        ("[upstream]\nurl = \"http://127.0.0.1:9\"\n[upstream]\n", "3:"),
        ("a = 1\na = 2\n", "2:1"),
        ("\u{0}", "1:1"),
    ] {
        let (ended, path) = check(toml).await;
        assert_eq!(ended.status.code(), Some(2), "{toml:?}: {ended:?}");
        assert!(
            ended.stderr.contains(named) && ended.stderr.contains(&path),
            "{toml:?}: {ended:?}"
        );
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    }
    let folder = Folder::new();
    let latin = folder.write("latin.toml", b"# caf\xe9\n");
    let missing = folder.path("missing.toml");
    let missing = missing.to_str().expect("text");
    let itself = folder.path("");
    let itself = itself.to_str().expect("text");
    for (path, named) in [(&*latin, "UTF-8"), (missing, "can't be read"), (itself, "can't be read")]
    {
        let ended = run(&["check", "--config", path], &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(path) && ended.stderr.contains(named), "{ended:?}");
    }
    for args in [&["check"][..], &["check", "--config"], &["check", "--confg", "a"]] {
        let ended = run(args, &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains("--config"), "{ended:?}");
    }
}

/// What a flag or a variable says is checked with the file, and goes before it.
#[tokio::test]
async fn flags_and_variables_are_part_of_what_is_checked() {
    let folder = Folder::new();
    let path = folder.write("oncegate.toml", "[defaults]\nwindow = \"7d\"\n");
    let args = ["check", "--config", &path, "--upstream", "http://127.0.0.1:9"];
    let ended = run(&args, &[]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(row(&ended.stdout, "default")[6], "7days");
    let ended = run(&args, &[("ONCEGATE_WINDOW", "90m")]).await;
    assert_eq!(row(&ended.stdout, "default")[6], "1h 30m");
    let flagged = [&args[..], &["--window", "1h"]].concat();
    let ended = run(&flagged, &[("ONCEGATE_WINDOW", "90m")]).await;
    assert_eq!(row(&ended.stdout, "default")[6], "1h");
    let ended = run(&["check", "--config", &path], &[("ONCEGATE_WINDOW", "90m")]).await;
    assert_eq!(ended.status.code(), Some(2), "no upstream: {ended:?}");
    let ended = run(&["check", "--upstream", "http://127.0.0.1:9"], &[]).await;
    assert_eq!((ended.status.code(), ended.stdout.lines().count()), (Some(0), 2), "{ended:?}");
}

/// What is allowed, and yet should be known, is said on stderr, and is no mistake.
#[tokio::test]
async fn warnings_are_no_mistakes() {
    let toml = format!("{UPSTREAM}[defaults]\ncaller = []\nforward_key = \"Idempotency-Key\"\n");
    let (ended, _) = check(&toml).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let warnings: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(warnings.len(), 2, "{ended:?}");
    assert!(warnings.iter().all(|line| line.starts_with("warning: ")), "{ended:?}");
    assert!(ended.stderr.contains("no caller from another"), "{ended:?}");
    assert!(ended.stderr.contains("secret_file"), "{ended:?}");
    assert_eq!(row(&ended.stdout, "default")[5], "nobody");
    assert!(ended.stdout.contains("`idempotency-key`"), "{ended:?}");
}

/// The contents of files that hold secrets are never shown, not even where they are wrong.
#[tokio::test]
async fn mistakes_show_no_secrets() {
    let folder = Folder::new();
    folder.write("short", "s3cret");
    let toml = r#"
        [upstream]
        url = "http://user:s3cret@127.0.0.1:9"
        [store]
        secret_file = "short"
        [jwt]
        secret_file = "short"
        algorithm = "HS256"
    "#;
    let path = folder.write("oncegate.toml", toml);
    let ended = run(&["check", "--config", &path], &[]).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.ends_with("3 mistakes\n"), "{ended:?}");
    assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
}

#[tokio::test]
async fn the_schema_is_json_and_knows_every_key() {
    let ended = run(&["check", "--schema"], &[]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
    let schema: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let guard = "methods key require_key caller anonymous window wait in_flight on_unknown \
                 on_mismatch mode ignore_json ignore_headers only_headers keep release hold \
                 max_request max_response oversize forward_key authority";
    let jwt = "header trusted secret_file public_key_file jwks_file algorithm issuer audience";
    for (table, keys) in [
        (
            "/properties",
            "listen proxy_protocol trusted_hops workers drain_timeout tls upstream store jwt limits \
             telemetry defaults route",
        ),
        ("/properties/tls/properties", "cert_file key_file client_ca_file client_auth"),
        (
            "/properties/upstream/properties",
            "url http2 timeout linger connect_timeout idle_timeout tls",
        ),
        (
            "/properties/upstream/properties/tls/properties",
            "ca_file server_name cert_file key_file",
        ),
        ("/properties/store/properties", "url max_bytes when_full secret_file"),
        ("/properties/jwt/properties", jwt),
        (
            "/properties/limits/properties",
            "max_connections max_flights header_timeout max_headers max_streams",
        ),
        ("/properties/telemetry/properties", "access_log log_format log_level"),
        ("/properties/defaults/properties", guard),
        ("/properties/route/items/properties", guard),
        ("/properties/route/items/properties", "name path host"),
    ] {
        let properties = schema.pointer(table).unwrap_or_else(|| panic!("{table}: {schema}"));
        for key in keys.split_whitespace() {
            assert!(properties[key].is_object(), "{table} has {key}");
        }
    }
}
