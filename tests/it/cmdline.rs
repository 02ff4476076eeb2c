//! The command line: what it accepts, what it refuses and says so, and what it logs.
//!
//! All of this is in HTTP/1.1: a command line is no part of a request.

use crate::support::{Client, Ended, Instance, Origin, Proxy, client, problem_of, run};

const UPSTREAM: [&str; 2] = ["--upstream", "http://127.0.0.1:9"];

/// Flags that the help tells, each with its variable.
const FLAGS: [&str; 49] = [
    "config",
    "listen",
    "upstream",
    "window",
    "wait",
    "workers",
    "max-request",
    "max-response",
    "store",
    "store-max-bytes",
    "store-secret-file",
    "when-full",
    "upstream-timeout",
    "upstream-linger",
    "upstream-connect-timeout",
    "upstream-idle-timeout",
    "drain-timeout",
    "tls-cert-file",
    "tls-key-file",
    "tls-client-ca-file",
    "tls-client-auth",
    "trusted-hops",
    "upstream-tls-ca-file",
    "upstream-tls-server-name",
    "upstream-tls-cert-file",
    "upstream-tls-key-file",
    "max-connections",
    "max-flights",
    "max-waiters",
    "max-waiters-per-key",
    "max-buffered",
    "header-timeout",
    "body-timeout",
    "min-body-rate",
    "write-timeout",
    "max-header-bytes",
    "max-headers",
    "max-target-bytes",
    "max-streams",
    "stream-window",
    "connection-window",
    "max-pending-resets",
    "ping-interval",
    "ping-timeout",
    "handshake-timeout",
    "max-handshakes",
    "access-log",
    "log-format",
    "log-level",
];

async fn run_with(args: &[&str]) -> Ended {
    run(&[&["run", "--listen", "127.0.0.1:0"], args].concat(), &[]).await
}

/// A mistake on the command line ends it with 2, and one that helps to find it.
#[tokio::test]
async fn mistakes_are_named_and_end_it_with_2() {
    let mistakes: [(&[&str], &str); 33] = [
        (&[], "--upstream"),
        (&["--upstream", "127.0.0.1:9"], "not a URL"),
        (&["--upstream", "ftp://127.0.0.1:9"], "ftp"),
        (&["--upstream", "http://127.0.0.1:9/v1"], "path"),
        (&["--upstream", "http://u:p@127.0.0.1:9"], "user"),
        (&["--upstream", ""], "--upstream"),
        (&["--upstrem", "http://127.0.0.1:9"], "--upstream"),
        (&["--windo", "24h"], "--window"),
        (&["--window", "24"], "duration"),
        (&["--window", "1 fortnight"], "duration"),
        (&["--window", "0s"], "more than 0"),
        (&["--wait=-1s"], "--wait"),
        (&["--wait", ""], "--wait"),
        (&["--upstream-timeout", "soon"], "duration"),
        (&["--drain-timeout", "5"], "duration"),
        (&["--workers", "0"], "more than 0"),
        (&["--workers", "two"], "number"),
        (&["--max-connections=-5"], "--max-connections"),
        (&["--max-request", "lots"], "size"),
        (&["--max-response", "0"], "more than 0"),
        (&["--max-header-bytes", "8XiB"], "size"),
        (&["--store", "postgres://127.0.0.1"], "memory:"),
        (&["--store", "redis://127.0.0.1"], "secret_file"),
        (&["--store", "file://records"], "absolute path"),
        (&["--when-full", "panic"], "refuse"),
        (&["--access-log", "some"], "duplicates"),
        (&["--log-format", "xml"], "json"),
        (&["--log-level", "loud"], "debug"),
        (&["--trusted-hops", "10.0.0.1/8"], "10.0.0.0/8"),
        (&["--proxy-protocol=v2"], "true or false"),
        (&["--tls-client-auth", "never"], "optional"),
        (&["--listen", "127.0.0.1:0"], "--listen: \"127.0.0.1:0\" stands twice"),
        (&["extra"], "extra"),
    ];
    for (args, named) in mistakes {
        let given = args.contains(&"--upstream") || args.is_empty();
        let args = if given { args.to_vec() } else { [args, &UPSTREAM].concat() };
        let ended = run_with(&args).await;
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(named), "{args:?} names {named}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{args:?}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{args:?}: {}", ended.stderr);
    }
    for listen in ["nowhere", "127.0.0.1", "127.0.0.1:70000", ":8080", "", "unix:a", "127.0.0.1:0,"]
    {
        let ended = run(&[&["run", "--listen", listen], &UPSTREAM[..]].concat(), &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{listen}: {ended:?}");
        assert!(ended.stderr.contains("--listen"), "{listen}: {}", ended.stderr);
    }
}

