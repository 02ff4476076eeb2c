//! Where the primary is, as the Sentinels say.

use redis::Value;
use tokio::task::JoinSet;

use super::link::{self, Link};
use super::options::RedisOptions;
use super::trouble::Trouble;
use super::url::Node;

/// Asks all Sentinels where the primary is now, and takes the first answer.
pub(super) async fn resolve(
    options: &RedisOptions,
    sentinels: &[Node],
    primary: &str,
) -> Result<Node, Trouble> {
    let mut asked = JoinSet::new();
    for sentinel in sentinels {
        let (options, sentinel) = (options.clone(), sentinel.clone());
        let primary = primary.to_owned();
        asked.spawn(async move { (ask(&options, &sentinel, &primary).await, sentinel) });
    }
    let mut reasons = Vec::new();
    // One that is not there must not hold the others up; those left over end with the set.
    while let Some(Ok((answer, sentinel))) = asked.join_next().await {
        match answer {
            Ok(Some(node)) => return Ok(node),
            Ok(None) => reasons.push(format!("{sentinel} knows no {primary}")),
            Err(trouble) => reasons.push(format!("{sentinel}: {}", trouble.reason())),
        }
    }
    Err(Trouble::Unreachable(format!("no Sentinel knows the primary: {}", reasons.join("; "))))
}

async fn ask(
    options: &RedisOptions,
    sentinel: &Node,
    primary: &str,
) -> Result<Option<Node>, Trouble> {
    let security = options.url.security;
    let info = link::sentinel_info(sentinel, security, options.sentinel_login.as_ref())?;
    let client = link::client(info, security, &options.tls)?;
    let config = link::config().set_response_timeout(Some(link::CONNECT_TIMEOUT));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    let answer = Link::Node(connection).ask(&command).await?;
    let Value::Array(parts) = answer else { return Ok(None) };
    Ok(node(&parts))
}

fn node(parts: &[Value]) -> Option<Node> {
    let [Value::BulkString(host), Value::BulkString(port)] = parts else { return None };
    let host = String::from_utf8(host.clone()).ok()?;
    let port = std::str::from_utf8(port).ok()?.parse().ok()?;
    Some(Node { host, port })
}
