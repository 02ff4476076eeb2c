//! What lies at the edges of a policy: bodies that grow, callers that prove nothing, methods that are
//! not what they seem.

use crate::support::{
    Answer, Origin, Proxy, assert_executed, assert_problem, assert_replay, client, gzip,
};

const LOOKS_INSIDE: &str = "[[route]]\nname = \"inside\"\npath = \"/inside\"\n\
    key = [\"json:/id\", \"checksum\"]\nignore_json = [\"/sentAt\"]\nmax_request = \"64KiB\"\n";

fn large(sent_at: usize, bytes: usize) -> Vec<u8> {
    let filler = " ".repeat(bytes);
    gzip(format!("{{\"id\":\"a\",{filler}\"sentAt\":{sent_at}}}").as_bytes(), 0)
}

/// The limit of a request is one for what was sent: what is in it is found, however far it unpacks.
#[tokio::test]
async fn a_body_may_unpack_to_more_than_may_be_sent() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).toml(LOOKS_INSIDE).start().await;
    let post = |sent_at| {
        let post = client(&proxy).post("/inside").header("Content-Encoding", "gzip");
        post.body(large(sent_at, 1 << 20))
    };
    let first = post(1).send().await;
    assert_replay(&first, &post(2).send().await);
    assert_eq!(origin.hits(), 1);
}

/// A body that can't be looked into for its size is too large: its key would be missed.
#[tokio::test]
async fn a_body_that_unpacks_to_too_much_is_too_large() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).toml(LOOKS_INSIDE).start().await;
    let post = client(&proxy).post("/inside").header("Content-Encoding", "gzip");
    let reply = post.body(large(1, 33 << 20)).send().await;
    assert_problem(&reply, 413, "too-large");
    assert_eq!(origin.hits(), 0);
}

/// Bodies that unpack take their room of what all bodies may take.
#[tokio::test]
async fn a_body_that_unpacks_to_more_than_there_is_room_for_is_refused() {
    let origin = Origin::start().await;
    let starting = Proxy::before(&origin).toml(LOOKS_INSIDE).arg("--max-buffered", "1MiB");
    let proxy = starting.start().await;
    let post = client(&proxy).post("/inside").header("Content-Encoding", "gzip");
    let reply = post.body(large(1, 2 << 20)).send().await;
    assert_problem(&reply, 503, "busy");
    assert_eq!(origin.hits(), 0);
}

/// Headers that say nothing make nobody known, and nobody gets a cookie on their account.
#[tokio::test]
async fn empty_credentials_are_no_credentials() {
    let origin = Origin::start().await;
    origin.always(Answer::new(200).header("Set-Cookie", "session=1").body("ok"));
    let toml = "[[route]]\nname = \"members\"\npath = \"/members\"\nanonymous = \"refuse\"\n";
    let proxy = Proxy::before(&origin).toml(toml).start().await;
    for (number, (name, value)) in
        [("Authorization", ""), ("X-API-Key", "  "), ("Cookie", "")].into_iter().enumerate()
    {
        let post = |path: &str| {
            let post = client(&proxy).post(path).header(name, value);
            post.key(format!("k{number}")).body("10")
        };
        let first = post("/a").send().await;
        let repeat = post("/a").send().await;
        assert!(first.has("set-cookie") && repeat.is_repeat(), "{repeat:?}");
        assert!(!repeat.has("set-cookie"), "{repeat:?}");
        assert_problem(&post("/members").send().await, 400, "caller-missing");
    }
}

/// A request that asks for another method than its own goes by the rules of that one, and is not the
/// same operation as one that asks for a third.
#[tokio::test]
async fn a_method_that_is_asked_for_has_its_own_route_and_record() {
    let origin = Origin::start().await;
    let toml = "[defaults]\nmode = \"off\"\n[[route]]\nname = \"pay\"\npath = \"/pay\"\n\
                methods = [\"POST\"]\nkey = [\"header:Idempotency-Key\"]\nrequire_key = true\n\
                mode = \"enforce\"\n[[route]]\nname = \"a\"\npath = \"/a\"\nmode = \"enforce\"\n";
    let proxy = Proxy::before(&origin).toml(toml).start().await;
    let get = client(&proxy).get("/pay").header("X-HTTP-Method-Override", "post");
    assert_problem(&get.send().await, 400, "key-missing");
    let post = |method: &str| {
        client(&proxy).post("/a").header("X-HTTP-Method-Override", method).key("k1").body("1")
    };
    assert_executed(&post("PATCH").send().await);
    let first = post("DELETE").send().await;
    assert_executed(&first);
    assert_replay(&first, &post("DELETE").send().await);
    assert_eq!(origin.hits(), 2);
}

/// What is guarded and has no key passes, and is told so.
#[tokio::test]
async fn a_request_without_a_key_is_told_that_it_is_not_protected() {
    let origin = Origin::start().await;
    let toml = "[defaults]\nkey = [\"header:Idempotency-Key\"]\n";
    let proxy = Proxy::before(&origin).toml(toml).start().await;
    let reply = client(&proxy).post("/a").body("10").send().await;
    assert_eq!(reply.header("duplicate-protection"), Some("none; reason=\"key-missing\""));
    assert!(!client(&proxy).get("/a").send().await.has("duplicate-protection"));
}

/// A failure that can't be kept gives the key back, and one that nobody can judge holds it.
#[tokio::test]
async fn streamed_answers_are_judged_by_their_status() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (status, then) in
        [(503, None), (200, Some("answer-not-kept")), (502, Some("outcome-unknown"))]
    {
        let post = || client(&proxy).post("/a").key(format!("k{status}")).body("10");
        origin.next(Answer::new(status).body("until the end").until_close());
        assert_eq!(post().send().await.status, status);
        let repeat = post().send().await;
        match then {
            None => assert_executed(&repeat),
            Some(problem) => assert_problem(&repeat, 409, problem),
        }
    }
}
