//! Whose request it is: two callers with the same key are two operations, and one caller is one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{assert_one_operation, assert_own_operations, assert_refused, assert_unguarded, told};
use crate::support::{Answer, Origin, Proxy, Request, assert_executed, client};

const MISSING: (u16, &str) = (400, "caller-missing");

/// A proxy that knows callers by these sources.
async fn known_by(origin: &Origin, sources: &[&str]) -> Proxy {
    told(origin, &format!("[defaults]\ncaller = {sources:?}\n")).await
}

/// The same request of any caller: its key and its body tell nothing apart.
fn event(proxy: &Proxy) -> Request {
    client(proxy).post("/events").key("k1").body("10")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Two users whose events have the same id are two: neither's is dropped for the other's.
#[tokio::test]
async fn one_message_id_of_two_callers_is_two_operations() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "[defaults]\nkey = [\"json:/messageId\"]\n").await;
    let track = |caller: &str| {
        let body = r#"{"op":"track-m1","messageId":"m1","event":"paid"}"#;
        client(&proxy).post("/v1/track").caller(caller).body(body)
    };
    assert_own_operations(&origin, ["alice", "bob", "carol"].map(track)).await;
    assert_eq!(origin.executions("track-m1"), 3);
    for caller in ["alice", "bob", "carol"] {
        let repeat = track(caller).send().await;
        assert_eq!(repeat.json()["caller"], format!("Bearer {caller}"));
    }
    assert_eq!(origin.executions("track-m1"), 3);
}

#[tokio::test]
async fn a_header_says_whose_request_it_is() {
    let origin = Origin::start().await;
    let proxy = known_by(&origin, &["header:X-Account", "header:X-User"]).await;
    let of = |account: &str| event(&proxy).header("X-Account", account);
    let user = |user: &str| event(&proxy).header("X-User", user);
    let callers = [
        event(&proxy),
        of("a"),
        of("b"),
        of("A"),
        user("a"),
        of("a").header("X-User", "a"),
        of("a").header("X-User", "b"),
        of("a").header("X-Account", "b"),
        of("b").header("X-Account", "a"),
        of("a, b"),
    ];
    assert_own_operations(&origin, callers).await;
    // What is no source says nothing of the caller: the first one is known by another header.
    let before = origin.hits();
    for token in ["alice", "bob"] {
        assert!(of("a").caller(token).send().await.is_repeat());
    }
    assert_eq!(origin.hits(), before);
}

#[tokio::test]
async fn a_cookie_says_whose_request_it_is() {
    let origin = Origin::start().await;
    let proxy = known_by(&origin, &["cookie:sid"]).await;
    let of = |cookies: &str| event(&proxy).header("Cookie", cookies);
    assert_one_operation(&origin, [of("sid=a"), of("sid=a; seen=1"), of("seen=2;sid=a")]).await;
    assert_own_operations(&origin, [of("sid=b"), of("sid=A"), of("sid=a; sid=b")]).await;
    assert_one_operation(&origin, [of("seen=1"), of("seen=2"), event(&proxy), of("xsid=a")]).await;
}

#[tokio::test]
async fn a_parameter_of_the_query_says_whose_request_it_is() {
    let origin = Origin::start().await;
    let proxy = known_by(&origin, &["query:token"]).await;
    let of = |query: &str| client(&proxy).post(&format!("/events{query}")).key("k1").body("10");
    let callers = ["?token=a", "?token=b", "?token=%61", "?token=a&token=b"];
    assert_own_operations(&origin, callers.map(of)).await;
    // Where the caller is the same, the rest of the query is a part of the request.
    assert_refused(&origin, &of("?token=a&x=1"), (422, "key-reused")).await;
    assert_one_operation(&origin, [of("?x=1"), of("?x=1")]).await;
    assert_refused(&origin, &of("?x=2"), (422, "key-reused")).await;
}

/// The user of Basic credentials is the caller, whatever the password; nobody can pass for them
/// by another scheme.
#[tokio::test]
async fn a_basic_user_is_one_caller_with_any_password() {
    let origin = Origin::start().await;
    let proxy = known_by(&origin, &["basic"]).await;
    let of = |credentials: &str| event(&proxy).header("Authorization", credentials);
    let alice = [basic("alice", "old"), basic("alice", "new"), basic("alice", "")];
    let lower = alice[0].replace("Basic", "basic");
    let same = alice.iter().chain([&lower]).map(|one| of(one));
    assert_one_operation(&origin, same.collect::<Vec<_>>()).await;
    let encoded = STANDARD.encode("alice:old");
    let others = [
        basic("bob", "old"),
        basic("Alice", "old"),
        basic("alic", "e:old"),
        basic("", "alice"),
        format!("Bearer {encoded}"),
        encoded.clone(),
        "Basic alice:old".to_owned(),
        format!("Basic {}", STANDARD.encode("alice")),
        "alice".to_owned(),
    ];
    assert_own_operations(&origin, others.iter().map(|one| of(one))).await;
    let twice = of(&alice[0]).header("Authorization", &alice[1]);
    assert_own_operations(&origin, [twice, event(&proxy)]).await;
    assert!(proxy.log().contains("does not look at the password"), "{}", proxy.log());
}

