//! Many callers of one request.

use super::{Connection, Proxy, Reply, Request};
use super::{assert_executed, assert_marked, assert_same_answer};

/// Sends the request on so many connections, and leaves all of them waiting in the proxy.
pub async fn outstanding(proxy: &Proxy, request: &Request, count: usize) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(request.clone().open().await);
    }
    proxy.has_read_all().await;
    connections
}

/// The next answer on each of these.
pub async fn read_all(connections: &mut [Connection]) -> Vec<Reply> {
    let mut replies = Vec::new();
    for connection in connections {
        replies.push(connection.read().await);
    }
    replies
}

/// Fails unless one of these is an executed answer and all others are its marked repeats.
#[track_caller]
pub fn assert_one_executed(replies: &[Reply]) {
    let (repeats, executed): (Vec<_>, Vec<_>) = replies.iter().partition(|r| r.is_repeat());
    assert_eq!(executed.len(), 1, "one of {} was executed: {executed:?}", replies.len());
    assert_executed(executed[0]);
    for repeat in repeats {
        assert_marked(repeat);
        assert_same_answer(executed[0], repeat);
    }
}
