//! Drawers: records that expire in one span of time stand together, and go together.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fjall::config::{BlockSizePolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};

use crate::clock::Timestamp;

/// The shortest span, about a minute; as a power of two, in milliseconds.
const SPAN_BITS_MIN: u32 = 16;

/// Longer windows have longer spans, of an eighth to a quarter of the window, so that there are few
/// drawers to look at, and a record stays on disk for at most a quarter longer than it counts.
const SPANS_OF_A_WINDOW_BITS: u32 = 3;

/// The most that a drawer keeps in memory before it is written to a file of its own.
const MEMTABLE_BYTES: u64 = 16 << 20;

/// Where in its folder the database has its keyspaces.
const KEYSPACES: &str = "keyspaces";

/// What a record takes besides its value.
const ENTRY_BYTES: u64 = 32;

/// Records that expire in the same span of time: a keyspace that is deleted as a whole.
pub(super) struct Drawer {
    pub(super) keyspace: Keyspace,
    span: Span,
    /// Changed by the writer only, as all that follows.
    records: AtomicU64,
    bytes: AtomicU64,
}

/// A span of time: from `end` so many milliseconds back, as a power of two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span {
    end: u64,
    bits: u32,
}

/// All drawers that there are.
#[derive(Debug)]
pub(super) struct Drawers {
    list: ArcSwap<Vec<Arc<Drawer>>>,
    /// The folder that has a folder for each.
    folder: PathBuf,
}

impl Span {
    /// The span for a record that expires then, if it is written now.
    pub(super) fn of(expires_at: Timestamp, now: Timestamp) -> Self {
        // What is written after its window has a place, too.
        let expires_at = expires_at.max(now).as_millis();
        let remaining = expires_at - now.as_millis();
        let bits = (u64::BITS - remaining.leading_zeros()).saturating_sub(SPANS_OF_A_WINDOW_BITS);
        let bits = bits.max(SPAN_BITS_MIN);
        Self { end: ((expires_at >> bits) + 1).saturating_mul(1 << bits), bits }
    }

    /// Whether a record that expires then belongs here.
    fn holds(self, expires_at: Timestamp) -> bool {
        let expires_at = expires_at.as_millis();
        expires_at < self.end && self.end - expires_at <= 1 << self.bits
    }

    fn name(self) -> String {
        format!("until-{}-{}", self.end, self.bits)
    }

    fn parse(name: &str) -> Option<Self> {
        let (end, bits) = name.strip_prefix("until-")?.split_once('-')?;
        let span = Self { end: end.parse().ok()?, bits: bits.parse().ok()? };
        (span.bits < u64::BITS).then_some(span)
    }
}

impl Drawer {
    /// What a record takes.
    pub(super) const fn weigh(sealed: &[u8]) -> u64 {
        sealed.len() as u64 + ENTRY_BYTES
    }

    /// What its keyspace is called.
    pub(super) fn name(&self) -> String {
        self.span.name()
    }

    /// Whether a record that expires then belongs here.
    pub(super) fn holds(&self, expires_at: Timestamp) -> bool {
        self.span.holds(expires_at)
    }

    /// Whether nothing here counts any more.
    fn has_ended(&self, now: Timestamp) -> bool {
        now.as_millis() > self.span.end
    }

    pub(super) fn add(&self, bytes: u64) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, bytes: u64) {
        for (count, by) in [(&self.records, 1), (&self.bytes, bytes)] {
            let left = count.load(Ordering::Relaxed).saturating_sub(by);
            count.store(left, Ordering::Relaxed);
        }
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What it takes on disk, or will when all of it has been written to files.
    pub(super) fn room(&self) -> u64 {
        self.keyspace.disk_space().max(self.bytes())
    }
}

impl Drawers {
    /// The longest window that a record here may have; none if there is no drawer.
    pub(super) fn longest(&self) -> Duration {
        let bits = self.all().iter().map(|drawer| drawer.span.bits).max();
        bits.map_or(Duration::ZERO, |bits| {
            let longest = 1_u64.checked_shl(bits + SPANS_OF_A_WINDOW_BITS);
            Duration::from_millis(longest.unwrap_or(u64::MAX))
        })
    }

    /// The drawers that the database has.
    ///
    /// The folder is the one that the database stands in.
    pub(super) fn open(folder: &Path, database: &Database) -> fjall::Result<Self> {
        let mut drawers = Vec::new();
        for name in database.list_keyspace_names() {
            let Some(span) = Span::parse(&name) else { continue };
            let keyspace = database.keyspace(&name, options)?;
            let records = AtomicU64::new(keyspace.approximate_len() as u64);
            let bytes = AtomicU64::new(keyspace.disk_space());
            drawers.push(Arc::new(Drawer { keyspace, span, records, bytes }));
        }
        let folder = folder.join(KEYSPACES);
        let drawers = Self { list: ArcSwap::from_pointee(drawers), folder };
        drawers.sort();
        Ok(drawers)
    }

