//! What the end of a call does to its key.

use super::{Answer, Call, Client, Grpc, assert_refused, assert_replay, before, texts};

/// What a repeat gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Repeat {
    TheAnswer,
    AnotherCall,
    Unknown,
}

/// A server that ends each call as its path says: `/CODE/message` behind a message, and
/// `/CODE/alone` in a header that is all.
async fn ending() -> Grpc {
    Grpc::start(async |mut call: Call| {
        call.rest().await;
        let path = call.path.clone();
        let mut words = path.trim_start_matches('/').split('/');
        let (code, shape) = (words.next().expect("a code"), words.next().expect("a shape"));
        match shape {
            "message" => call.answer(&format!("reply {}", call.number), code),
            "steered" => {
                let keep = ("oncegate-keep", words.next().expect("how"));
                let grpc = ("content-type", "application/grpc");
                call.header_alone(200, &[grpc, ("grpc-status", code), keep]);
            }
            _ => {
                let grpc = ("content-type", "application/grpc");
                call.header_alone(200, &[grpc, ("grpc-status", code), ("grpc-message", "no")]);
            }
        }
    })
    .await
}

#[track_caller]
fn assert_repeat(first: &Answer, repeat: &Answer, calls: usize, expected: Repeat) {
    match expected {
        Repeat::TheAnswer => assert_replay(first, repeat),
        Repeat::AnotherCall => assert!(!repeat.headers.contains_key("duplicate-request")),
        Repeat::Unknown => assert_refused(repeat, 9, "outcome-unknown"),
    }
    let expected = if expected == Repeat::AnotherCall { 2 } else { 1 };
    assert_eq!(calls, expected, "{first:?}");
}

/// Every code counts as the HTTP status that says the same, wherever it is said.
#[tokio::test]
async fn a_call_counts_as_the_status_of_its_code() {
    use Repeat::{AnotherCall, TheAnswer, Unknown};
    let origin = ending().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let codes = [
        ("0", TheAnswer),
        ("1", Unknown),
        ("2", AnotherCall),
        ("3", TheAnswer),
        ("4", Unknown),
        ("5", TheAnswer),
        ("6", AnotherCall),
        ("7", AnotherCall),
        ("8", AnotherCall),
        ("9", TheAnswer),
        ("10", AnotherCall),
        ("11", TheAnswer),
        ("12", AnotherCall),
        ("13", AnotherCall),
        ("14", AnotherCall),
        ("15", AnotherCall),
        ("16", AnotherCall),
        ("99", AnotherCall),
    ];
    for (code, expected) in codes {
        for shape in ["message", "alone"] {
            let path = format!("/{code}/{shape}");
            let first = client.call(&path).key("k").send("order").await;
            assert_eq!((first.status, first.code()), (200, Some(code)), "{first:?}");
            assert_eq!(first.is_header_alone, shape == "alone", "{first:?}");
            let repeat = client.call(&path).key("k").send("order").await;
            assert_repeat(&first, &repeat, origin.calls(&path), expected);
        }
    }
}

/// A route's rules hold for the status that a code counts as.
#[tokio::test]
async fn a_route_says_what_a_code_does() {
    use Repeat::{AnotherCall, TheAnswer, Unknown};
    let origin = ending().await;
    let config = "[defaults]\nkeep = [503]\nrelease = [404]\nhold = [501]\n";
    let proxy = before(&origin).toml(config).start().await;
    let client = Client::to(&proxy).await;
    for (code, expected) in [("14", TheAnswer), ("5", AnotherCall), ("12", Unknown)] {
        let path = format!("/{code}/message");
        let first = client.call(&path).key("k").send("order").await;
        let repeat = client.call(&path).key("k").send("order").await;
        assert_repeat(&first, &repeat, origin.calls(&path), expected);
    }
}

/// What the server says itself of keeping goes before that.
#[tokio::test]
async fn a_server_may_steer() {
    use Repeat::{AnotherCall, TheAnswer};
    let origin = ending().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    for (path, expected) in [("/14/steered/60", TheAnswer), ("/0/steered/no", AnotherCall)] {
        let first = client.call(path).key("k").send("order").await;
        assert_eq!(texts(&first.headers, "oncegate-keep"), [""; 0]);
        let repeat = client.call(path).key("k").send("order").await;
        assert_repeat(&first, &repeat, origin.calls(path), expected);
    }
}

/// An answer that ends in good order but does not say how the call has ended has lost its end:
/// it is passed on, and nobody knows what became of the call.
#[tokio::test]
async fn an_answer_without_a_code_holds_its_key() {
    let origin = Grpc::start(async |mut call: Call| {
        call.rest().await;
        let mut answering = call.begin();
        answering.message("half of it");
        match call.path.as_str() {
            "/bare" => answering.end_bare(),
            _ => answering.end_with(&[("x-other", b"1")]),
        }
    })
    .await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    for path in ["/bare", "/other"] {
        let first = client.call(path).key("k").send("order").await;
        assert_eq!((first.texts(), first.code()), (vec!["half of it".to_owned()], None));
        let repeat = client.call(path).key("k").send("order").await;
        assert_refused(&repeat, 9, "outcome-unknown");
        assert_eq!(origin.calls(path), 1);
    }
}

/// What is no answer of gRPC's, such as that of a load balancer, counts by its own status.
#[tokio::test]
async fn an_answer_of_somebody_else_counts_by_its_status() {
    use Repeat::{AnotherCall, TheAnswer, Unknown};
    let origin = Grpc::start(async |mut call: Call| {
        call.rest().await;
        let status = call.path.trim_start_matches('/').parse().expect("a status");
        call.header_alone(status, &[("content-type", "text/html")]);
    })
    .await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    for (path, expected) in [("/503", AnotherCall), ("/502", Unknown), ("/404", TheAnswer)] {
        let first = client.call(path).key("k").send("order").await;
        assert_eq!(first.status.to_string(), path[1..]);
        let repeat = client.call(path).key("k").send("order").await;
        assert_repeat(&first, &repeat, origin.calls(path), expected);
    }
}
