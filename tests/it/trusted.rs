//! Whom a proxy believes that it speaks for others: the networks of `trusted_hops`.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::{
    Fields, Folder, Origin, Proxy, Request, Starting, assert_executed, assert_problem, client,
    within,
};

/// A network in which no test has its peers.
const ELSEWHERE: &str = "trusted_hops = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n";

/// What a hop before this one says of its caller, and some that is none of that.
const CLAIMS: [(&str, &str); 8] = [
    ("Forwarded", "for=203.0.113.9;proto=https"),
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "bank.example"),
    ("X-Forwarded-User", "alice"),
    ("X-Forwarded-Client-Cert", "Subject=\"CN=alice\""),
    ("X-Real-IP", "203.0.113.9"),
    ("X_Forwarded_For", "203.0.113.9"),
];

fn claiming(request: Request) -> Request {
    let request = request.header("X-Tenant", "7").header("Via", "1.1 edge");
    CLAIMS.iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn before(origin: &Origin, toml: &str) -> Starting {
    Proxy::before(origin).toml(toml)
}

/// Fails unless nothing is left of the claims, and the request looks as if it came from here.
#[track_caller]
fn assert_forgotten(head: &Fields) {
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "api.example"),
        ("x-tenant", "7"),
        ("via", "1.1 edge, 1.1 oncegate"),
    ] {
        assert_eq!(head.all(name), [value.as_bytes()], "{name}: {head:?}");
    }
    for name in
        ["forwarded", "x-forwarded-user", "x-forwarded-client-cert", "x-real-ip", "x_forwarded_for"]
    {
        assert!(!head.has(name), "{name}: {head:?}");
    }
}

#[track_caller]
fn assert_believed(head: &Fields, own: &str) {
    for (name, value) in CLAIMS {
        let expected = match name {
            "X-Forwarded-For" => format!("{value}, {own}"),
            _ => value.to_owned(),
        };
        assert_eq!(head.all(name), [expected.as_bytes()], "{name}: {head:?}");
    }
}

#[tokio::test]
async fn a_hop_that_is_not_trusted_speaks_for_itself() {
    let origin = Origin::start().await;
    let proxy = before(&origin, ELSEWHERE).start().await;
    for request in [client(&proxy).get("/a"), client(&proxy).post("/a").key("k1").body("10")] {
        assert_executed(&claiming(request).send().await);
        assert_forgotten(&origin.last().head);
    }
}

#[tokio::test]
async fn a_hop_that_is_trusted_speaks_for_others() {
    let origin = Origin::start().await;
    for toml in ["", "trusted_hops = [\"192.0.2.7\", \"127.0.0.0/8\"]\n"] {
        let proxy = before(&origin, toml).start().await;
        for request in [client(&proxy).get("/a"), client(&proxy).post("/a").key("k1").body("10")] {
            assert_executed(&claiming(request).send().await);
            assert_believed(&origin.last().head, "127.0.0.1");
        }
    }
}

/// The claims are gone before anything is derived from them: who calls, the checksum, the key.
#[tokio::test]
async fn what_nobody_believes_tells_no_callers_apart() {
    let origin = Origin::start().await;
    let named =
        "[defaults]\nkey = [\"header:X-Forwarded-Id\", \"header:Request-ID\", \"checksum\"]\n";
    let proxy = before(&origin, &format!("{ELSEWHERE}{named}")).start().await;
    for key in [Some("k1"), None] {
        let post = |user: &str| {
            let post = client(&proxy).post("/a").body("10").header("X-Forwarded-User", user);
            let post = post.header("X-Forwarded-Host", user).header("X-Forwarded-Id", user);
            key.into_iter().fold(post, Request::request_id)
        };
        let first = post("alice").send().await;
        assert_executed(&first);
        for user in ["eve", "", "a, b"] {
            let repeat = post(user).send().await;
            assert!(repeat.is_repeat(), "{repeat:?}");
            assert_eq!(repeat.body, first.body);
        }
    }
    assert_eq!(origin.hits(), 2);
    let trusting = before(&origin, named).start().await;
    for user in ["alice", "eve"] {
        let post = client(&trusting).post("/a").body("10").header("X-Forwarded-User", user);
        assert_executed(&post.request_id("k1").send().await);
    }
}

/// Who may not say who calls may not say, either, that others have verified a token.
#[tokio::test]
async fn a_token_counts_as_verified_only_from_a_trusted_hop() {
    let origin = Origin::start().await;
    // {"sub":"alice"} and {"sub":"alice","n":2}: one caller in two tokens.
    let tokens = ["eyJzdWIiOiJhbGljZSJ9", "eyJzdWIiOiJhbGljZSIsIm4iOjJ9"];
    let defaults = "[defaults]\ncaller = [\"jwt:sub\"]\nanonymous = \"refuse\"\n\
                    [jwt]\ntrusted = true\nheader = \"X-Payload\"\n";
    let trusting = before(&origin, defaults).start().await;
    let doubting = before(&origin, &format!("{ELSEWHERE}{defaults}")).start().await;
    let post = |proxy, token| {
        client(proxy).post("/a").key("k1").header("X-Payload", token).body("10").send()
    };
    assert_executed(&post(&trusting, tokens[0]).await);
    assert!(post(&trusting, tokens[1]).await.is_repeat());
    for token in tokens {
        assert_problem(&post(&doubting, token).await, 400, "caller-missing");
    }
    assert_eq!(origin.hits(), 1);
}

/// A6: what is going to be forgotten may not be named by `Connection` either.
#[tokio::test]
async fn connection_may_not_name_what_is_forgotten() {
    let origin = Origin::start().await;
    let proxy = before(&origin, ELSEWHERE).start().await;
    for name in ["X-Forwarded-For", "Forwarded", "x-forwarded-user"] {
        for request in [client(&proxy).get("/a"), client(&proxy).post("/a").key("k1")] {
            let refused = claiming(request).header("Connection", name).send().await;
            assert_problem(&refused, 400, "bad-request");
        }
    }
    assert_eq!(origin.heads(), 0);
}

/// Who can open a Unix socket was let in by its owner.
#[tokio::test]
async fn the_peers_of_a_unix_socket_are_trusted() {
    let origin = Origin::start().await;
    let folder = Folder::new();
    let path = folder.path("in.sock");
    let proxy = Proxy::before(&origin).arg("--listen", &format!("unix:{}", path.display()));
    let proxy = proxy.toml(ELSEWHERE).start().await;
    let mut caller = UnixStream::connect(&path).await.expect("connecting to the socket");
    let request = claiming(client(&proxy).get("/a").header("Connection", "close"));
    caller.write_all(&request.bytes()).await.expect("sending");
    let mut answer = Vec::new();
    within("the answer", caller.read_to_end(&mut answer)).await.expect("reading");
    assert!(answer.starts_with(b"HTTP/1.1 201 "), "{}", answer.escape_ascii());
    assert_believed(&origin.last().head, "unknown");
}
