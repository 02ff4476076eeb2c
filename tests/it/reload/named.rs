//! The files that a config names are watched, too: key sets, and secrets.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::Setup;
use crate::support::{Folder, Request, assert_executed, assert_problem, assert_replay, eventually};

const KEYED: &str = "jwt.jwks_file = \"keys.json\"\ndefaults.caller = [\"jwt:sub\"]";

fn secret(name: &str) -> Vec<u8> {
    name.repeat(32).into_bytes()
}

/// A set of the keys of these names, each of one letter.
fn set(names: &[&str]) -> String {
    let key = |name: &&str| -> Value {
        let secret = URL_SAFE_NO_PAD.encode(secret(name));
        json!({"kty": "oct", "alg": "HS256", "kid": name, "k": secret})
    };
    json!({"keys": names.iter().map(key).collect::<Vec<_>>()}).to_string()
}

/// A request with a token that the key of this name has signed; no two tokens are the same.
fn signed(request: Request, name: &str, user: &str, number: usize) -> Request {
    let header = Header { kid: Some(name.to_owned()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(&secret(name));
    let token = encode(&header, &json!({"sub": user, "jti": number}), &key).expect("a token");
    request.caller(&token)
}

#[tokio::test]
async fn a_key_set_is_rotated() {
    let folder = Folder::new();
    folder.write("keys.json", set(&["a"]));
    let setup = Setup::start_in(folder, KEYED).await;
    let by = |name: &str, number| signed(setup.post("k1"), name, "alice", number);
    let first = by("a", 1).send().await;
    assert_replay(&first, &by("a", 2).send().await);
    assert_executed(&by("b", 3).send().await);
    setup.folder.write("keys.json", set(&["a", "b"]));
    setup.hears_taken().await;
    assert_replay(&first, &by("a", 4).send().await);
    assert_replay(&first, &by("b", 5).send().await);
    setup.folder.replace("keys.json", set(&["b"]));
    setup.hears_taken().await;
    assert_replay(&first, &by("b", 6).send().await);
    assert_executed(&by("a", 7).send().await);
    assert_eq!(setup.origin.hits(), 3, "who can't be verified is somebody else");
}

#[tokio::test]
async fn a_bad_key_set_is_not_taken() {
    let folder = Folder::new();
    folder.write("keys.json", set(&["a"]));
    let setup = Setup::start_in(folder, KEYED).await;
    let by = |number| signed(setup.post("k1"), "a", "alice", number);
    let first = by(1).send().await;
    for (number, bad) in ["", "{\"keys\":[]}", "{\"keys\":[{"].into_iter().enumerate() {
        setup.folder.write("keys.json", bad);
        let reason = setup.hears_refused().await;
        assert!(reason.contains("jwks_file: "), "{reason}");
        assert_replay(&first, &by(2 + number).send().await);
    }
    fs::remove_file(setup.folder.path("keys.json")).expect("removing the set");
    let reason = setup.hears_refused().await;
    assert!(reason.contains("can't be read"), "{reason}");
    assert_replay(&first, &by(8).send().await);
    setup.folder.write("keys.json", set(&["a", "c"]));
    setup.hears_taken().await;
    assert_replay(&first, &by(9).send().await);
}

/// A set under another name is as good; it may come later than the config that names it.
#[tokio::test]
async fn a_file_may_come_after_the_config_that_names_it() {
    let folder = Folder::new();
    folder.write("keys.json", set(&["a"]));
    let setup = Setup::start_in(folder, KEYED).await;
    let by = |name: &str, number| signed(setup.post("k1"), name, "alice", number);
    let first = by("a", 1).send().await;
    setup.write(&KEYED.replace("keys.json", "later.json"));
    let reason = setup.hears_refused().await;
    assert!(reason.contains("can't be read"), "{reason}");
    assert_replay(&first, &by("a", 2).send().await);
    setup.folder.write("later.json", set(&["b"]));
    setup.hears_taken().await;
    assert_replay(&first, &by("b", 3).send().await);
    // from here on, it is the new one that is watched
    setup.folder.write("keys.json", set(&["c"]));
    setup.folder.write("later.json", set(&["a", "b"]));
    setup.hears_taken().await;
    assert_replay(&first, &by("a", 4).send().await);
}

/// The same for a mistake in a file that the running config does not name.
#[tokio::test]
async fn a_mistake_in_a_newly_named_file_can_be_corrected_there() {
    let folder = Folder::new();
    folder.write("keys.json", set(&["a"]));
    folder.write("new.json", "nonsense");
    let setup = Setup::start_in(folder, KEYED).await;
    setup.write(&KEYED.replace("keys.json", "new.json"));
    let reason = setup.hears_refused().await;
    assert!(reason.contains("jwks_file: "), "{reason}");
    setup.folder.write("new.json", set(&["b"]));
    setup.hears_taken().await;
    let first = signed(setup.post("k1"), "b", "alice", 1).send().await;
    assert_replay(&first, &signed(setup.post("k1"), "b", "alice", 2).send().await);
}

/// Whoever verifies a token, its user is the same.
#[tokio::test]
async fn what_verifies_tokens_may_be_another() {
    let folder = Folder::new();
    folder.write("keys.json", set(&["a"]));
    folder.write("jwt.secret", secret("b"));
    let setup = Setup::start_in(folder, KEYED).await;
    let by = |name: &str, number| signed(setup.post("k1"), name, "alice", number);
    let first = by("a", 1).send().await;
    let caller = "defaults.caller = [\"jwt:sub\"]";
    let single = "jwt.secret_file = \"jwt.secret\"\njwt.algorithm = \"HS256\"\n";
    setup.takes(&format!("{single}{caller}")).await;
    assert_replay(&first, &by("b", 2).send().await);
    setup.folder.write("jwt.secret", secret("c"));
    setup.hears_taken().await;
    assert_replay(&first, &by("c", 3).send().await);
    let reason = setup.refuses(&format!("jwt.trusted = true\n{caller}")).await;
    assert!(reason.contains("`jwt`"), "{reason}");
    assert_executed(&signed(setup.post("k1"), "c", "bob", 5).send().await);
    assert_eq!(setup.origin.hits(), 2);
}

/// Another secret would give every record another key.
#[tokio::test]
async fn another_secret_is_refused() {
    let folder = Folder::new();
    folder.write("secret", "s".repeat(40));
    let more = "store.secret_file = \"secret\"";
    let setup = Setup::start_in(folder, more).await;
    let first = setup.post("k1").send().await;
    let key = setup.post("k1").send().await.header("duplicate-key").map(str::to_owned);
    for (secret, told) in [
        ("t".repeat(40), "store.secret_file cannot change while an instance runs"),
        ("short".to_owned(), "secret_file"),
        (String::new(), "secret_file"),
    ] {
        setup.folder.write("secret", secret);
        let reason = setup.hears_refused().await;
        assert!(reason.contains(told), "{reason}");
        assert_replay(&first, &setup.post("k1").send().await);
    }
    fs::remove_file(setup.folder.path("secret")).expect("removing the secret");
    let reason = setup.hears_refused().await;
    assert!(reason.contains("can't be read"), "{reason}");
    // a newline at the end is an editor's
    setup.folder.write("secret", "s".repeat(40) + "\n");
    setup.hears_taken().await;
    let repeat = setup.post("k1").send().await;
    assert_replay(&first, &repeat);
    assert_eq!(repeat.header("duplicate-key"), key.as_deref());
    // without a file, the one that was there holds on until the end
    setup.takes("").await;
    assert_replay(&first, &setup.post("k1").send().await);
}

/// A secret of the same content may be in another file.
#[tokio::test]
async fn a_secret_may_move() {
    let folder = Folder::new();
    folder.write("secret", "s".repeat(40));
    folder.write("moved", "s".repeat(40));
    let setup = Setup::start_in(folder, "store.secret_file = \"secret\"").await;
    let first = setup.post("k1").send().await;
    setup.takes("store.secret_file = \"moved\"").await;
    assert_replay(&first, &setup.post("k1").send().await);
    fs::remove_file(setup.folder.path("secret")).expect("removing the old one");
    setup.folder.write("moved", "t".repeat(40));
    setup.hears_refused().await;
    eventually("the same answer", async || setup.post("k1").send().await.is_repeat()).await;
    assert_problem(&setup.post("k1").body("20").send().await, 422, "key-reused");
}
