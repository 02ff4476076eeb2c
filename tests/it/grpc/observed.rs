//! Calls that are only observed.

use super::{Call, Client, Grpc, before, message};

const OBSERVE: &str = "[defaults]\nmode = \"observe\"\n";

/// Every call is made, and what would have been a repeat is told.
#[tokio::test]
async fn observed_calls_are_made_and_told_of() {
    let origin = Grpc::start(async |mut call: Call| {
        call.rest().await;
        match call.path.as_str() {
            "/failing" => call.header_alone(200, &[("grpc-status", "14")]),
            _ => {
                let mut answering = call.begin();
                answering.message("reply");
                answering.end("0");
            }
        }
    })
    .await;
    let proxy = before(&origin).toml(OBSERVE).arg("--access-log", "all").start().await;
    let client = Client::to(&proxy).await;
    for (path, code) in [("/place", "0"), ("/failing", "14")] {
        for calls in 1..=2 {
            let answer = client.call(path).key("k1").send("order").await;
            assert_eq!((answer.code(), answer.reset), (Some(code), None));
            assert_eq!(origin.calls(path), calls);
        }
    }
    let lines = proxy.access_lines(4).await;
    let would_be = lines.iter().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        line["would_be"].as_str().map(str::to_owned)
    });
    // One that has failed would have been made again.
    assert_eq!(would_be.collect::<Vec<_>>(), [None, Some("replayed".to_owned()), None, None]);
}

/// Streams go on as they come, with a key as without.
#[tokio::test]
async fn observed_streams_pass() {
    let origin = Grpc::start(async |mut call: Call| {
        let mut answering = call.begin();
        while let Some(message) = call.message().await {
            answering.message(&String::from_utf8_lossy(&message));
        }
        answering.end("0");
    })
    .await;
    let proxy = before(&origin).toml(OBSERVE).start().await;
    let client = Client::to(&proxy).await;
    for calls in 1..=2 {
        let mut open = client.call("/chat").key("k1").open().await;
        open.message("a");
        open.message("b");
        let (mut begun, mut stream) = open.begun().await;
        assert_eq!(begun.message().await, b"a");
        assert_eq!(begun.message().await, b"b");
        stream.send_data(message("c").into(), true).expect("the proxy takes it");
        let answer = begun.whole().await;
        assert_eq!((answer.texts(), answer.code()), (vec!["c".to_owned()], Some("0")));
        assert_eq!((answer.reset, origin.calls("/chat")), (None, calls));
    }
}
