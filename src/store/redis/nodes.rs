//! The nodes that have records, and what is asked of them to list what they have.

use bytes::Bytes;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::task::JoinSet;

use super::link::Link;
use super::value::BEGINNING_BYTES;

/// How many keys the server looks at in one step.
const SCANNED_AT_ONCE: usize = 100;

/// How a server says that a name stands for something else than a value.
const WRONG_TYPE: &str = "WRONGTYPE";

/// One node, by its name, and how it is asked.
pub(super) type Node = (String, Way);

/// How a node is asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Way {
    /// It is the only one.
    Only,
    /// It has this slot of a cluster.
    Slot(u16),
    /// It is any of a cluster.
    Any,
}

/// What stands under a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// Nothing: it has gone since.
    Nothing,
    /// A value, or its beginning and how long it is.
    Value(Bytes, usize),
    /// Something else.
    Odd,
}

/// All nodes that have records, in an order that stays.
pub(super) async fn nodes(mut link: Link) -> RedisResult<Vec<Node>> {
    if let Link::Node(_) = link {
        return Ok(vec![(String::new(), Way::Only)]);
    }
    let Value::Array(ranges) = link.ask(redis::cmd("CLUSTER").arg("SLOTS")).await? else {
        return Err(odd());
    };
    let mut nodes = Vec::new();
    for range in ranges {
        // The first slot, the last one, and the primary: its address, its port, its name.
        let Value::Array(range) = range else { return Err(odd()) };
        let (Some(Value::Int(slot)), Some(Value::Array(primary))) = (range.first(), range.get(2))
        else {
            return Err(odd());
        };
        let Some(Value::BulkString(name)) = primary.get(2) else { return Err(odd()) };
        let name = String::from_utf8_lossy(name).into_owned();
        nodes.push((name, Way::Slot(u16::try_from(*slot).map_err(|_| odd())?)));
    }
    nodes.sort_unstable();
    nodes.dedup_by(|one, other| one.0 == other.0);
    Ok(nodes)
}

/// Goes one step through the keys of a node.
pub(super) async fn scan(
    mut link: Link,
    way: Way,
    at: u64,
    pattern: String,
) -> RedisResult<(u64, Vec<Bytes>)> {
    let mut command = redis::cmd("SCAN");
    command.arg(at).arg("MATCH").arg(pattern).arg("COUNT").arg(SCANNED_AT_ONCE);
    let Value::Array(parts) = ask_node(&mut link, way, command).await? else { return Err(odd()) };
    let Ok([Value::BulkString(at), Value::Array(names)]) = <[Value; 2]>::try_from(parts) else {
        return Err(odd());
    };
    let at = std::str::from_utf8(&at).ok().and_then(|at| at.parse().ok()).ok_or_else(odd)?;
    let names = names.into_iter().map(|name| {
        let Value::BulkString(name) = name else { return Err(odd()) };
        Ok(name.into())
    });
    Ok((at, names.collect::<RedisResult<_>>()?))
}

/// What time it is there, in milliseconds.
pub(super) async fn time(mut link: Link, way: Way) -> RedisResult<u64> {
    let Value::Array(parts) = ask_node(&mut link, way, redis::cmd("TIME")).await? else {
        return Err(odd());
    };
    let number = |part: Option<&Value>| {
        let Some(Value::BulkString(digits)) = part else { return None };
        std::str::from_utf8(digits).ok()?.parse::<u64>().ok()
    };
    let (seconds, micros) = (number(parts.first()), number(parts.get(1)));
    Ok(seconds.ok_or_else(odd)? * 1000 + micros.ok_or_else(odd)? / 1000)
}

/// The beginnings of values.
pub(super) async fn beginnings(link: Link, names: &[String]) -> RedisResult<Vec<Seen>> {
    let beginning = |name: &String| {
        let mut command = redis::cmd("GETRANGE");
        command.arg(name).arg(0).arg(BEGINNING_BYTES - 1);
        command
    };
    let length = |name: &String| redis::cmd("STRLEN").arg(name).clone();
    let commands = names.iter().flat_map(|name| [beginning(name), length(name)]);
    let mut answers = ask_each(link, commands.collect()).await.into_iter();
    let mut seen = Vec::with_capacity(names.len());
    while let (Some(beginning), Some(length)) = (answers.next(), answers.next()) {
        seen.push(match (beginning, length) {
            (Err(error), _) | (_, Err(error)) if error.code() == Some(WRONG_TYPE) => Seen::Odd,
            (Err(error), _) | (_, Err(error)) => return Err(error),
            (Ok(Value::BulkString(beginning)), Ok(Value::Int(length))) => {
                let length = usize::try_from(length).map_err(|_| odd())?;
                // What is as long as it was asked for may have gone before its length was.
                match beginning.len() < BEGINNING_BYTES || length >= BEGINNING_BYTES {
                    _ if beginning.is_empty() => Seen::Nothing,
                    true => Seen::Value(beginning.into(), length),
                    false => Seen::Nothing,
                }
            }
            (Ok(_), Ok(_)) => return Err(odd()),
        });
    }
    Ok(seen)
}

/// Whole values.
pub(super) async fn values(link: Link, names: &[String]) -> RedisResult<Vec<Seen>> {
    let commands = names.iter().map(|name| redis::cmd("GET").arg(name).clone());
    let answers = ask_each(link, commands.collect()).await.into_iter();
    let seen = answers.map(|answer| match answer {
        Ok(Value::BulkString(value)) => Ok(Seen::Value(value.into(), 0)),
        Ok(Value::Nil) => Ok(Seen::Nothing),
        Ok(_) => Err(odd()),
        Err(error) if error.code() == Some(WRONG_TYPE) => Ok(Seen::Odd),
        Err(error) => Err(error),
    });
    seen.collect()
}

/// Asks several things at once, of whichever nodes have them.
async fn ask_each(mut link: Link, commands: Vec<Cmd>) -> Vec<RedisResult<Value>> {
    let count = commands.len();
    if let Link::Node(_) = link {
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command);
        }
        return match link.ask_all(&mut pipeline).await {
            Ok(values) => values.into_iter().map(Value::extract_error).collect(),
            Err(error) => vec![Err(error)],
        };
    }
    // Each by itself: the client asks several at once only of one node.
    let mut calls = JoinSet::new();
    for (index, command) in commands.into_iter().enumerate() {
        let mut link = link.clone();
        calls.spawn(async move { (index, link.ask(&command).await) });
    }
    let mut answers: Vec<_> = (0..count).map(|_| Err(odd())).collect();
    while let Some(called) = calls.join_next().await {
        if let Ok((index, answer)) = called {
            answers[index] = answer;
        }
    }
    answers
}

async fn ask_node(link: &mut Link, way: Way, command: Cmd) -> RedisResult<Value> {
    let Link::Cluster(cluster) = link else { return link.ask(&command).await };
    let node = match way {
        Way::Slot(slot) => SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master)),
        Way::Only | Way::Any => SingleNodeRoutingInfo::RandomPrimary,
    };
    cluster.route_command(command, RoutingInfo::SingleNode(node)).await
}

fn odd() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "the server has given an odd answer").into()
}