/// The same mistakes in variables are mistakes, too.
#[tokio::test]
async fn mistakes_in_variables_are_named() {
    let args = ["run", "--listen", "127.0.0.1:0"];
    let upstream = ("ONCEGATE_UPSTREAM", "http://127.0.0.1:9");
    for (name, value, named) in [
        ("ONCEGATE_WINDOW", "24", "--window"),
        ("ONCEGATE_MAX_REQUEST", "lots", "--max-request"),
        ("ONCEGATE_LOG_FORMAT", "xml", "--log-format"),
        ("ONCEGATE_WORKERS", "0", "--workers"),
    ] {
        let ended = run(&args, &[upstream, (name, value)]).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(named), "{}", ended.stderr);
    }
    assert_eq!(run(&args, &[]).await.status.code(), Some(2));
}

/// Nothing to do is a mistake; so is something unknown.
#[tokio::test]
async fn a_command_is_needed() {
    for args in [&[][..], &["walk"], &["--listen", "127.0.0.1:0"]] {
        let ended = run(args, &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.to_lowercase().contains("usage"), "{ended:?}");
    }
}

#[tokio::test]
async fn it_says_its_version_and_helps() {
    let version = run(&["--version"], &[]).await;
    assert_eq!(version.stdout.trim(), concat!("oncegate ", env!("CARGO_PKG_VERSION")));
    for args in [&["--help"][..], &["-h"], &["run", "--help"], &["run", "-h"]] {
        let help = run(args, &[]).await;
        assert_eq!(help.status.code(), Some(0), "{help:?}");
        assert!(help.stdout.contains("Usage: oncegate"), "{help:?}");
        assert!(help.stderr.is_empty(), "{help:?}");
    }
    let help = run(&["run", "--help"], &[]).await.stdout;
    for flag in FLAGS {
        let variable = format!("ONCEGATE_{}", flag.to_uppercase().replace('-', "_"));
        assert!(help.contains(&format!("--{flag} <")), "--{flag}: {help}");
        assert!(help.contains(&variable), "{variable}: {help}");
    }
}

/// A flag counts more than its variable.
#[tokio::test]
async fn flags_win_over_variables() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).env("ONCEGATE_MAX_REQUEST", "10B");
    let proxy = proxy.env("ONCEGATE_UPSTREAM", "http://127.0.0.1:9").arg("--max-request", "20B");
    let proxy = proxy.env("ONCEGATE_WINDOW", "90m").start().await;
    let post = |length: usize| client(&proxy).post("/a").key(format!("k{length}"));
    assert_eq!(post(20).body("x".repeat(20)).send().await.status, 201);
    assert_eq!(post(21).body("x".repeat(21)).send().await.status, 413);
    assert!(proxy.log().contains("window=1h 30m"), "{}", proxy.log());
}

/// A variable counts more than the config file, and a flag more than both.
#[tokio::test]
async fn variables_win_over_the_config_file() {
    let origin = Origin::start().await;
    let config = std::env::temp_dir().join(format!("oncegate-it-{}.toml", std::process::id()));
    let text = format!(
        "[upstream]\nurl = \"http://{}\"\n[telemetry]\naccess_log = \"off\"\n\
         [defaults]\nwindow = \"3h\"\nwait = \"1s\"\nmax_request = \"10B\"\n",
        origin.addr
    );
    std::fs::write(&config, text).expect("a config file");
    let path = config.to_str().expect("a path that is text");
    let args = ["run", "--listen", "127.0.0.1:0", "--max-request", "20B"];
    let variables = [("ONCEGATE_CONFIG", path), ("ONCEGATE_WINDOW", "90m")];
    let mut instance = Instance::start(&args, &variables);
    let line = instance.line().await.expect("a ready line");
    std::fs::remove_file(&config).expect("the config file");
    assert!(line.contains("window=1h 30m"), "{line}");
    let addr = line.split_whitespace().find_map(|word| word.strip_prefix("listen="));
    let client = Client::of(addr.and_then(|addr| addr.parse().ok()).expect("an address"));
    for (length, status) in [(20, 201), (21, 413)] {
        let post = client.post("/a").key(format!("k{length}")).body("x".repeat(length));
        assert_eq!(post.send().await.status, status);
    }
    instance.terminate();
    assert_eq!(instance.ended().await.0.code(), Some(0));
}

/// A config is checked without being run, and every mistake in it is told.
#[tokio::test]
async fn a_config_is_checked() {
    let config = std::env::temp_dir().join(format!("oncegate-check-{}.toml", std::process::id()));
    std::fs::write(&config, "windo = 1\n[upstream]\nurl = 2\n").expect("a config file");
    let path = config.to_str().expect("a path that is text");
    for command in ["check", "run"] {
        let ended = run(&[command, "--config", path], &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(":1:1: windo: unknown key"), "{ended:?}");
        assert!(ended.stderr.contains(":3:7: url: found 2"), "{ended:?}");
        assert!(ended.stderr.ends_with("2 mistakes\n"), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
    std::fs::write(&config, "workers = 1\n").expect("a config file");
    let ended = run(&["check", "--config", path], &[]).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("upstream.url: it is missing"), "{ended:?}");
    let ended = run(&["check", "--config", path], &[("ONCEGATE_UPSTREAM", UPSTREAM[1])]).await;
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    std::fs::remove_file(&config).expect("the config file");
    let ended = run(&["check"], &[]).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--config"), "{ended:?}");
    let schema = run(&["check", "--schema"], &[]).await;
    assert_eq!(schema.status.code(), Some(0), "{schema:?}");
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).expect("JSON");
    assert_eq!(schema["properties"]["listen"]["default"], "0.0.0.0:8080");
}

