//! Unary calls with a key: executed once, whatever becomes of them and of their callers.

use serde_json::{Value, json};

use super::service::{Called, Service, Way, assert_refused, assert_replayed, called};
use crate::authority::Authority;

/// A call with a key, to do a thing of this name.
fn keyed(name: &str) -> Value {
    json!({"key": name, "ask": {"name": name, "size": 3}})
}

/// A call with a key that ends with these codes, one after the other.
fn ending(name: &str, codes: &[&str], bare: bool) -> Value {
    json!({"key": name, "ask": {"name": name, "codes": codes, "bare": bare}})
}

/// Fails unless a call is executed once over this way, and its repeats are the same.
async fn assert_guarded(service: &Service, way: &Way, name: &str) {
    let called = service.call(way, json!([keyed(name), keyed(name), keyed(name)])).await;
    let [first, repeats @ ..] = &called[..] else { panic!("{called:?}") };
    let message = format!("{name} 1 \0\u{fe}\0\u{fe}\0\u{fe}");
    assert_eq!((first.code.as_str(), &first.message), ("OK", &Some(message)), "{first:?}");
    assert_eq!(first.says("x-first"), Some(name), "{first:?}");
    let twice: Vec<_> = first.first.iter().filter(|(name, _)| name == "x-twice").collect();
    assert_eq!(twice.len(), 2, "{first:?}");
    let last: Vec<_> = first.last.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(last, [("x-count", "1"), ("x-raw-bin", "\0\u{ff}")], "{first:?}");
    for repeat in repeats {
        assert_replayed(first, repeat);
        assert!(repeat.first.iter().any(|(name, _)| name == "duplicate-request"), "{repeat:?}");
    }
    assert_eq!(service.executed(name), 1);
}

#[tokio::test]
async fn a_call_with_a_key_is_executed_once_by_every_way() {
    let authority = Authority::new("Peers");
    let service = Service::start().await;
    let plain = service.setup("http").at_socket().start().await;
    assert_guarded(&service, &Way::plain(&plain), "plain").await;
    assert_guarded(&service, &Way::unix(&plain), "unix").await;
    let secure = service.setup("http").showing(&authority.server()).start().await;
    assert_guarded(&service, &Way::secure(&secure, &authority), "secure").await;
    let service = Service::with(Some(&authority.server()), false, json!({})).await;
    let setup = service.setup("https").showing(&authority.server()).trusting(&authority);
    let secure = setup.start().await;
    assert_guarded(&service, &Way::secure(&secure, &authority), "secure-out").await;
}

#[tokio::test]
async fn calls_without_a_key_are_executed_each() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    let call = json!({"ask": {"name": "unkeyed"}});
    let called = service.call(&Way::plain(&front), json!([call, call])).await;
    assert_eq!(service.executed("unkeyed"), 2);
    assert!(called.iter().all(|call| call.code == "OK" && !call.is_repeat()), "{called:?}");
}

/// A compressed message is a message like any other.
#[tokio::test]
async fn compressed_calls_are_replayed() {
    let service = Service::with(None, true, json!({})).await;
    let front = service.setup("http").start().await;
    let ask = json!({"name": "packed", "size": 50_000});
    let call = json!({"key": "k1", "gzip": true, "pad": 50_000, "ask": ask});
    let called = service.call(&Way::plain(&front), json!([call, call])).await;
    assert_replayed(&called[0], &called[1]);
    let length = called[0].message.as_ref().map(|message| message.chars().count());
    assert_eq!((length, service.executed("packed")), (Some(100_009), 1));
}

/// Errors that say that it makes no sense to try again are replayed as they were.
#[tokio::test]
async fn final_errors_are_replayed() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    let codes = ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"];
    for bare in [false, true] {
        let name = |code: &str| format!("{code}-{bare}");
        let calls = codes.map(|code| ending(&name(code), &[code, "OK"], bare));
        let calls: Vec<_> = calls.iter().flat_map(|call| [call, call]).collect();
        let called = service.call(&Way::plain(&front), json!(calls)).await;
        for (code, pair) in codes.iter().zip(called.chunks(2)) {
            assert_replayed(&pair[0], &pair[1]);
            let details = format!("{}: 100% \u{fc}ber\nit", name(code));
            assert_eq!((&*pair[0].code, &pair[0].details), (*code, &details));
            assert_eq!(pair[0].says("x-raw-bin"), Some("\0\u{ff}"), "{pair:?}");
            assert_eq!(service.executed(&name(code)), 1);
        }
    }
}

