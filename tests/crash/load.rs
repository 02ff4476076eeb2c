//! Callers that go on while the proxy is killed and comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::{Client, Reply, Request};

const CALLERS: usize = 4;

/// Every request that was sent, and what its caller has had: nothing, or a whole answer.
pub type Sent = BTreeMap<String, Option<Reply>>;

/// Callers that each send one request after another, with a new key each.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Sent>>,
    callers: JoinSet<()>,
}

impl Load {
    /// Begins; names begin with `prefix`.
    pub fn begin(client: &Client, prefix: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(Mutex::new(Sent::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (stop, sent, count) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&count));
            let (client, prefix) = (client.clone(), prefix.to_owned());
            callers.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let name = format!("{prefix}-{}", count.fetch_add(1, Ordering::SeqCst));
                    sent.lock().unwrap().insert(name.clone(), None);
                    match charge(&client, &name).try_send().await {
                        Ok(reply) if !reply.is_cut() => {
                            sent.lock().unwrap().insert(name, Some(reply));
                        }
                        // The proxy is gone.
                        Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            });
        }
        Self { stop, sent, callers }
    }

    /// Lets every caller come to an end, and says what was sent.
    pub async fn end(mut self) -> Sent {
        self.stop.store(true, Ordering::SeqCst);
        while self.callers.join_next().await.is_some() {}
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

/// The request of an operation.
pub fn charge(client: &Client, name: &str) -> Request {
    client.post("/charges").key(name).body(format!("{{\"op\":\"{name}\"}}"))
}
