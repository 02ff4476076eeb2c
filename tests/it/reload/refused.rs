//! Settings that would derive other keys, or that can't change while an instance runs.

use super::Setup;
use crate::support::{assert_problem, assert_replay, client};

/// Something of every setting on which a key depends.
const BASE: &str = r#"
[jwt]
header = "X-Token"
issuer = "a"
audience = "b"
trusted = true

[defaults]
key = ["header:Idempotency-Key", "checksum"]
caller = ["header:Authorization", "jwt:sub"]
authority = true
ignore_json = ["/sentAt"]
ignore_headers = ["X-Attempt"]
window = "24h"

[[route]]
name = "steps"
path = "/steps/{id}/{step}"
key = ["path:id+header:X-Step"]

[[route]]
name = "only"
path = "/only"
only_headers = ["Content-Type", "X-Kind"]

[[route]]
name = "host"
host = "a.example"
methods = ["POST", "PUT"]
key = ["header:X-A"]
"#;

/// Changes of the settings above, and what the refusal tells.
const REDERIVED: [(&str, &str, &str); 22] = [
    ("\"header:Idempotency-Key\", \"checksum\"", "\"checksum\"", "`key`"),
    (
        "\"header:Idempotency-Key\", \"checksum\"",
        "\"header:Request-ID\", \"header:Idempotency-Key\", \"checksum\"",
        "`key`",
    ),
    ("\"path:id+header:X-Step\"", "\"header:X-Step+path:id\"", "`key` of route \"steps\""),
    ("\"header:X-A\"", "\"header:X-A\", \"header:X-B\"", "`key` of route \"host\""),
    ("\"header:Authorization\", \"jwt:sub\"", "\"header:Authorization\"", "`caller`"),
    ("\"header:Authorization\", \"jwt:sub\"", "\"jwt:sub\", \"header:Authorization\"", "`caller`"),
    ("\"jwt:sub\"", "\"jwt:user\"", "`caller`"),
    ("caller = [\"header:Authorization\", \"jwt:sub\"]", "caller = []", "`caller`"),
    ("authority = true", "authority = false", "`authority`"),
    ("[\"/sentAt\"]", "[]", "`ignore_json`"),
    ("[\"/sentAt\"]", "[\"/sentAt\", \"/sent_at\"]", "`ignore_json`"),
    ("[\"X-Attempt\"]", "[]", "`ignore_headers` or `only_headers`"),
    ("[\"X-Attempt\"]", "[\"X-Attempt\", \"X-B\"]", "`ignore_headers` or `only_headers`"),
    (", \"X-Kind\"", "", "`ignore_headers` or `only_headers` of route \"only\""),
    ("header = \"X-Token\"", "header = \"X-Other\"", "`jwt`"),
    ("issuer = \"a\"", "issuer = \"b\"", "`jwt`"),
    ("audience = \"b\"", "", "`jwt`"),
    ("/{id}/{step}", "/{step}/{id}", "`path` of route \"steps\""),
    ("path = \"/only\"\n", "path = \"/only/{id}\"\n", "took route \"only\", and would take "),
    ("host = \"a.example\"", "host = \"*.example\"", "would take \"host\", whose `key` is another"),
    ("methods = [\"POST\", \"PUT\"]\n", "methods = [\"POST\"]\n", "PUT a.example"),
    (
        "[[route]]\nname = \"steps\"",
        "[[route]]\nname = \"new\"\npath = \"/new\"\nkey = [\"header:X-N\"]\n\n\
         [[route]]\nname = \"steps\"",
        "and would take \"new\", whose `key` is another",
    ),
];

#[tokio::test]
async fn whatever_would_derive_other_keys_is_refused_with_the_reason() {
    let setup = Setup::start(BASE).await;
    let charge = || setup.post("k1").header("X-Step", "1");
    let step = || client(&setup.proxy).post("/steps/7/2").header("X-Step", "1").body("10");
    let first = (charge().send().await, step().send().await);
    for (old, new, told) in REDERIVED {
        assert!(BASE.contains(old), "{old}");
        let more = BASE.replace(old, new);
        // all or nothing: what could change by itself does not
        let reason = setup.refuses(&format!("limits.max_target_bytes = \"20B\"\n{more}")).await;
        assert!(reason.contains(told), "{old} to {new}: {reason}");
        let why = "repeats of what was kept would be executed again";
        assert!(reason.ends_with(why), "{reason}");
        assert_replay(&first.0, &charge().send().await);
        assert_replay(&first.1, &step().send().await);
        let long = client(&setup.proxy).get(&format!("/{}", "a".repeat(30)));
        assert_eq!(long.send().await.status, 201);
    }
    setup.takes(BASE).await;
    assert_eq!(setup.origin.requests().iter().filter(|sent| sent.method == "POST").count(), 2);
}

