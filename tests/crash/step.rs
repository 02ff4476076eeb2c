//! The steps of a request, and how the proxy is brought to each before it is killed.

use std::time::Duration;

use crate::support::{Act, Gate, Origin, Proxy, Reply, Request};

/// Where in the life of a request the proxy is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The request has not come whole.
    BeforeClaim,
    /// The key is claimed, and no connection to the API is there yet.
    AfterClaim,
    /// The API has the request, and has not answered.
    AfterSend,
    /// The API is answering, or has just done so.
    AfterAnswer,
    /// The caller has the answer.
    AfterStore,
}

/// What is known of the request at which the proxy was killed.
pub enum Seen {
    /// Its caller has this answer.
    Answer(Box<Reply>),
    /// The API has executed it, and its caller has no answer.
    Executed,
    /// The API has not seen it, and it was claimed.
    Claimed,
    /// It was not claimed.
    Nothing,
}

impl Step {
    /// Brings the request to this step, and kills the proxy there. `number` spreads the moments at
    /// which it is killed.
    pub async fn kill(
        self,
        proxy: &mut Proxy,
        origin: Option<&Origin>,
        request: &Request,
        number: u64,
    ) -> Seen {
        match self {
            Self::BeforeClaim => {
                let cut = usize::try_from(number).unwrap() * 7 % request.bytes().len();
                let _open = request.open_cut(cut).await;
                // Time to be read, or not.
                tokio::time::sleep(Duration::from_millis(number % 10)).await;
                proxy.kill_9().await;
                Seen::Nothing
            }
            Self::AfterClaim => {
                let _open = request.clone().open().await;
                proxy.wait_for_connecting().await;
                proxy.kill_9().await;
                Seen::Claimed
            }
            Self::AfterSend => {
                let origin = origin.expect("the API is there");
                let gate = Gate::shut();
                let operation = operation(request);
                let waits = gate.clone();
                let held = operation.clone();
                origin.respond(move |received| match received.operation() == held {
                    true => Act::Ledger.after(&waits),
                    false => Act::Ledger,
                });
                let _open = request.clone().open().await;
                executed(origin, &operation).await;
                proxy.kill_9().await;
                gate.open();
                Seen::Executed
            }
            Self::AfterAnswer => {
                let origin = origin.expect("the API is there");
                let asked = tokio::spawn(request.clone().try_send());
                executed(origin, &operation(request)).await;
                // A spread of moments from the API's first word to the answer at the caller.
                tokio::time::sleep(Duration::from_micros(number % 40 * 100)).await;
                proxy.kill_9().await;
                match asked.await.unwrap() {
                    Ok(reply) if !reply.is_cut() => Seen::Answer(Box::new(reply)),
                    Ok(_) | Err(_) => Seen::Executed,
                }
            }
            Self::AfterStore => {
                let reply = request.clone().send().await;
                proxy.kill_9().await;
                Seen::Answer(Box::new(reply))
            }
        }
    }
}

/// What the API counts the request as.
pub fn operation(request: &Request) -> String {
    let json: serde_json::Value = serde_json::from_slice(request.body_bytes()).unwrap();
    json["op"].as_str().unwrap().to_owned()
}

async fn executed(origin: &Origin, operation: &str) {
    crate::support::within("the execution", async {
        while origin.executions(operation) == 0 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    })
    .await;
}
