//! What must be true of a server before it is trusted with records.

use std::time::Duration;

use redis::Value;

use super::link::Link;
use super::names::Names;
use super::options::{RedisOpenError, RedisOptions};
use super::scripts::{EPOCH, PROBE, Run};
use super::trouble::Trouble;
use super::url::Topology;
use crate::clock::Timestamp;
use crate::idempotency::RecordKey;

/// The difference between two clocks that nobody has to hear of.
const SKEW_MAX: Duration = Duration::from_secs(5);

const REDIS_OLDEST: (u64, u64) = (7, 0);
const VALKEY_OLDEST: (u64, u64) = (7, 2);

/// What the server is and how it is set up, as it says itself.
struct Info(Vec<(String, String)>);

impl Info {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Asks a server what it is, and whether it will do. Returns what its process is called, if it is
/// one.
pub(super) async fn check(
    link: &mut Link,
    options: &RedisOptions,
    names: &Names,
) -> Result<Option<String>, Trouble> {
    let mut texts = Vec::new();
    let answer = link.ask(&redis::cmd("INFO")).await?;
    gather_texts(answer, &mut texts);
    for text in &texts {
        check_info(&Info::parse(text), &options.url.topology)?;
    }
    check_rights(link, names).await?;
    Ok(process_of(&texts))
}

/// Asks a server what its process is called, if it is one.
pub(super) async fn process(link: &mut Link) -> Result<Option<String>, Trouble> {
    let mut texts = Vec::new();
    gather_texts(link.ask(redis::cmd("INFO").arg("server")).await?, &mut texts);
    Ok(process_of(&texts))
}

/// What the process is called, if this is said of one.
fn process_of(texts: &[String]) -> Option<String> {
    let [text] = texts else { return None };
    Info::parse(text).get("run_id").map(str::to_owned)
}

/// Takes the answers of all nodes.
fn gather_texts(value: Value, texts: &mut Vec<String>) {
    if let Value::BulkString(bytes) = value {
        texts.push(String::from_utf8_lossy(&bytes).into_owned());
    } else if let Value::VerbatimString { text, .. } | Value::SimpleString(text) = value {
        texts.push(text);
    } else if let Value::Map(nodes) = value {
        for (_, value) in nodes {
            gather_texts(value, texts);
        }
    } else if let Value::Array(values) = value {
        for value in values {
            gather_texts(value, texts);
        }
    }
}

fn check_info(info: &Info, topology: &Topology) -> Result<(), Trouble> {
    let wrong = |error| Err(Trouble::Wrong(error));
    if info.get("loading").is_some_and(|loading| loading != "0") {
        return Err(Trouble::Unreachable("it is loading its data".into()));
    }
    let (product, version, oldest) = match info.get("valkey_version") {
        Some(version) => ("Valkey", version, VALKEY_OLDEST),
        None => ("Redis", info.get("redis_version").unwrap_or("unknown"), REDIS_OLDEST),
    };
    if numbers(version) < oldest {
        return wrong(RedisOpenError::Version(format!("{product} {version}")));
    }
    // Valkey has no `redis_mode`, and not everything that speaks as Redis does says the other.
    let is_clustered =
        info.get("cluster_enabled") == Some("1") || info.get("redis_mode") == Some("cluster");
    match (topology.is_cluster(), is_clustered) {
        (true, false) => {
            return wrong(RedisOpenError::Topology("the server is no part of a cluster"));
        }
        (false, true) => {
            return wrong(RedisOpenError::Topology("the server is part of a cluster"));
        }
        (true, true) | (false, false) => {}
    }
    if info.get("role") == Some("slave") {
        // The Sentinels may not have agreed yet.
        return match matches!(topology, Topology::Sentinel { .. }) {
            true => Err(Trouble::Unreachable("it is a replica".into())),
            false => wrong(RedisOpenError::Replica),
        };
    }
    let policy = info.get("maxmemory_policy").unwrap_or("unknown");
    let is_limited = info.get("maxmemory").is_none_or(|bytes| bytes != "0");
    match (policy, is_limited) {
        ("noeviction", _) => {}
        (_, true) => return wrong(RedisOpenError::Eviction(policy.to_owned())),
        (_, false) => tracing::warn!(
            policy,
            "the maxmemory-policy of the Redis server should be noeviction, in case it is limited"
        ),
    }
    Ok(())
}

async fn check_rights(link: &mut Link, names: &Names) -> Result<(), Trouble> {
    let record = names.record(&RecordKey::from_bytes([0; 32]));
    let run = Run::new(&PROBE, &[&record]).argument(&names.channel);
    let denied = link.ask(&run.whole()).await?;
    let mut texts = Vec::new();
    gather_texts(denied, &mut texts);
    if !texts.is_empty() {
        return Err(Trouble::Wrong(RedisOpenError::Permission(texts.join(", "))));
    }
    link.ask(run.command()).await?;
    Ok(())
}

/// Which data it is, and how far it has come: both go where the data goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) name: Vec<u8>,
    /// How often it was shown. It goes back only with the data.
    pub(super) count: u64,
}