    pub(super) fn all(&self) -> Arc<Vec<Arc<Drawer>>> {
        self.list.load_full()
    }

    /// The drawer for a span, which is made if it is not there.
    pub(super) fn get(&self, span: Span, database: &Database) -> fjall::Result<Arc<Drawer>> {
        let drawers = self.list.load();
        if let Some(drawer) = drawers.iter().find(|drawer| drawer.span == span) {
            return Ok(Arc::clone(drawer));
        }
        let keyspace = database.keyspace(&span.name(), options)?;
        // The database makes sure of what is in the folder of the keyspace, and not that there is
        // one: a loss of power would take along what is written there.
        File::open(&self.folder)?.sync_all()?;
        let (records, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let drawer = Arc::new(Drawer { keyspace, span, records, bytes });
        self.list.store(Arc::new(drawers.iter().chain([&drawer]).map(Arc::clone).collect()));
        self.sort();
        Ok(drawer)
    }

    /// Takes away the drawers in which nothing counts any more.
    pub(super) fn take_ended(&self, now: Timestamp) -> Vec<Arc<Drawer>> {
        let (ended, rest): (Vec<_>, Vec<_>) =
            self.all().iter().cloned().partition(|drawer| drawer.has_ended(now));
        if !ended.is_empty() {
            self.list.store(Arc::new(rest));
        }
        ended
    }

    /// The newest first, where most of what is looked for stands.
    fn sort(&self) {
        let mut drawers = Vec::clone(&self.list.load());
        drawers.sort_by_key(|drawer| std::cmp::Reverse(drawer.span.end));
        self.list.store(Arc::new(drawers));
    }
}

impl fmt::Debug for Drawer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drawer").field("span", &self.span).finish_non_exhaustive()
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        // Most of what is looked for is not there, and that must be known without a read.
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PinningPolicy::all(false))
        .data_block_size_policy(BlockSizePolicy::all(4096))
        // Large answers are written once, and not again whenever their neighbours are sorted.
        .with_kv_separation(Some(KvSeparationOptions::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    #[test]
    fn a_span_holds_what_it_was_made_for_and_ends_soon_after() {
        for exponent in 0..40 {
            for offset in [0, 1, 12_345] {
                let remaining = Duration::from_millis((1 << exponent) + offset);
                let expires_at = NOW.after(remaining);
                let span = Span::of(expires_at, NOW);
                assert!(span.holds(expires_at), "{remaining:?}");
                assert!(span.end > expires_at.as_millis());
                let late = span.end - expires_at.as_millis();
                let most = (remaining.as_millis() / 4).max(1 << SPAN_BITS_MIN);
                assert!(u128::from(late) <= most, "{remaining:?} {span:?}");
                assert_eq!(Span::parse(&span.name()), Some(span));
            }
        }
    }

    #[test]
    fn there_are_few_spans_for_a_window() {
        for window in [60, 3600, 86_400, 7 * 86_400, 365 * 86_400].map(Duration::from_secs) {
            let mut spans = Vec::new();
            for part in 0..1000 {
                let now = NOW.after(window * part / 1000);
                let span = Span::of(now.after(window), now);
                if spans.last() != Some(&span) {
                    spans.push(span);
                }
            }
            assert!(spans.len() <= 17, "{window:?}: {spans:?}");
        }
    }

    #[test]
    fn the_end_of_time_has_a_place() {
        let span = Span::of(Timestamp::MAX, NOW);
        assert_eq!(span.end, u64::MAX);
        assert!(Span::parse(&span.name()).is_some());
        assert_eq!(Span::parse("until-1-64"), None);
        assert_eq!(Span::parse("else"), None);
    }

    #[test]
    fn a_drawer_is_used_only_if_its_folder_is_sure_to_stay() {
        let name = format!("oncegate-drawers-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let database = Database::builder(&path).open().unwrap();
        let span = Span::of(NOW, NOW);
        // A folder in which nothing can be made sure of.
        let drawers = Drawers::open(&path.join("else"), &database).unwrap();
        let refused = drawers.get(span, &database).err();
        let found = drawers.all().len();
        let drawers = Drawers::open(&path, &database).unwrap();
        let taken = drawers.get(span, &database).is_ok();
        drop((drawers, database));
        let _ = fs::remove_dir_all(&path);
        assert!(matches!(refused, Some(fjall::Error::Io(_))), "{refused:?}");
        assert_eq!((found, taken), (0, true));
    }

    #[test]
    fn what_is_late_has_a_place_that_has_not_ended() {
        let span = Span::of(Timestamp::from_millis(5), NOW);
        assert!(span.end > NOW.as_millis());
    }
}