/// Routes that go, or stand in another order.
#[tokio::test]
async fn a_route_that_is_missed_is_refused() {
    let setup = Setup::start(BASE).await;
    let routes: Vec<_> = BASE.split("[[route]]").collect();
    let [defaults, steps, only, host] = routes[..] else { panic!("three routes") };
    let of = |routes: &[&str]| {
        routes.iter().fold(defaults.to_owned(), |text, route| format!("{text}[[route]]{route}"))
    };
    for (routes, told) in [
        (&[only, host][..], ["\"steps\"", "`key`"]),
        (&[steps, host], ["took route \"only\"", "`key`"]),
        (&[steps, only], ["\"host\"", "`key`"]),
        (&[host, steps, only], ["would take \"host\"", "`key`"]),
        (&[], ["would take \"default\"", "a"]),
    ] {
        let reason = setup.refuses(&of(routes)).await;
        assert!(told.iter().all(|told| reason.contains(told)), "{told:?}: {reason}");
    }
    setup.takes(&of(&[only, steps, host])).await;
}

/// What is only written otherwise is the same.
#[tokio::test]
async fn what_derives_the_same_keys_is_taken() {
    let setup = Setup::start(BASE).await;
    let first = setup.post("k1").send().await;
    for (old, new) in [
        ("header:Idempotency-Key", "header:IDEMPOTENCY-KEY"),
        ("\"X-Attempt\"", "'x-attempt'"),
        ("authority = true\n", "# the default\n"),
        ("name = \"host\"", "name = \"another-name\""),
        ("window = \"24h\"", "window = \"1h\""),
        ("trusted = true", "trusted = true # still"),
        ("[[route]]\nname = \"only\"", "[[route]]\nname = \"only\"\nwindow = \"7d\""),
    ] {
        assert!(BASE.contains(old), "{old}");
        setup.takes(&BASE.replace(old, new)).await;
        assert_replay(&first, &setup.post("k1").send().await);
    }
}

/// Settings that need a restart: the setting, another value, and its name in the refusal.
const FIXED: [(&str, &str); 25] = [
    ("workers = 3", "workers"),
    ("drain_timeout = \"3s\"", "drain_timeout"),
    ("store.max_bytes = \"300MiB\"", "store.max_bytes"),
    ("store.when_full = \"refuse\"", "store.when_full"),
    ("telemetry.log_level = \"debug\"", "telemetry.log_level"),
    ("limits.max_connections = 300", "limits.max_connections"),
    ("limits.max_flights = 300", "limits.max_flights"),
    ("limits.max_waiters = 5000", "limits.max_waiters"),
    ("limits.max_waiters_per_key = 300", "limits.max_waiters_per_key"),
    ("limits.max_buffered = \"300MiB\"", "limits.max_buffered"),
    ("limits.header_timeout = \"3s\"", "limits.header_timeout"),
    ("limits.keep_alive_timeout = \"3s\"", "limits.keep_alive_timeout"),
    ("limits.write_timeout = \"3s\"", "limits.write_timeout"),
    ("limits.max_header_bytes = \"300KiB\"", "limits.max_header_bytes"),
    ("limits.max_headers = 300", "limits.max_headers"),
    ("limits.max_streams = 300", "limits.max_streams"),
    ("limits.stream_window = \"300KiB\"", "limits.stream_window"),
    ("limits.connection_window = \"3MiB\"", "limits.connection_window"),
    ("limits.max_pending_resets = 3", "limits.max_pending_resets"),
    ("limits.ping_interval = \"3s\"", "limits.ping_interval"),
    ("limits.ping_timeout = \"3s\"", "limits.ping_timeout"),
    ("limits.handshake_timeout = \"3s\"", "limits.handshake_timeout"),
    ("limits.max_handshakes = 3", "limits.max_handshakes"),
    ("proxy_protocol = true", "proxy_protocol"),
    ("trusted_hops = \"10.0.0.0/8\"", "trusted_hops"),
];

