//! The records on the server, as it goes through them; in a cluster node by node.

use std::ops::ControlFlow;

use bytes::Bytes;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::task::JoinSet;

use super::core::Core;
use super::link::Link;
use super::options::RedisTime;
use super::value::{self, Moment};
use crate::clock::Timestamp;
use crate::idempotency::{Record, RecordKey};
use crate::store::StoreError;
use crate::store::list::{Cursor, Filling, Listed, Page};

/// How many keys the server looks at in one step.
const SCANNED_AT_ONCE: usize = 100;

/// The most such steps for one page: others may have keys there, too.
const SCANS_MAX: usize = 100;

/// How many records are asked for at a time, with their answers.
const ASKED_AT_ONCE: usize = 16;

/// The place after all nodes: their names are hexadecimal digits, or nothing.
const END: &str = "~";

/// One node, by its name, and how it is asked.
type Node = (String, Way);

/// How a node is asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Way {
    /// It is the only one.
    Only,
    /// It has this slot of a cluster.
    Slot(u16),
    /// It is any of a cluster.
    Any,
}

/// What was found and not looked at, and where to go on.
struct Walk {
    nodes: Vec<Node>,
    cursor: Cursor,
}

pub(super) async fn list(core: &Core, page: &Page) -> Result<Listed, StoreError> {
    let mut filling = Filling::new(page);
    let nodes = core.calls.ask(nodes).await?;
    let mut walk = Walk { nodes, cursor: page.after.clone().unwrap_or_default() };
    walk.arrive();
    for _ in 0..SCANS_MAX {
        if show(core, &mut walk, &mut filling).await?.is_break() {
            break;
        }
        let Some(way) = walk.node() else { return Ok(filling.end(None)) };
        let (at, pattern) = (walk.cursor.at, core.names.pattern());
        let found = core.calls.ask(|link| scan(link, way, at, pattern)).await?;
        let (at, names) = found;
        let mut keys: Vec<_> = names.iter().filter_map(|name| core.names.key(name)).collect();
        keys.sort_unstable();
        keys.dedup();
        walk.cursor.keys = keys;
        walk.go_on(at);
    }
    let next = Some(walk.cursor).filter(|next| next.place != END || !next.keys.is_empty());
    Ok(filling.end(next))
}

/// Shows what was found, as far as there is room.
async fn show(
    core: &Core,
    walk: &mut Walk,
    filling: &mut Filling<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    while !filling.is_full() && !walk.cursor.keys.is_empty() {
        let count = filling.room().min(ASKED_AT_ONCE).min(walk.cursor.keys.len());
        let keys: Vec<_> = walk.cursor.keys.drain(..count).collect();
        let names = keys.iter().map(|key| core.names.record(key)).collect();
        let way = walk.node().unwrap_or(Way::Any);
        let (theirs, values) = core.calls.ask(|link| get(link, way, names)).await?;
        let at = moment(core, theirs);
        for (key, value) in keys.iter().zip(values) {
            if let Value::BulkString(value) = value {
                filling.look(key, read(core, key, &value.into(), at).as_ref());
            } else if value != Value::Nil {
                filling.look(key, None);
            }
            // What is not there has gone since.
        }
    }
    Ok(match filling.is_full() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
}

impl Walk {
    /// Comes to the node of the cursor, or the next one if that is gone.
    fn arrive(&mut self) {
        let place = &self.cursor.place;
        match self.nodes.iter().find(|(name, _)| name >= place) {
            Some((name, _)) if name == place => {}
            Some((name, _)) => (self.cursor.place, self.cursor.at) = (name.clone(), 0),
            None => (self.cursor.place, self.cursor.at) = (END.to_owned(), 0),
        }
    }

    /// How the node is asked that is looked at; nothing after the last one.
    fn node(&self) -> Option<Way> {
        let node = self.nodes.iter().find(|(name, _)| *name == self.cursor.place);
        node.map(|(_, way)| *way)
    }

    /// Goes on from where the node says, which is the next node if it says 0.
    fn go_on(&mut self, at: u64) {
        self.cursor.at = at;
        if at == 0 {
            let place = &self.cursor.place;
            let next = self.nodes.iter().find(|(name, _)| name > place);
            self.cursor.place = next.map_or_else(|| END.to_owned(), |(name, _)| name.clone());
        }
    }
}

/// A record that is only looked at: that it can't be read is not counted each time.
fn read(core: &Core, key: &RecordKey, value: &Bytes, at: Moment) -> Option<Record> {
    let record = value::read(key, value, core.options.seal_keys.as_deref(), at).ok()?;
    Some(core.front.counting(key, record))
}

fn moment(core: &Core, theirs: u64) -> Moment {
    match core.options.time {
        RedisTime::Server => Moment { theirs, ours: core.clock.now() },
        RedisTime::Own => {
            let ours = core.clock.now();
            Moment { theirs: Timestamp::as_millis(ours), ours }
        }
    }
}

/// All nodes that have records, in an order that stays.
async fn nodes(mut link: Link) -> RedisResult<Vec<Node>> {
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
async fn scan(
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

/// The values of records, and what time it is there.
async fn get(mut link: Link, way: Way, names: Vec<String>) -> RedisResult<(u64, Vec<Value>)> {
    let get = |name: &String| redis::cmd("GET").arg(name).clone();
    let mut values = if let Link::Node(_) = link {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("TIME");
        for name in &names {
            pipeline.add_command(get(name));
        }
        link.ask_all(&mut pipeline).await?
    } else {
        // Each by itself: the client asks several at once only of one node.
        let mut values = vec![ask_node(&mut link, way, redis::cmd("TIME")).await?];
        values.resize(names.len() + 1, Value::Nil);
        let mut calls = JoinSet::new();
        for (index, name) in names.iter().enumerate() {
            let (mut link, command) = (link.clone(), get(name));
            calls.spawn(async move { (index, link.ask(&command).await) });
        }
        while let Some(called) = calls.join_next().await {
            let (index, value) = called.map_err(|_| odd())?;
            values[index + 1] = value?;
        }
        values
    };
    let time = time(&values.remove(0)).ok_or_else(odd)?;
    let values: RedisResult<_> = values.into_iter().map(Value::extract_error).collect();
    Ok((time, values?))
}

async fn ask_node(link: &mut Link, way: Way, command: Cmd) -> RedisResult<Value> {
    let Link::Cluster(cluster) = link else { return link.ask(&command).await };
    let node = match way {
        Way::Slot(slot) => SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master)),
        Way::Only | Way::Any => SingleNodeRoutingInfo::RandomPrimary,
    };
    cluster.route_command(command, RoutingInfo::SingleNode(node)).await
}

/// What `TIME` says, in milliseconds.
fn time(value: &Value) -> Option<u64> {
    let Value::Array(parts) = value else { return None };
    let number = |part: &Value| {
        let Value::BulkString(digits) = part else { return None };
        std::str::from_utf8(digits).ok()?.parse::<u64>().ok()
    };
    Some(number(parts.first()?)? * 1000 + number(parts.get(1)?)? / 1000)
}

fn odd() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "the server has given an odd answer").into()
}