/// Errors after which a call may be made again free its key.
#[tokio::test]
async fn passing_errors_free_the_key() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    let codes = [
        "UNAVAILABLE",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "ALREADY_EXISTS",
        "INTERNAL",
        "UNKNOWN",
        "DATA_LOSS",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
    ];
    let calls = codes.map(|code| ending(code, &[code, "OK"], code == "UNAVAILABLE"));
    let calls: Vec<_> = calls.iter().flat_map(|call| [call, call, call]).collect();
    let called = service.call(&Way::plain(&front), json!(calls)).await;
    for (code, three) in codes.iter().zip(called.chunks(3)) {
        assert_eq!((&*three[0].code, three[0].is_repeat()), (*code, false), "{three:?}");
        assert_eq!(three[1].code, "OK", "{three:?}");
        assert_replayed(&three[1], &three[2]);
        assert_eq!(service.executed(code), 2);
    }
}

/// A service that has given up does not know either what became of the call.
#[tokio::test]
async fn a_service_that_gives_up_holds_the_key() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    for code in ["DEADLINE_EXCEEDED", "CANCELLED"] {
        let call = ending(code, &[code, "OK"], false);
        let called = service.call(&Way::plain(&front), json!([call, call])).await;
        assert_eq!(called[0].code, code, "{called:?}");
        assert_refused(&called[1], "FAILED_PRECONDITION", "outcome-unknown");
        assert_eq!(service.executed(code), 1);
    }
}

#[tokio::test]
async fn repeats_at_once_are_executed_once() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    let called = service.call_at_once(&Way::plain(&front), 20, keyed("crowd")).await;
    assert_eq!((called.len(), service.executed("crowd")), (20, 1));
    let (repeats, firsts): (Vec<_>, Vec<_>) = called.iter().partition(|call| call.is_repeat());
    assert_eq!(firsts.len(), 1, "{called:?}");
    for repeat in repeats {
        assert_replayed(firsts[0], repeat);
    }
}

/// The service goes on when its caller has given up, and who asks again gets its answer.
#[tokio::test]
async fn a_call_that_is_given_up_is_executed_once() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    for (name, timeout, code) in
        [("cancelled", None, "CANCELLED"), ("timed-out", Some(1.5), "DEADLINE_EXCEEDED")]
    {
        let ask = json!({"name": name, "gate": format!("{name}-gate")});
        let mut first = json!({"key": name, "ask": ask});
        let again = first.clone();
        if let Some(timeout) = timeout {
            first["timeout"] = json!(timeout);
        }
        let options = json!({"do": "given up", "calls": [first, again, again]});
        let told = service.told(&Way::plain(&front), options).await;
        assert_eq!(told[0], code);
        let repeats = called(&told[1]);
        assert!(repeats.iter().all(Called::is_repeat), "{repeats:?}");
        assert!(repeats.iter().all(|call| call.code == "OK"), "{repeats:?}");
        assert_eq!(repeats[0].message, repeats[1].message);
        assert_eq!(service.executed(name), 1);
    }
}

/// A client that tries again by itself does so after what frees the key.
#[tokio::test]
async fn a_client_that_tries_again_is_served() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    let policy = json!({
        "maxAttempts": 4,
        "initialBackoff": "0.01s",
        "maxBackoff": "0.01s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    });
    let config = json!({"methodConfig": [{"name": [{}], "retryPolicy": policy}]});
    let call = ending("again", &["UNAVAILABLE", "UNAVAILABLE", "OK"], true);
    let options = json!({"do": "in turn", "config": config, "calls": [call, call]});
    let called = called(&service.told(&Way::plain(&front), options).await);
    assert_eq!(called[0].code, "OK", "{called:?}");
    assert_replayed(&called[0], &called[1]);
    assert_eq!(service.executed("again"), 3);
}

/// Services end their connections at a certain age, while calls are under way: each call is
/// executed once, and answered.
#[tokio::test]
async fn connections_that_the_service_ends_are_replaced() {
    let age = json!({"grpc.max_connection_age_ms": 100, "grpc.max_connection_age_grace_ms": 5000});
    let service = Service::with(None, false, age).await;
    let front = service.setup("http").start().await;
    let told = service.told(&Way::plain(&front), json!({"do": "many", "count": 500})).await;
    assert_eq!(told, json!({"OK": 500}));
    for number in 0..500 {
        assert_eq!(service.executed(&format!("one-{number}")), 1, "{number}");
    }
}
