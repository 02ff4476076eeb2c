//! What a server must be like, and what is said of one that is not.

use std::sync::{Arc, Mutex};

use oncegate::clock::Clock;
use oncegate::store::{
    Login, Password, RedisOpenError, RedisOptions, RedisStore, Store as _, Swap,
};
use oncegate::telemetry::Metrics;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Process, options, refused, until};
use crate::key;
use crate::server::{Folder, Server, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_may_come() {
    let server = Server::start(&[]);
    server.end();
    let process = Process::new(options(&server)).await;
    let trouble = process.store.trouble();
    assert!(trouble.is_some());
    assert!(super::is_unavailable(&process.store.load(&key(1)).await));
    server.start_again();
    process.claim_at_last(&key(1), &process.in_flight(1)).await;
    assert_eq!(process.store.trouble(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drops_records_is_refused() {
    let server = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = refused(options(&server)).await;
    assert_eq!(error, RedisOpenError::Eviction("allkeys-lru".into()));
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let process = Process::new(options(&server)).await;
    process.keep(&key(1), 1, "answer").await;
    // It is found out later, too.
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("it is refused", async || {
        process.store.trouble().is_some_and(|reason| reason.contains("volatile-ttl"))
    })
    .await;
    let swapped = process.claim(&key(2), &process.in_flight(2)).await;
    assert!(super::is_unavailable(&swapped), "{swapped:?}");
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    process.claim_at_last(&key(2), &process.in_flight(2)).await;
}

/// A server of which only the version is known.
async fn pretend(listener: UnixListener, info: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer_all(stream, info));
    }
}

async fn answer_all(stream: UnixStream, info: &'static str) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let parts: usize = line.trim().strip_prefix('*')?.parse().ok()?;
        let mut words = Vec::new();
        for _ in 0..parts {
            line.clear();
            stream.read_line(&mut line).await.ok()?;
            let length: usize = line.trim().strip_prefix('$')?.parse().ok()?;
            let mut word = vec![0; length + 2];
            stream.read_exact(&mut word).await.ok()?;
            words.push(String::from_utf8_lossy(&word[..length]).into_owned());
        }
        let answer = match words[0].as_str() {
            "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            "INFO" => format!("${}\r\n{info}\r\n", info.len()),
            _ => "+OK\r\n".to_owned(),
        };
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_refused() {
    let folder = Folder::new();
    let path = folder.path().join("s");
    let info = "redis_version:6.2.14\r\nredis_mode:standalone\r\nrole:master\r\n";
    let server = tokio::spawn(pretend(UnixListener::bind(&path).unwrap(), info));
    let url = format!("redis+unix://{}", path.display()).parse().unwrap();
    let error = refused(RedisOptions { url, ..RedisOptions::default() }).await;
    assert_eq!(error, RedisOpenError::Version("Redis 6.2.14".into()));
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_refused() {
    let server = Server::start(&["--replicaof", "127.0.0.1", &free_port().to_string()]);
    assert_eq!(refused(options(&server)).await, RedisOpenError::Replica);
}

/// What a user must be allowed to do.
const RIGHTS: [&str; 14] = [
    "+info",
    "+eval",
    "+evalsha",
    "+subscribe",
    "+publish",
    "+get",
    "+getrange",
    "+set",
    "+setrange",
    "+del",
    "+pexpire",
    "+pttl",
    "+time",
    "+wait",
];

fn make_user(server: &Server, rights: &[&str], namespace: &str) {
    let (keys, channels) =
        (format!("~oncegate:{{{namespace}*"), format!("&oncegate:{namespace}:*"));
    let fixed = ["ACL", "SETUSER", "gate", "reset", "on", ">secret", &keys, &channels];
    server.ask(&[&fixed, rights].concat());
}

fn login() -> Login {
    Login { user: Some("gate".into()), password: Password::new("secret".into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rights_are_enough_and_a_missing_one_is_named() {
    let server = Server::start(&[]);
    let asked = RedisOptions { login: Some(login()), ..options(&server) };
    make_user(&server, &RIGHTS[..13], &asked.namespace);
    let process = Process::new(asked.clone()).await;
    process.keep(&key(1), 1, "answer").await;
    let claim = process.in_flight(2);
    assert_eq!(process.claim(&key(2), &claim).await, Ok(Swap::Done));
    process.store.renew(&[(key(2), claim.token)]).await.unwrap();
    process.load(&key(2)).await;
    assert_eq!(process.release(&key(2), &claim).await, Ok(Swap::Done));
    let lists = [&RIGHTS[..13], &["+scan", "+strlen"]].concat();
    make_user(&server, &lists, &asked.namespace);
    let lister = Process::new(asked.clone()).await;
    let whole = crate::list::all_of(&*lister.store, lister.clock.now(), 10).await;
    assert_eq!(whole.records.len(), 1);
    drop((process, lister));
    for (index, right) in RIGHTS[..13].iter().enumerate() {
        let mut rights = RIGHTS[..13].to_vec();
        rights.remove(index);
        make_user(&server, &rights, &asked.namespace);
        let error = refused(asked.clone()).await;
        let RedisOpenError::Permission(named) = &error else { panic!("{right}: {error}") };
        assert!(named.to_lowercase().contains(&right[1..]), "{right}: {named}");
    }
    make_user(&server, &RIGHTS, "elsewhere");
    let error = refused(asked.clone()).await;
    assert!(matches!(error, RedisOpenError::Permission(_)), "{error}");
    let wrong = Login { password: Password::new("wrong".into()), ..login() };
    let error = refused(RedisOptions { login: Some(wrong), ..asked.clone() }).await;
    assert!(matches!(&error, RedisOpenError::Login(_)), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_and_the_database_of_the_url_are_used() {
    let server = Server::start(&[]);
    let mut connection = server.connection();
    crate::server::ask(&mut connection, &["CONFIG", "SET", "requirepass", "s:cret"]);
    let path = server.socket().display().to_string();
    let asked = |user: &str| RedisOptions {
        url: format!("redis+unix://{user}{path}?db=3").parse().unwrap(),
        ..options(&server)
    };
    for user in ["", ":wrong@", "other:s%3acret@"] {
        let error = refused(asked(user)).await;
        assert!(matches!(&error, RedisOpenError::Login(_)), "{user}: {error}");
        assert!(!error.to_string().contains("cret"), "{error}");
    }
    for user in [":s%3acret@", "default:s%3acret@"] {
        let process = Process::new(asked(user)).await;
        process.keep(&key(1), 1, "answer").await;
    }
    crate::server::ask(&mut connection, &["SELECT", "3"]);
    let size = crate::server::ask(&mut connection, &["DBSIZE"]);
    // Two records, and a mark for each namespace.
    assert_eq!(size, redis::Value::Int(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_options_are_refused() {
    let server = Server::shared();
    for namespace in ["a b", "}", "a:b", &"a".repeat(65)] {
        let asked = RedisOptions { namespace: namespace.to_owned(), ..options(&server) };
        assert_eq!(refused(asked).await, RedisOpenError::Namespace);
    }
    let asked = RedisOptions { connections: 0, ..options(&server) };
    assert_eq!(refused(asked).await, RedisOpenError::Zero("connections"));
}

/// What the process has logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_the_server_repeats_is_told_to_nobody() {
    let layer = tracing_subscriber::fmt::layer().with_writer(|| Log);
    let log = tracing_subscriber::registry().with(LevelFilter::DEBUG).with(layer);
    log.try_init().expect("no other case has a log");
    let server = Server::start(&["--rename-command", "HELLO", ""]);
    server.ask(&["CONFIG", "SET", "requirepass", "s3cretpass"]);
    let password = Login { user: None, password: Password::new("s3cretpass".into()) };
    let asked = RedisOptions { login: Some(password), ..options(&server) };
    let store =
        RedisStore::connect(asked, Clock::system(), Arc::new(Metrics::default())).await.unwrap();
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("unknown command 'HELLO'"), "{trouble}");
    let refused = store.load(&key(1)).await.unwrap_err().to_string();
    for told in [trouble, refused, format!("{store:?}")] {
        assert!(!told.contains("s3cret"), "{told}");
    }
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    assert!(log.contains("unknown command 'HELLO'"), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}
