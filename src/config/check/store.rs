//! The store: what is said of one kind says nothing of another.

use std::time::Duration;

use super::tls::pair;
use crate::config::keys::StoreKeys;
use crate::config::mistake::{Located, Mistake, Mistakes, Place};
use crate::config::places::StoreUrl;
use crate::config::units::write_duration;
use crate::config::written::Written;
use crate::store::{Security, WhenFull};

/// How many calls a lease must have room for.
const CALLS_OF_A_LEASE: u32 = 4;

/// The shortest lease.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// Finds what the store has no use for, and what it needs.
pub(super) fn check(written: &Written, mistakes: &mut Mistakes) {
    let (keys, tls) = (&written.store, &written.store_tls);
    pair(&tls.cert_file, &tls.key_file, &tls.unread, mistakes);
    let url = keys.url();
    if keys.unread.contains(&"url") {
        return;
    }
    useless(keys, &url, mistakes);
    lease(keys, mistakes);
    if let Some(full) = keys.when_full.filter(|full| full.value == WhenFull::Refuse)
        && url.value != StoreUrl::Memory
    {
        let text =
            "only answers that are in memory and nowhere else are ever evicted; leave it out";
        mistakes.add(Mistake::new(full.place, "when_full", text));
    }
    if let Some(place) = tls.begin() {
        let by_tls = match &url.value {
            StoreUrl::Redis(url) => url.security == Security::Tls,
            StoreUrl::Memory | StoreUrl::Disk(_) => false,
        };
        if !by_tls {
            let text = format!(
                "nothing is sent by TLS to {}; only to a URL such as rediss://redis.example",
                url.value
            );
            mistakes.add(Mistake::new(place, "tls", text));
        }
    }
    if matches!(url.value, StoreUrl::Redis(_))
        && keys.secret_file.is_none()
        && !keys.unread.contains(&"secret_file")
    {
        let text = "a store.secret_file is needed, the same for every instance: without it, each \
                    would look for the records of its own secret";
        mistakes.add(Mistake::new(url.place, "url", text));
    }
}

/// A claim must live through a few calls that are slow.
fn lease(keys: &StoreKeys, mistakes: &mut Mistakes) {
    let (lease, timeout) = (keys.lease(), keys.timeout());
    let needed = (timeout.value * CALLS_OF_A_LEASE).max(LEASE_MIN);
    let said = [("lease", lease.place), ("timeout", timeout.place)];
    let said = said.into_iter().find(|(_, place)| place.is_said());
    if let Some((name, place)) = said.filter(|_| lease.value < needed) {
        let text = format!(
            "a lease of {} is too short for calls that may take {}: claims would run out while \
             they are renewed; {} or more is needed",
            write_duration(lease.value),
            write_duration(timeout.value),
            write_duration(needed)
        );
        mistakes.add(Mistake::new(place, name, text));
    }
}

/// What is said of another kind of store.
fn useless(keys: &StoreKeys, url: &Located<StoreUrl>, mistakes: &mut Mistakes) {
    let place = |said: Option<Place>, name| said.map(|place| (name, place));
    let of_disk = [
        place(keys.durability.map(|key| key.place), "durability"),
        place(keys.max_disk_bytes.map(|key| key.place), "max_disk_bytes"),
    ];
    let of_redis = [
        place(keys.timeout.map(|key| key.place), "timeout"),
        place(keys.lease.map(|key| key.place), "lease"),
        place(keys.namespace.as_ref().map(|key| key.place), "namespace"),
        place(keys.password_file.as_ref().map(|key| key.place), "password_file"),
        place(keys.seal_key_file.as_ref().map(|key| key.place), "seal_key_file"),
    ];
    let (disk, redis) = match url.value {
        StoreUrl::Memory => (true, true),
        StoreUrl::Disk(_) => (false, true),
        StoreUrl::Redis(_) => (true, false),
    };
    let of_disk = of_disk.into_iter().flatten().filter(|_| disk);
    let of_redis = of_redis.into_iter().flatten().filter(|_| redis);
    let all = of_disk
        .map(|said| (said, "file:///DIR"))
        .chain(of_redis.map(|said| (said, "redis://HOST")));
    for ((name, place), wanted) in all {
        let text = format!("it says nothing of a store like {}; only of {wanted}", url.value);
        mistakes.add(Mistake::new(place, name, text));
    }
}