/// The ready line says where it listens and what it stands for, and comes once it is so.
#[tokio::test]
async fn the_ready_line_says_what_is_ready() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let log = proxy.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    for part in [
        format!("listen={}", proxy.addr()),
        format!("upstream=http://{}", origin.addr),
        "store=\"memory:\"".to_owned(),
        "window=".to_owned(),
        " ready ".to_owned(),
    ] {
        assert!(log.contains(&part), "{part}: {log}");
    }
    assert_ne!(proxy.addr().port(), 0);
    assert!(!log.contains('\u{1b}'), "no colours where nobody sees them: {log}");
    assert_eq!(client(&proxy).get("/a").send().await.status, 201);
}

/// With `--log-format json`, every line of the log is one JSON object, up to the last.
#[tokio::test]
async fn the_log_is_json_lines_when_asked_for() {
    let args = ["run", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug"];
    let mut instance = Instance::start(&[&args[..], &UPSTREAM].concat(), &[]);
    let parse = |line: &str| -> serde_json::Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let ready = loop {
        let line = parse(&instance.line().await.expect("a ready line"));
        if line["message"].as_str().is_some_and(|message| message.contains("ready")) {
            break line;
        }
    };
    let addr = ready["listen"].as_str().and_then(|addr| addr.parse().ok()).expect("an address");
    assert_eq!(ready["upstream"], UPSTREAM[1]);
    assert_eq!(ready["level"], "INFO");
    assert!(ready["timestamp"].is_string(), "{ready}");
    let client = Client::of(addr);
    let mut connection = client.connect().await;
    connection.write(b"GARBAGE \x1b[31m\"\r\n\r\n").await;
    connection.rest().await;
    client.post("/a\"b").key("k\"1").body("10").send().await;
    instance.terminate();
    let (status, rest) = instance.ended().await;
    assert_eq!(status.code(), Some(0));
    assert!(rest.len() >= 2, "{rest:?}");
    for line in rest {
        assert!(parse(&line).is_object(), "{line}");
    }
}

/// The access log tells of every request, in JSON, and can be turned off.
#[tokio::test]
async fn the_access_log_is_json_lines() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--access-log", "all").start().await;
    let post = client(&proxy).post("/charges?card=1").key("k1").body("10");
    client(&proxy).get("/charges").send().await;
    post.clone().send().await;
    post.send().await;
    client(&proxy).post("/charges").key("k1").body("20").send().await;
    let lines = proxy.access_lines(4).await;
    let outcomes = ["passed", "executed", "replayed", "refused"];
    for ((line, outcome), status) in lines.iter().zip(outcomes).zip([201, 201, 201, 422]) {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!((&line["outcome"], &line["status"]), (&outcome.into(), &status.into()));
        assert_eq!(line["path"], "/charges");
        assert!(line["time"].is_string() && line["duration_ms"].is_number(), "{line}");
        assert_eq!(line["duplicate_key"].is_string(), outcome != "passed", "{line}");
    }
    let quiet = Proxy::before(&origin).arg("--access-log", "off").start().await;
    client(&quiet).get("/charges").send().await;
    client(&quiet).post("/charges").key("two words").send().await;
    assert_eq!(quiet.access_log(), "");
}

/// U1: an upstream may be given by its name; one that has no address is asked for again and again.
#[tokio::test]
async fn an_upstream_may_have_a_name() {
    let origin = Origin::start().await;
    let named = format!("http://localhost:{}", origin.addr.port());
    for (upstream, status) in [(named.as_str(), 201), ("http://nowhere.invalid:80", 502)] {
        let args = ["run", "--listen", "127.0.0.1:0", "--upstream", upstream];
        let args = [&args[..], &["--upstream-connect-timeout", "1s"]].concat();
        let mut instance = Instance::start(&args, &[]);
        let line = instance.line().await.expect("a ready line");
        let addr = line.split_whitespace().find_map(|word| word.strip_prefix("listen="));
        let client = Client::of(addr.and_then(|addr| addr.parse().ok()).expect("an address"));
        for _ in 0..2 {
            let reply = client.post("/charges").key("k1").body("10").send().await;
            assert_eq!(reply.status, status, "{reply:?}");
            assert!(status != 502 || problem_of(&reply).as_deref() == Some("upstream-unreachable"));
        }
        instance.terminate();
        assert_eq!(instance.ended().await.0.code(), Some(0));
    }
    assert_eq!(origin.hits(), 1);
}

/// An error at start that is nobody's typing ends it with 1.
#[tokio::test]
async fn an_address_that_cannot_be_had_ends_it_with_1() {
    for listen in ["192.0.2.1:80", "[2001:db8::1]:80"] {
        let ended = run(&[&["run", "--listen", listen], &UPSTREAM[..]].concat(), &[]).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(&format!("cannot listen at {listen}")), "{ended:?}");
    }
}
