//! Streams of messages, which pass as they come.

use serde_json::json;

use super::service::{Service, Way};
use crate::authority::Authority;

/// Each side waits for the other's message before it sends the next: nothing may be held back. A
/// key that was given to a call that streams its answers has no answer to give afterwards.
#[tokio::test]
async fn streams_pass_message_by_message() {
    let authority = Authority::new("Peers");
    let service = Service::start().await;
    let plain = service.setup("http").start().await;
    let secure = service.setup("http").showing(&authority.server()).start().await;
    let mut rounds = 0;
    for way in [Way::plain(&plain), Way::secure(&secure, &authority)] {
        for key in [None, Some(format!("k{rounds}"))] {
            let told = service.told(&way, json!({"do": "streams", "key": key})).await;
            let mut expected = json!({
                "count": ["0", "1", "2"],
                "join": "one two three",
                "chat": ["you said 0", "you said 1", "you said 2", "you said 3", "you said 4"],
            });
            if key.is_some() {
                expected["again"] = json!("FAILED_PRECONDITION answer-not-kept");
            }
            assert_eq!(told, expected, "{way:?} {key:?}");
            rounds += 1;
            for kind in ["count", "join", "chat"] {
                assert_eq!(service.executed(kind), rounds, "{kind}: {way:?} {key:?}");
            }
        }
    }
}
