//! What stands on the server is read with care.

use std::sync::Arc;

use oncegate::idempotency::Record;
use oncegate::store::{RedisOptions, SealKeys, Store as _, StoreError, Swap};

use super::{Process, essence, options};
use crate::server::Server;
use crate::{key, list};

const OLD: &str = "old:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
const NEW: &str = "new:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n";

fn sealed(options: &RedisOptions, keys: &str) -> RedisOptions {
    RedisOptions { seal_keys: Some(Arc::new(SealKeys::parse(keys).unwrap())), ..options.clone() }
}

/// What the server holds, by name.
fn values(server: &Server, namespace: &str) -> Vec<(String, Vec<u8>)> {
    let mut connection = server.connection();
    let pattern = format!("oncegate:{{{namespace}:*");
    let names: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut connection).unwrap();
    names
        .into_iter()
        .map(|name| {
            let value = redis::cmd("GET").arg(&name).query(&mut connection).unwrap();
            (name, value)
        })
        .collect()
}

fn put(server: &Server, name: &str, value: &[u8]) {
    let mut command = redis::cmd("SET");
    let done: redis::RedisResult<()> =
        command.arg(name).arg(value).arg("KEEPTTL").query(&mut server.connection());
    done.unwrap();
}

async fn assert_held(process: &Process, record: &Record, what: &str) {
    let before = process.metrics.corrupt_records.value();
    let found = process.store.load(&key(1)).await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{what}: {found:?}");
    assert_eq!(process.metrics.corrupt_records.value(), before + 1);
    let swapped = process.claim(&key(1), &process.in_flight(99)).await;
    assert!(matches!(swapped, Err(StoreError::Corrupt(_))), "{what}: {swapped:?}");
    let swapped = process.settle(&key(1), &process.completed(record, "late")).await;
    assert!(!matches!(swapped, Ok(Swap::Done)), "{what}: {swapped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_held_and_never_shown() {
    let server = Server::shared();
    let options = options(&server);
    let namespace = options.namespace.clone();
    let writer = Process::new(options.clone()).await;
    let kept = writer.keep(&key(1), 1, "answer").await;
    let [(name, value)] = <[_; 1]>::try_from(values(&server, &namespace)).unwrap();
    let reader = Process::new(options).await;
    // The head is version, kind, form, token, expiry, time; the envelope follows.
    for (index, what) in
        [(0, "version"), (1, "kind"), (2, "form"), (3, "token"), (27, "envelope"), (99, "record")]
    {
        let mut changed = value.clone();
        changed[index] ^= 0x40;
        put(&server, &name, &changed);
        assert_held(&reader, &kept, what).await;
    }
    put(&server, &name, &value[..value.len() - 1]);
    assert_held(&reader, &kept, "cut").await;
    put(&server, &name, &value[..20]);
    assert_held(&reader, &kept, "cut in the head").await;
    put(&server, &name, b"");
    assert_held(&reader, &kept, "empty").await;
    put(&server, &name, &value);
    assert_eq!(essence(reader.load(&key(1)).await.as_ref()), essence(Some(&kept)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_key_is_never_shown() {
    let server = Server::shared();
    let options = options(&server);
    let namespace = options.namespace.clone();
    let process = Process::new(options).await;
    let kept = process.keep(&key(1), 1, "answer").await;
    let [(name, value)] = <[_; 1]>::try_from(values(&server, &namespace)).unwrap();
    let before = name.clone();
    process.keep(&key(2), 2, "other").await;
    for (name, other) in values(&server, &namespace) {
        if name != before {
            assert_ne!(other, value);
            put(&server, &before, &other);
        }
    }
    assert_held(&process, &kept, "another's record").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_encrypted_and_keys_can_be_changed() {
    let server = Server::shared();
    let options = options(&server);
    let old = Process::new(sealed(&options, OLD)).await;
    let kept = old.keep(&key(1), 1, "a word to look for").await;
    for (_, value) in values(&server, &options.namespace) {
        assert!(!value.windows(4).any(|window| window == b"word"));
    }
    let both = Process::new(sealed(&options, &format!("{NEW}{OLD}"))).await;
    assert_eq!(essence(both.load(&key(1)).await.as_ref()), essence(Some(&kept)));
    let newer = both.keep(&key(2), 2, "newer").await;
    let claim = both.in_flight(3);
    assert_eq!(both.claim(&key(3), &claim).await, Ok(Swap::Done));
    both.store.renew(&[(key(3), claim.token)]).await.unwrap();

    let new = Process::new(sealed(&options, NEW)).await;
    assert_eq!(essence(new.load(&key(2)).await.as_ref()), essence(Some(&newer)));
    assert_eq!(essence(new.load(&key(3)).await.as_ref()), essence(Some(&claim)));
    assert_held(&new, &kept, "a key that is gone").await;
    assert_held(&Process::new(options.clone()).await, &kept, "no key").await;

    let plain = Process::new(options.clone()).await;
    plain.keep(&key(4), 4, "plain").await;
    assert!(matches!(new.store.load(&key(4)).await, Err(StoreError::Corrupt(_))));
    let before = new.metrics.corrupt_records.value();
    let whole = list::all_of(&*new.store, new.clock.now(), 1).await;
    assert_eq!((whole.keys(), whole.unreadable), ([key(2), key(3)].into(), 2));
    assert_eq!(new.metrics.corrupt_records.value(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_nothing_of_others() {
    let server = Server::start(&[]);
    let options = |namespace: &str| RedisOptions {
        url: server.url(),
        namespace: namespace.into(),
        ..RedisOptions::default()
    };
    let names = ["a", "aa", "a.b", ""];
    for number in 0..700 {
        server.ask(&["SET", &format!("other:{number}"), "x"]);
        server.ask(&["SET", &format!("oncegate:{{a:{number}}}"), "x"]);
    }
    let mut processes = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        let process = Process::new(options(name)).await;
        for of in 0..20 {
            process.keep(&key(number * 100 + of), 1, name).await;
        }
        processes.push(process);
    }
    for (number, process) in processes.iter().enumerate() {
        let whole = list::all_of(&*process.store, process.clock.now(), 6).await;
        assert_eq!((whole.records.len(), whole.unreadable), (20, 0), "{}", names[number]);
        assert_eq!(whole.keys(), (0..20).map(|of| key(number * 100 + of)).collect());
    }
}
