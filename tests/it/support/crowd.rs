//! Many callers of one request.

use super::{Connection, Proxy, Reply, Request, client};
use super::{assert_executed, assert_marked, assert_same_answer};

/// How many callers share one connection in HTTP/2.
const SHARING: usize = 25;

/// One more caller, with a connection of its own; in HTTP/2 some share one.
async fn another(proxy: &Proxy, callers: &[Connection]) -> Connection {
    match callers.last() {
        Some(last) if !callers.len().is_multiple_of(SHARING) => last.beside().await,
        _ => client(proxy).connect().await,
    }
}

/// Sends the request from so many callers, and leaves all of them waiting in the proxy.
pub async fn outstanding(proxy: &Proxy, request: &Request, count: usize) -> Vec<Connection> {
    let mut callers = Vec::new();
    for _ in 0..count {
        let mut caller = another(proxy, &callers).await;
        request.open_on(&mut caller).await;
        callers.push(caller);
    }
    proxy.has_read_all().await;
    callers
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
