//! Callers that tokens name, and those who forge them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::{assert_one_operation, assert_own_operations, assert_refused};
use crate::support::{Origin, Proxy, Request, Starting, client};

const SECRET: &str = "a secret of thirty-two characters";
const ISSUER: &str = include_str!("fixtures/issuer.pem");
const ISSUER_PUBLIC: &str = include_str!("fixtures/issuer-public.pem");
const FORGER: &str = include_str!("fixtures/forger.pem");

/// Long after anybody runs this, and long before.
const FUTURE: u64 = 32_503_680_000;
const PAST: u64 = 978_307_200;

fn rsa(pem: &str) -> EncodingKey {
    let lines: Vec<_> = pem.lines().filter(|line| !line.starts_with('-')).collect();
    EncodingKey::from_rsa_der(&STANDARD.decode(lines.concat()).expect("base64"))
}

fn secret(secret: &str) -> EncodingKey {
    EncodingKey::from_secret(secret.as_bytes())
}

/// A token with exactly this header and payload.
fn sign(algorithm: Algorithm, key: &EncodingKey, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).expect("a signature");
    format!("{message}.{signature}")
}

/// A token that says this.
fn token(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    sign(algorithm, key, &json!({"alg": algorithm, "typ": "JWT"}).to_string(), &claims.to_string())
}

fn hs256(claims: &Value) -> String {
    token(Algorithm::HS256, &secret(SECRET), claims)
}

/// What a token of this subject says, the number telling it from others of the same.
fn claims(subject: &str, number: u32) -> Value {
    json!({"sub": subject, "iat": number, "jti": format!("t{number}"), "exp": FUTURE})
}

/// A proxy that knows callers by the `sub` of tokens, as this table `[jwt]` verifies them.
fn by_token(origin: &Origin, jwt: &str) -> Starting {
    let toml = format!("[jwt]\n{jwt}\n[defaults]\ncaller = [\"jwt:sub\"]\n");
    Proxy::before(origin).file("secret", SECRET).file("key.pem", ISSUER_PUBLIC).toml(&toml)
}

const BY_SECRET: &str = "secret_file = \"secret\"\nalgorithm = \"HS256\"";
const BY_KEY: &str = "public_key_file = \"key.pem\"\nalgorithm = \"RS256\"";

/// The same request of any caller: its key and its body tell nothing apart.
fn of(proxy: &Proxy, token: &str) -> Request {
    client(proxy).post("/events").key("k1").caller(token).body("10")
}

/// Fails unless each of these tokens is a caller who shares nothing with the owner of the genuine
/// ones or with one another, whoever comes first.
async fn assert_apart(origin: &Origin, proxy: &Proxy, genuine: [String; 2], forged: Vec<String>) {
    for (key, genuine_first) in [("k2", true), ("k3", false)] {
        let request =
            |token: &String| client(proxy).post("/events").key(key).caller(token).body("10");
        let owner = || genuine.iter().map(request).collect::<Vec<_>>();
        if genuine_first {
            assert_one_operation(origin, owner()).await;
        }
        assert_own_operations(origin, forged.iter().map(request)).await;
        if !genuine_first {
            assert_one_operation(origin, owner()).await;
        }
    }
}

#[tokio::test]
async fn two_tokens_of_one_subject_are_one_caller() {
    let origin = Origin::start().await;
    let set = |key: &EncodingKey, id: &str| {
        let mut jwk = Jwk::from_encoding_key(key, Algorithm::RS256).expect("a key");
        jwk.common.key_id = Some(id.to_owned());
        serde_json::to_value(jwk).expect("JSON")
    };
    let keys = json!({"keys": [set(&rsa(ISSUER), "2026-01"), {"kty": "unknown"}]}).to_string();
    let (hmac, issuer) = (secret(SECRET), rsa(ISSUER));
    for (jwt, algorithm, key) in [
        (BY_SECRET, Algorithm::HS256, &hmac),
        (BY_KEY, Algorithm::RS256, &issuer),
        ("jwks_file = \"keys.json\"", Algorithm::RS256, &issuer),
    ] {
        let proxy = by_token(&origin, jwt).file("keys.json", &keys).start().await;
        let header = json!({"alg": algorithm, "kid": "2026-01"}).to_string();
        let one = |subject: &str, number: u32| {
            let token = sign(algorithm, key, &header, &claims(subject, number).to_string());
            of(&proxy, &token)
        };
        assert_one_operation(&origin, [one("alice", 1), one("alice", 2), one("alice", 1)]).await;
        assert_own_operations(&origin, [one("bob", 1), one("Alice", 1), one("alice ", 1)]).await;
        let kidless = token(algorithm, key, &claims("alice", 3));
        assert!(of(&proxy, &kidless).send().await.is_repeat(), "{jwt}");
        let bare = client(&proxy).post("/events").key("k1").body("10");
        let bare = bare.header("Authorization", &kidless);
        assert!(bare.send().await.is_repeat(), "a token may stand alone: {jwt}");
    }
    assert_eq!(origin.hits(), 12);
}

