//! What a config file can ask for: routes, keys, callers, comparisons, outcomes, and being watched.

mod beyond;
mod callers;
mod check;
mod compare;
mod explain;
mod forwarded;
mod joined;
mod observe;
mod outcomes;
mod routes;
mod sizes;
mod sources;
mod tokens;
mod waiting;
mod watched;

use serde_json::Value;

use crate::support::{
    Origin, Proxy, Reply, Request, assert_executed, assert_marked, assert_problem, assert_replay,
};

/// A proxy before this origin that was told this.
async fn told(origin: &Origin, toml: &str) -> Proxy {
    Proxy::before(origin).toml(toml).start().await
}

/// The request as it is sent, for the message of a test that fails.
fn shown(request: &Request) -> String {
    String::from_utf8_lossy(&request.bytes()).into_owned()
}

/// Fails unless the first of these is executed, and all others get its answer.
async fn assert_one_operation(origin: &Origin, requests: impl IntoIterator<Item = Request>) {
    let before = origin.hits();
    let mut requests = requests.into_iter();
    let request = requests.next().expect("a request");
    let first = request.clone().send().await;
    assert_eq!(origin.hits(), before + 1, "not executed: {}\n{first:?}", shown(&request));
    assert_executed(&first);
    for request in requests {
        let repeat = request.clone().send().await;
        let said = format!("{}\n{repeat:?}", shown(&request));
        assert_eq!(origin.hits(), before + 1, "executed once more: {said}");
        assert!(repeat.is_repeat(), "no repeat: {said}");
        assert_replay(&first, &repeat);
    }
}

/// Fails unless each of these is an operation of its own, whose repeat gets its answer alone.
async fn assert_own_operations(origin: &Origin, requests: impl IntoIterator<Item = Request>) {
    let requests: Vec<_> = requests.into_iter().collect();
    let mut firsts = Vec::new();
    for request in &requests {
        let before = origin.hits();
        let first = request.clone().send().await;
        assert_eq!(origin.hits(), before + 1, "not executed: {}\n{first:?}", shown(request));
        assert_executed(&first);
        firsts.push(first);
    }
    let hits = origin.hits();
    for (request, first) in requests.into_iter().zip(&firsts) {
        let repeat = request.clone().send().await;
        assert_eq!(origin.hits(), hits, "executed once more: {}\n{repeat:?}", shown(&request));
        assert_replay(first, &repeat);
    }
}

/// Fails unless the request is executed as often as it is sent.
async fn assert_unguarded(origin: &Origin, request: &Request) {
    for _ in 0..2 {
        let before = origin.hits();
        let reply = request.clone().send().await;
        assert_eq!(origin.hits(), before + 1, "not executed: {}\n{reply:?}", shown(request));
        assert_executed(&reply);
    }
}

/// Fails unless the request is refused with this problem, and never reaches the origin.
async fn assert_refused(
    origin: &Origin,
    request: &Request,
    (status, problem): (u16, &str),
) -> Reply {
    let before = origin.heads();
    let refused = request.clone().send().await;
    assert_eq!(refused.status, status, "{}\n{refused:?}", shown(request));
    assert_problem(&refused, status, problem);
    assert_eq!(origin.heads(), before, "sent on: {}", shown(request));
    refused
}

/// The key of an operation that has been executed, as one more request for it is told.
async fn duplicate_key(request: &Request) -> String {
    let repeat = request.clone().send().await;
    assert_marked(&repeat);
    repeat.header("duplicate-key").expect("a mark").to_owned()
}

/// So many lines of the access log, which must be all that it has.
async fn logged(proxy: &Proxy, count: usize) -> Vec<Value> {
    let lines = proxy.access_lines(count).await;
    assert_eq!(lines.len(), count, "{lines:?}");
    lines.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