/// Without a key, credentials count as the caller, and not once more as a part of the request.
#[tokio::test]
async fn a_checksum_leaves_out_what_says_who_calls() {
    let origin = Origin::start().await;
    let proxy = known_by(&origin, &["basic"]).await;
    let post = |user: &str, password: &str| {
        client(&proxy).post("/a").header("Authorization", basic(user, password)).body("10")
    };
    assert_one_operation(&origin, [post("alice", "old"), post("alice", "new")]).await;
    assert_own_operations(&origin, [post("bob", "old")]).await;
    // What does not say who calls is a part of the request like any other.
    let noted = |note: &str| post("alice", "old").header("X-API-Key", note);
    assert_own_operations(&origin, [noted("1"), noted("2")]).await;
}

#[tokio::test]
async fn callers_of_whom_nothing_is_known_share_what_is_not_personal() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "[defaults]\nanonymous = \"share\"\n").await;
    let cookie = || Answer::new(200).header("Set-Cookie", "sid=1").body("ok");
    origin.next(cookie()).next(cookie());
    let first = event(&proxy).send().await;
    assert_eq!(first.header("set-cookie"), Some("sid=1"));
    let repeat = event(&proxy).send().await;
    assert!(repeat.is_repeat() && !repeat.has("set-cookie"), "{repeat:?}");
    let known = || event(&proxy).caller("alice");
    assert_executed(&known().send().await);
    let repeat = known().send().await;
    assert!(repeat.is_repeat(), "{repeat:?}");
    assert_eq!(repeat.header("set-cookie"), Some("sid=1"), "it is hers");
    assert_eq!(origin.hits(), 2);
}

#[tokio::test]
async fn callers_of_whom_nothing_is_known_may_be_refused() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        caller = ["header:X-Account", "cookie:sid"]
        anonymous = "refuse"
        [[route]]
        name = "open"
        path = "/open"
        anonymous = "share"
    "#;
    let proxy = told(&origin, toml).await;
    for request in [
        event(&proxy),
        event(&proxy).caller("alice"),
        event(&proxy).header("Cookie", "other=1"),
        client(&proxy).post("/events").body("x".repeat(100_000)),
        client(&proxy).post("/events").key("two words").body("10"),
    ] {
        let refused = assert_refused(&origin, &request, MISSING).await;
        let detail = refused.json()["detail"].as_str().expect("a detail").to_lowercase();
        assert!(detail.contains("header:x-account") && detail.contains("cookie:sid"), "{detail}");
        assert!(!refused.has("duplicate-key"), "{refused:?}");
    }
    for known in [event(&proxy).header("X-Account", "a"), event(&proxy).header("Cookie", "sid=a")] {
        assert_one_operation(&origin, [known.clone(), known]).await;
    }
    assert_unguarded(&origin, &client(&proxy).get("/events")).await;
    let open = client(&proxy).post("/open").key("k1").body("10");
    assert_one_operation(&origin, [open.clone(), open]).await;
}

#[tokio::test]
async fn callers_of_whom_nothing_is_known_may_pass_unprotected() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "[defaults]\nanonymous = \"pass\"\nmax_request = \"1KiB\"\n").await;
    let large = client(&proxy).post("/events").key("k1").body("x".repeat(5000));
    for request in [event(&proxy), large, client(&proxy).post("/a").key("two words").body("1")] {
        assert_unguarded(&origin, &request).await;
        let passed = request.send().await;
        let mark = passed.header("duplicate-protection");
        assert_eq!(mark, Some("none; reason=\"caller-unknown\""), "{passed:?}");
    }
    let known = event(&proxy).caller("alice");
    assert_one_operation(&origin, [known.clone(), known.clone()]).await;
    assert!(!known.send().await.has("duplicate-protection"));
}

/// A config that tells nobody apart is one that its operator is warned of.
#[tokio::test]
async fn an_empty_list_of_callers_makes_all_of_them_one() {
    let origin = Origin::start().await;
    let toml = r#"
        [[route]]
        name = "shared"
        path = "/shared"
        caller = []
        [[route]]
        name = "off"
        path = "/off"
        caller = []
        mode = "off"
    "#;
    let proxy = told(&origin, toml).await;
    let warns = |route: &str| {
        let log = proxy.log();
        log.lines().any(|line| line.contains("WARN") && line.contains(&format!("\"{route}\"")))
    };
    let log = proxy.log();
    assert!(log.contains("tells no caller from another"), "{log}");
    assert!(warns("shared") && !warns("off") && !warns("default"), "{log}");
    let of = |caller: &str| client(&proxy).post("/shared").caller(caller).key("k1").body("10");
    let cookie = of("alice").header("Cookie", "sid=1");
    assert_one_operation(&origin, [of("alice"), of("bob"), cookie]).await;
}

/// What is empty is the same for everybody, and says nothing of anybody.
#[tokio::test]
async fn empty_credentials_make_nobody_known() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        caller = ["header:Authorization", "header:X-API-Key", "cookie:sid", "query:token"]
        anonymous = "refuse"
    "#;
    let proxy = told(&origin, toml).await;
    let post = |target: &str| client(&proxy).post(target).key("k1").body("10");
    for request in [
        post("/a").header("Authorization", ""),
        post("/a").header("X-API-Key", " "),
        post("/a").header("Cookie", "sid="),
        post("/a?token="),
        post("/a?token"),
    ] {
        assert_refused(&origin, &request, MISSING).await;
    }
}