/// Without a key, too: the token is left out of the checksum, and whom it names is not.
#[tokio::test]
async fn two_tokens_of_one_subject_have_one_checksum() {
    let origin = Origin::start().await;
    let proxy = by_token(&origin, BY_SECRET).start().await;
    let post = |subject: &str, number: u32| {
        let token = hs256(&claims(subject, number));
        client(&proxy).post("/events").caller(&token).body("10")
    };
    assert_one_operation(&origin, [post("alice", 1), post("alice", 2)]).await;
    assert_own_operations(&origin, [post("bob", 1)]).await;
}

/// Who says who they are is part of whom they name; so is the type of the claim.
#[tokio::test]
async fn subjects_of_two_issuers_are_two_callers() {
    let origin = Origin::start().await;
    let proxy = by_token(&origin, BY_SECRET).start().await;
    let said = [
        json!({"sub": "1"}),
        json!({"sub": 1}),
        json!({"sub": "1", "iss": "https://a.example"}),
        json!({"sub": "1", "iss": "https://b.example"}),
        json!({"sub": 1, "iss": "https://b.example"}),
    ];
    assert_own_operations(&origin, said.iter().map(|claims| of(&proxy, &hs256(claims)))).await;
    let again = json!({"iss": "https://b.example", "exp": FUTURE, "sub": "1"});
    assert!(of(&proxy, &hs256(&again)).send().await.is_repeat());
}

