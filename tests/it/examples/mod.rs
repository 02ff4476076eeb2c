//! The example configs: each is accepted, and does what its comments promise.

mod altcraft;
mod chord;
mod observe;
mod oncegate;
mod routes;
mod senders;
mod transyt;
mod webhooks;

use crate::support::{Origin, Proxy, Request, example, run};

/// An instance that an example tells what to do.
async fn before(origin: &Origin, name: &str) -> Proxy {
    Proxy::before(origin).config(example(name)).start().await
}

/// How many of these requests, sent one after the other, are executed.
async fn executions<const N: usize>(origin: &Origin, requests: [Request; N]) -> usize {
    let before = origin.hits();
    for request in requests {
        assert_eq!(request.send().await.status, 201);
    }
    origin.hits() - before
}

#[tokio::test]
async fn every_example_is_accepted() {
    for (name, warnings) in [
        ("altcraft.toml", 0),
        ("chord.toml", 1),
        ("observe.toml", 0),
        ("oncegate.toml", 0),
        ("transyt.toml", 0),
        ("webhooks.toml", 0),
    ] {
        let path = example(name);
        let ended = run(&["check", "--config", &path.to_string_lossy()], &[]).await;
        assert_eq!(ended.status.code(), Some(0), "{name}: {ended:?}");
        assert!(ended.stdout.starts_with("ROUTE "), "{name}: {}", ended.stdout);
        let warned = ended.stderr.lines().filter(|line| line.starts_with("warning: ")).count();
        assert_eq!((warned, ended.stderr.lines().count()), (warnings, warnings), "{ended:?}");
    }
}