#[tokio::test]
async fn what_needs_a_restart_is_refused() {
    let setup = Setup::start("").await;
    let first = setup.post("k1").send().await;
    for (more, name) in FIXED {
        let reason = setup.refuses(&format!("defaults.max_request = \"1B\"\n{more}")).await;
        let told = format!("{name} cannot change while an instance runs; restart it");
        assert_eq!(reason, told);
        assert_replay(&first, &setup.post("k1").send().await);
    }
    let several = "workers = 3\nlimits.max_flights = 3\nlimits.max_headers = 9";
    let reason = setup.refuses(several).await;
    assert!(reason.starts_with("workers, limits.max_flights cannot change"), "{reason}");
    assert_eq!(setup.origin.hits(), 1);
}

#[tokio::test]
async fn another_address_is_refused() {
    let setup = Setup::start("").await;
    let first = setup.post("k1").send().await;
    for listen in ["127.0.0.1:1", "0.0.0.0:0", "[::1]:0"] {
        let heard = setup.told(&setup.text("").replace("127.0.0.1:0", listen)).await;
        let reason = heard.refused.expect("a refusal");
        assert_eq!(reason, "listen cannot change while an instance runs; restart it");
        assert_replay(&first, &setup.post("k1").send().await);
    }
    let heard = setup.told(&setup.text("").replace("\"json\"", "\"text\"")).await;
    assert!(heard.refused.is_some_and(|reason| reason.contains("telemetry.log_format")));
}

/// A store that refuses when it is full has set aside room for answers of a size.
#[tokio::test]
async fn larger_answers_are_refused_where_there_is_no_room_for_them() {
    let full = "store.when_full = \"refuse\"\n";
    let more = |size: &str| format!("{full}defaults.max_response = \"{size}\"");
    let setup = Setup::start(&more("64KiB")).await;
    let reason = setup.refuses(&more("1MiB")).await;
    assert!(reason.contains("max_response cannot change"), "{reason}");
    setup.takes(&more("32KiB")).await;
    let route = "[[route]]\nname = \"a\"\npath = \"/a\"\nmax_response = \"1MiB\"";
    let reason = setup.refuses(&format!("{}\n{route}", more("32KiB"))).await;
    assert!(reason.contains("max_response cannot change"), "{reason}");
}

/// Mistakes are told before anything else, all of them.
#[tokio::test]
async fn mistakes_go_before_what_can_not_change() {
    let setup = Setup::start(BASE).await;
    let mistaken = BASE.replace("authority = true", "authority = 1").replace("\"24h\"", "24");
    let reason = setup.refuses(&format!("workers = 3\n{mistaken}")).await;
    assert!(reason.contains("authority: ") && reason.contains("window: "), "{reason}");
    assert!(reason.ends_with("2 mistakes") && !reason.contains("restart"), "{reason}");
    let long = "x".repeat(300);
    assert_problem(&setup.post(&long).send().await, 400, "key-malformed");
}

/// Where nothing is guarded, no answer was kept that a repeat could miss: a route can be tried out,
/// and switched on, without a restart.
#[tokio::test]
async fn what_is_not_guarded_may_get_other_keys() {
    let setup = Setup::start("defaults.mode = \"off\"").await;
    let charges = |mode: &str, key: &str| {
        format!(
            "defaults.mode = \"off\"\n[[route]]\nname = \"charges\"\npath = \"/charges\"\n\
             mode = \"{mode}\"\nkey = [{key}]\n"
        )
    };
    for (mode, key) in [
        ("observe", "\"checksum\""),
        ("observe", "\"header:Request-ID\""),
        ("off", "\"header:X-Key\""),
        ("enforce", "\"header:Idempotency-Key\""),
    ] {
        setup.takes(&charges(mode, key)).await;
    }
    let first = setup.post("k1").send().await;
    assert_replay(&first, &setup.post("k1").send().await);
    for reason in
        [setup.refuses(&charges("enforce", "\"checksum\"")).await, setup.refuses("").await]
    {
        assert!(reason.contains("`key`"), "{reason}");
        assert_replay(&first, &setup.post("k1").send().await);
    }
    assert_eq!(setup.origin.hits(), 1);
}
