//! `examples/oncegate.toml`: what stands there is what holds without it, but for its route.

use super::{before, executions};
use crate::support::{Folder, Origin, Proxy, Request, assert_problem, client, example, run};

const CONFIG: &str = "oncegate.toml";

/// What `oncegate check` shows of the defaults.
async fn defaults(args: &[&str]) -> String {
    let checked = run(&[&["check"], args].concat(), &[]).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let row = checked.stdout.lines().find(|line| line.starts_with("default "));
    row.expect("a row").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_stands_there_is_what_holds_without_it() {
    let path = example(CONFIG);
    let with = defaults(&["--config", &path.to_string_lossy()]).await;
    assert_eq!(with, defaults(&["--upstream", "http://127.0.0.1:3000"]).await);
}

#[tokio::test]
async fn its_route_takes_a_key_and_everything_else_is_as_without_it() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    let refund = |host: &str| client(&proxy).post("/v1/examples/7/refund").host(host).body("10");
    let keyless = refund("api.example");
    assert_eq!(executions(&origin, [keyless.clone(), keyless.clone()]).await, 2);
    let known = |request: &Request| request.clone().key("k1");
    assert_eq!(executions(&origin, [known(&keyless), known(&keyless)]).await, 1);
    let other = refund("other.example");
    assert_eq!(executions(&origin, [other.clone(), other.clone()]).await, 1, "a checksum");
    let reused = known(&keyless).body("20").send().await;
    assert_problem(&reused, 422, "key-reused");
    let short = client(&proxy).post("/v1/examples/7").host("api.example").body("10");
    assert_eq!(executions(&origin, [short.clone(), short]).await, 1, "not the route's path");
}

/// A comment that is a key can be taken out of its comment, as the head of the file says.
#[tokio::test]
async fn every_key_in_a_comment_can_be_set() {
    let folder = Folder::new();
    folder.write("oncegate.secret", "s".repeat(32));
    folder.write("jwt.secret", "s".repeat(32));
    folder.write("jwks.json", r#"{"keys":[]}"#);
    let check = async |edits: &[(&str, &str)]| {
        let config = folder.edited(CONFIG, edits);
        run(&["check", "--config", &config.to_string_lossy()], &[]).await
    };
    for key in ["workers = 2", "secret_file = \"oncegate.secret\"", "oversize = \"reject\""] {
        let checked = check(&[(&format!("# {key}"), key)]).await;
        assert_eq!(checked.status.code(), Some(0), "{key}: {checked:?}");
    }
    let forward = [("# forward_key", "forward_key"), ("# secret_file = \"o", "secret_file = \"o")];
    let checked = check(&forward).await;
    assert_eq!((checked.status.code(), checked.stderr.as_str()), (Some(0), ""), "{checked:?}");
    let only = ("# only_headers", "only_headers");
    let both = check(&[only]).await;
    assert_eq!(both.status.code(), Some(2));
    assert!(both.stderr.contains("only_headers: "), "{both:?}");
    assert_eq!(check(&[only, ("ignore_headers = []\n", "")]).await.status.code(), Some(0));
    let table = [("# [jwt]", "[jwt]"), ("# header = ", "header = "), ("# issuer", "issuer")];
    let by_secret = [("# secret_file = \"jwt", "secret_file = \"jwt")];
    let algorithm = [("# algorithm = \"RS256\"", "algorithm = \"HS256\"")];
    let audience = [("# audience", "audience")];
    let checked = check(&[&table[..], &by_secret, &algorithm, &audience].concat()).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let checked = check(&[&table[..], &[("# trusted = false", "trusted = true")]].concat()).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

/// A flag goes before a variable, and both before the file.
#[tokio::test]
async fn flags_and_variables_go_before_the_file() {
    let origin = Origin::start().await;
    let post = |proxy: &Proxy, length: usize| {
        client(proxy).post("/a").key(format!("k{length}")).body("x".repeat(length))
    };
    let starting = || Proxy::before(&origin).config(example(CONFIG));
    let proxy = starting().env("ONCEGATE_MAX_REQUEST", "10B").start().await;
    assert_eq!(post(&proxy, 10).send().await.status, 201);
    assert_problem(&post(&proxy, 11).send().await, 413, "too-large");
    let proxy = starting().env("ONCEGATE_MAX_REQUEST", "10B").arg("--max-request", "20B");
    let proxy = proxy.start().await;
    assert_eq!(post(&proxy, 20).send().await.status, 201);
    assert_problem(&post(&proxy, 21).send().await, 413, "too-large");
}