/// Shows the mark of the data, and the server's time. Another is made if there is none, or if the
/// data is older than what is known.
pub(super) fn epoch(
    names: &Names,
    given: &str,
    known: Option<&Mark>,
) -> Result<Run, getrandom::Error> {
    let mut mark = [0; 16];
    getrandom::fill(&mut mark)?;
    let mark = format!("{:032x}", u128::from_be_bytes(mark));
    let run = Run::new(&EPOCH, &[&names.epoch]).argument(given).argument(mark);
    let (name, count) = known.map_or((&[][..], 0), |known| (&known.name, known.count));
    Ok(run.argument(name).argument(count.to_string()))
}

/// Takes apart what [`epoch`] has shown.
pub(super) fn read_epoch(value: Value) -> Option<(Timestamp, Mark)> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(at), Value::BulkString(name), Value::Int(count)] =
        <[Value; 3]>::try_from(parts).ok()?
    else {
        return None;
    };
    let mark = Mark { name, count: u64::try_from(count).ok()? };
    Some((Timestamp::from_millis(u64::try_from(at).ok()?), mark))
}

/// Warns if the server's clock is another than ours. It does no harm, but nobody wants it.
pub(super) fn compare_clocks(theirs: Timestamp, ours: Timestamp) {
    let skew = theirs.since(ours).max(ours.since(theirs));
    if skew > SKEW_MAX {
        tracing::warn!(?skew, "the clock of the Redis server is another than that of this machine");
    }
}

fn numbers(version: &str) -> (u64, u64) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\
        role:master\r\nloading:0\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";

    fn checked(text: &str) -> Result<(), String> {
        let topology = Topology::Unix("/run/redis".into());
        check_info(&Info::parse(text), &topology).map_err(|trouble| trouble.reason())
    }

    #[test]
    fn servers_that_will_do_are_accepted() {
        let valkey = GOOD.replace("redis_version", "redis_version:7.2.4\r\nvalkey_version");
        for text in [
            GOOD.to_owned(),
            GOOD.replace("noeviction", "allkeys-lru"),
            GOOD.replace("maxmemory:0", "maxmemory:1000"),
            GOOD.replace("7.0.15", "10.0"),
            valkey.replace("7.0.15", "7.2.0"),
        ] {
            assert_eq!(checked(&text), Ok(()), "{text}");
        }
    }

    #[test]
    fn servers_that_will_not_do_are_told_why() {
        let valkey = GOOD.replace("redis_version", "redis_version:7.2.4\r\nvalkey_version");
        for (text, word) in [
            (GOOD.replace("7.0.15", "6.2.14"), "Redis 6.2.14"),
            (valkey, "Valkey 7.0.15"),
            (String::new(), "unknown"),
            (GOOD.replace(":0", ":1").replace("noeviction", "x"), "loading"),
            (
                GOOD.replace("maxmemory:0", "maxmemory:9").replace("noeviction", "volatile-lru"),
                "volatile-lru",
            ),
            (GOOD.replace("role:master", "role:slave"), "replica"),
            (GOOD.replace("standalone", "cluster"), "cluster"),
        ] {
            let reason = checked(&text).unwrap_err();
            assert!(reason.contains(word), "{text}: {reason}");
        }
    }
}