#[tokio::test]
async fn forged_and_invalid_tokens_share_with_nobody() {
    let origin = Origin::start().await;
    let proxy = by_token(&origin, BY_SECRET).start().await;
    let genuine = [1, 2].map(|number| hs256(&claims("alice", number)));
    let alice = claims("alice", 1).to_string();
    let with = |more: Value| {
        let mut all = claims("alice", 9);
        for (name, value) in more.as_object().expect("an object") {
            all[name] = value.clone();
        }
        hs256(&all)
    };
    let key = secret(SECRET);
    let signature_of = |token: &str| token.rsplit_once('.').expect("a dot").1.to_owned();
    let unsigned = genuine[0].rsplit_once('.').expect("a dot").0.to_owned();
    let bobs = hs256(&claims("bob", 1));
    let header = |text: &str| sign(Algorithm::HS256, &key, text, &alice);
    let doubled = alice.replacen('{', r#"{"sub":"alice","#, 1);
    let forged = vec![
        token(Algorithm::HS256, &secret("another secret of 32 characters!"), &claims("alice", 1)),
        token(Algorithm::HS384, &key, &claims("alice", 1)),
        format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
            URL_SAFE_NO_PAD.encode(&alice)
        ),
        format!("{unsigned}."),
        format!("{unsigned}.{}", signature_of(&bobs)),
        unsigned,
        header(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#),
        header(r#"{"typ":"JWT"}"#),
        sign(Algorithm::HS256, &key, r#"{"alg":"HS256"}"#, &doubled),
        with(json!({"exp": PAST})),
        with(json!({"exp": "never"})),
        with(json!({"nbf": FUTURE})),
        with(json!({"sub": ""})),
        with(json!({"sub": null})),
        with(json!({"sub": {"alice": 1}})),
        with(json!({"sub": ["alice"]})),
        hs256(&json!({"user": "alice"})),
        format!("{}x", genuine[0]),
        "alice".to_owned(),
        "a.b.c".to_owned(),
    ];
    assert_apart(&origin, &proxy, genuine, forged).await;
}

#[tokio::test]
async fn tokens_of_other_keys_than_the_issuers_share_with_nobody() {
    let origin = Origin::start().await;
    let (issuer, other) = (rsa(ISSUER), rsa(FORGER));
    let jwk = |key: &EncodingKey| {
        let mut jwk = Jwk::from_encoding_key(key, Algorithm::RS256).expect("a key");
        jwk.common.key_id = Some("main".to_owned());
        serde_json::to_value(jwk).expect("JSON")
    };
    let keys = json!({"keys": [jwk(&issuer)]}).to_string();
    let alice = claims("alice", 1);
    let signed =
        |header: &Value| sign(Algorithm::RS256, &other, &header.to_string(), &alice.to_string());
    let forged = || {
        vec![
            token(Algorithm::RS256, &other, &alice),
            signed(&json!({"alg": "RS256", "kid": "main"})),
            signed(&json!({"alg": "RS256", "kid": "forgers"})),
            signed(&json!({"alg": "RS256", "jwk": jwk(&other)})),
            signed(&json!({"alg": "RS256", "jku": "https://forger.example/keys"})),
            token(Algorithm::HS256, &secret(ISSUER_PUBLIC), &alice),
            token(Algorithm::HS256, &secret(ISSUER_PUBLIC.trim_end()), &alice),
            token(Algorithm::PS256, &issuer, &alice),
        ]
    };
    for jwt in [BY_KEY, "jwks_file = \"keys.json\""] {
        let proxy = by_token(&origin, jwt).file("keys.json", &keys).start().await;
        let genuine =
            [1, 2].map(|number| token(Algorithm::RS256, &issuer, &claims("alice", number)));
        assert_apart(&origin, &proxy, genuine, forged()).await;
    }
}

#[tokio::test]
async fn tokens_of_another_issuer_or_for_another_audience_share_with_nobody() {
    let origin = Origin::start().await;
    let jwt = format!("{BY_SECRET}\nissuer = \"https://issuer.example\"\naudience = \"api\"");
    let proxy = by_token(&origin, &jwt).start().await;
    let with = |number: u32, issuer: &str, audience: Value| {
        let mut claims = claims("alice", number);
        claims["iss"] = issuer.into();
        claims["aud"] = audience;
        hs256(&claims)
    };
    let right = "https://issuer.example";
    let genuine = [with(1, right, json!("api")), with(2, right, json!(["web", "api"]))];
    let others = vec![
        with(1, "https://issuer.example/", json!("api")),
        with(1, right, json!("web")),
        with(1, right, json!(["web"])),
        with(1, right, json!([])),
        hs256(&claims("alice", 1)),
    ];
    assert_apart(&origin, &proxy, genuine, others).await;
}

/// Where a hop before has verified the token, what it says is believed as it is.
#[tokio::test]
async fn a_header_of_a_trusted_hop_is_believed() {
    let origin = Origin::start().await;
    let proxy = by_token(&origin, "trusted = true\nheader = \"X-Jwt-Payload\"").start().await;
    let of = |payload: &str| {
        let post = client(&proxy).post("/events").key("k1").body("10");
        post.header("X-Jwt-Payload", payload)
    };
    let payload =
        |subject: &str, number: u32| URL_SAFE_NO_PAD.encode(claims(subject, number).to_string());
    let whole = format!("e30.{}.unverified", payload("alice", 2));
    let padded = STANDARD.encode(r#"{"sub":"alice"}"#.to_owned() + " ");
    let alice =
        [of(&payload("alice", 1)), of(&whole), of(&padded), of(&hs256(&claims("alice", 3)))];
    let tokened = alice[0].clone().caller("any");
    assert_one_operation(&origin, alice.into_iter().chain([tokened])).await;
    assert_own_operations(&origin, [of(&payload("bob", 1)), of("alice"), of(&payload("", 1))])
        .await;
    let unknown = || client(&proxy).post("/events").key("k1").body("10");
    assert_one_operation(&origin, [unknown(), unknown().caller("bob")]).await;
}

/// What is no token at all tells nobody who the caller is, and is not taken for anybody's.
#[tokio::test]
async fn without_a_token_a_caller_is_not_known() {
    let origin = Origin::start().await;
    let refusing =
        format!("[jwt]\n{BY_SECRET}\n[defaults]\ncaller = [\"jwt:sub\"]\nanonymous = \"refuse\"\n");
    let refusing = Proxy::before(&origin).file("secret", SECRET).toml(&refusing).start().await;
    let post = |proxy: &Proxy, name: &str, value: &str| {
        client(proxy).post("/events").key("k1").header(name, value).body("10")
    };
    let missing = (400, "caller-missing");
    for nothing in ["", "Bearer", "bearer "] {
        assert_refused(&origin, &post(&refusing, "Authorization", nothing), missing).await;
    }
    assert_refused(&origin, &post(&refusing, "X-API-Key", "1"), missing).await;
    let sharing = by_token(&origin, BY_SECRET).start().await;
    let alice = of(&sharing, &hs256(&claims("alice", 1)));
    let other = |value: &str| post(&sharing, "Authorization", value);
    let others = ["Basic YWxpY2U6cHc=", "Basic Ym9iOnB3", "Digest username=alice"].map(other);
    assert_own_operations(&origin, others.into_iter().chain([alice])).await;
}
