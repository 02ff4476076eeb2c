//! The records on the server, as it goes through them; in a cluster node by node.
//!
//! Of a record with a large answer only the beginning is fetched. If it is encrypted it has to be
//! fetched as a whole, and then only a few are at a time.

use std::mem::take;

use super::core::Core;
use super::nodes::{self, Node, Seen, Way};
use super::options::RedisTime;
use super::value::{self, Glance, Moment};
use crate::clock::Timestamp;
use crate::idempotency::RecordKey;
use crate::store::StoreError;
use crate::store::list::{Cursor, Filling, Listed, Page};

/// The most steps through the keys of servers for one page: others may have keys there, too.
const SCANS_MAX: usize = 100;

/// Of how many records the beginnings are asked for at a time.
const GLANCES_AT_ONCE: usize = 64;

/// How many bytes of whole values are asked for at a time, unless one has more.
const BYTES_AT_ONCE: usize = 1 << 20;

/// After how many bytes of whole values a page ends.
const BYTES_MAX: usize = 64 << 20;

/// The place after all nodes: their names are hexadecimal digits, or nothing.
const END: &str = "~";

/// What was found and not looked at, and where to go on.
struct Walk {
    nodes: Vec<Node>,
    cursor: Cursor,
    /// How many bytes of whole values were asked for.
    bytes: usize,
}

/// What is known of a record so far.
enum Known {
    Gone,
    Unreadable,
    Glance(Glance, usize),
}

pub(super) async fn list(core: &Core, page: &Page) -> Result<Listed, StoreError> {
    let mut filling = Filling::new(page);
    let nodes = core.aside.ask(core, nodes::nodes).await?;
    let mut walk = Walk { nodes, cursor: page.after.clone().unwrap_or_default(), bytes: 0 };
    walk.arrive();
    for _ in 0..SCANS_MAX {
        while !walk.cursor.keys.is_empty() {
            if filling.is_full() || walk.bytes >= BYTES_MAX {
                return Ok(filling.end(Some(walk.cursor)));
            }
            show(core, &mut walk, &mut filling).await?;
        }
        let Some(way) = walk.node() else { return Ok(filling.end(None)) };
        if filling.is_full() {
            break;
        }
        let (at, pattern) = (walk.cursor.at, core.names.pattern());
        let scanned = core.aside.ask(core, |link| nodes::scan(link, way, at, pattern.clone()));
        let (at, names) = scanned.await?;
        let mut keys: Vec<_> = names.iter().filter_map(|name| core.names.key(name)).collect();
        keys.sort_unstable();
        keys.dedup();
        walk.cursor.keys = keys;
        walk.go_on(at);
    }
    let next = Some(walk.cursor).filter(|next| next.place != END || !next.keys.is_empty());
    Ok(filling.end(next))
}

/// Shows the first of what was found, as far as there is room.
async fn show(core: &Core, walk: &mut Walk, filling: &mut Filling<'_>) -> Result<(), StoreError> {
    let count = filling.room().min(GLANCES_AT_ONCE).min(walk.cursor.keys.len());
    let keys = walk.cursor.keys[..count].to_vec();
    let names: Vec<_> = keys.iter().map(|key| core.names.record(key)).collect();
    let way = walk.node().unwrap_or(Way::Any);
    let at = moment(core, core.aside.ask(core, |link| nodes::time(link, way)).await?);
    let seen = core.aside.ask(core, async |link| nodes::beginnings(link, &names).await).await?;
    let known = keys.iter().zip(seen).map(|(key, seen)| glance(core, key, seen, at));
    let mut known: Vec<_> = known.collect();
    let bytes = cut(&mut known);
    walk.bytes += bytes;
    let sealed = |known: &Known| matches!(known, Known::Glance(Glance::Sealed, _));
    let names = names.into_iter().zip(&known).filter(|(_, known)| sealed(known));
    let names: Vec<_> = names.map(|(name, _)| name).collect();
    let mut values = match names.is_empty() {
        true => Vec::new(),
        false => core.aside.ask(core, async |link| nodes::values(link, &names).await).await?,
    }
    .into_iter();
    for (key, known) in walk.cursor.keys.drain(..known.len()).zip(known) {
        let known = if sealed(&known) { whole(core, &key, values.next(), at) } else { known };
        match known {
            // What is not there has gone since.
            Known::Gone => {}
            Known::Unreadable | Known::Glance(Glance::Sealed, _) => filling.look(&key, None),
            Known::Glance(Glance::Whole(record), _) => {
                filling.look(&key, Some(&core.front.counting(&key, record)));
            }
            Known::Glance(Glance::Beginning(mut record, answer_bytes), _) => {
                record.origin = core.front.origin(&key, record.token).or(take(&mut record.origin));
                filling.look_at_beginning(&key, record, answer_bytes);
            }
        }
    }
    Ok(())
}

/// Leaves as many records as may be asked for as a whole at a time, and says how long these are.
fn cut(known: &mut Vec<Known>) -> usize {
    let mut bytes = 0;
    for index in 0..known.len() {
        if let Known::Glance(Glance::Sealed, length) = known[index] {
            if bytes > 0 && bytes + length > BYTES_AT_ONCE {
                known.truncate(index);
                break;
            }
            bytes += length;
        }
    }
    bytes
}

/// What the beginning of a value says. That it can't be read is not counted each time.
fn glance(core: &Core, key: &RecordKey, seen: Seen, at: Moment) -> Known {
    let (value, length) = match seen {
        Seen::Nothing => return Known::Gone,
        Seen::Odd => return Known::Unreadable,
        Seen::Value(value, length) => (value, length),
    };
    let keys = core.options.seal_keys.as_deref();
    let glance = value::glance(key, (&value, length), keys, at);
    glance.map_or(Known::Unreadable, |glance| Known::Glance(glance, length))
}

/// What a whole value says.
fn whole(core: &Core, key: &RecordKey, seen: Option<Seen>, at: Moment) -> Known {
    let Some(Seen::Value(value, _)) = seen else {
        return if seen == Some(Seen::Nothing) { Known::Gone } else { Known::Unreadable };
    };
    let record = value::read(key, &value, core.options.seal_keys.as_deref(), at);
    record.map_or(Known::Unreadable, |record| Known::Glance(Glance::Whole(record), value.len()))
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

fn moment(core: &Core, theirs: u64) -> Moment {
    match core.options.time {
        RedisTime::Server => Moment { theirs, ours: core.clock.now() },
        RedisTime::Own => {
            let ours = core.clock.now();
            Moment { theirs: Timestamp::as_millis(ours), ours }
        }
    }
}
