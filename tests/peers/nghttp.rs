//! nghttp2's clients: many streams of one connection, and many connections.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::authority::Authority;
use crate::front::{Front, Setup};
use crate::program::Program;
use crate::support::{Answer, Folder, Origin};

/// What one stream was answered: its fields, pseudo-header fields included.
type Fields = BTreeMap<String, String>;

/// The answers that `nghttp -v` tells of, in the order of their streams.
fn answers(said: &str) -> Vec<Fields> {
    let mut streams: BTreeMap<u32, Fields> = BTreeMap::new();
    for line in said.lines() {
        let Some((_, rest)) = line.split_once(" recv (stream_id=") else { continue };
        let Some((id, field)) = rest.split_once(") ") else { continue };
        let id = id.split(',').next().and_then(|id| id.parse().ok()).expect("a stream's number");
        let (name, value) = field.rsplit_once(": ").expect("a field has a value");
        streams.entry(id).or_default().insert(name.to_owned(), value.to_owned());
    }
    streams.into_values().collect()
}

/// How many of these answers have each status.
fn statuses(answers: &[Fields]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer[":status"].as_str()).or_default() += 1;
    }
    counts
}

fn repeats(answers: &[Fields]) -> usize {
    answers.iter().filter(|answer| answer.contains_key("duplicate-request")).count()
}

/// Runs `nghttp` in the host that tests ask for.
async fn nghttp(args: &[&str]) -> String {
    let nghttp = Program::new("nghttp").args(["-y", "-H", ":authority: api.example"]);
    nghttp.args(args).run().await.well().text()
}

/// A file with so many bytes.
fn file(folder: &Folder, bytes: usize) -> PathBuf {
    let bytes: Vec<u8> = (0..bytes).map(|number| number.to_le_bytes()[0] & 0x7f).collect();
    folder.write("data", bytes).into()
}

/// A proxy without TLS, and one with it: what their URLs begin with.
async fn fronts(origin: &Origin, authority: &Authority) -> [(String, Front); 2] {
    let plain = Setup::before(origin).at_socket().start().await;
    let secure = Setup::before(origin).showing(&authority.server()).start().await;
    [
        (format!("http://{}", plain.addr()), plain),
        (format!("https://localhost:{}", secure.addr().port()), secure),
    ]
}

#[tokio::test]
async fn streams_of_one_connection_are_answered_each() {
    let (origin, authority) = (Origin::start().await, Authority::new("Peers"));
    for (number, (base, _front)) in fronts(&origin, &authority).await.iter().enumerate() {
        let urls: Vec<_> = (0..30).map(|path| format!("{base}/{number}/{path}")).collect();
        let args: Vec<_> = ["-nv"].into_iter().chain(urls.iter().map(String::as_str)).collect();
        let answers = answers(&nghttp(&args).await);
        assert_eq!(statuses(&answers), [("201", 30)].into(), "{answers:?}");
        assert_eq!((repeats(&answers), origin.hits()), (0, 30 * (number + 1)));
    }
    assert_eq!(origin.executions_max(), 1);
}

#[tokio::test]
async fn repeats_on_one_connection_are_executed_once() {
    let (origin, authority) = (Origin::start().await, Authority::new("Peers"));
    let folder = Folder::new();
    let data = file(&folder, 100_000);
    let data = data.to_str().expect("a path that is text");
    origin.always(Answer::new(200).body("stored\n"));
    for (number, (base, _front)) in fronts(&origin, &authority).await.iter().enumerate() {
        let url = format!("{base}/files");
        let post = ["-m", "20", "-d", data, "-H", "idempotency-key: k1", &url];
        let answers = answers(&nghttp(&[&["-nv"], &post[..]].concat()).await);
        assert_eq!(statuses(&answers), [("200", 20)].into(), "{answers:?}");
        assert_eq!((repeats(&answers), origin.hits()), (19, number + 1));
        assert_eq!(nghttp(&post).await, "stored\n".repeat(20));
        assert_eq!(origin.hits(), number + 1);
    }
}

/// However the frames of a request are cut, it is one request.
#[tokio::test]
async fn ways_to_frame_a_request_are_one() {
    const WAYS: [&[&str]; 7] = [
        &[],
        &["--no-content-length"],
        &["--continuation"],
        &["--padding", "200"],
        &["--trailer", "x-checksum: 1"],
        &["--expect-continue"],
        &["--no-dep", "--window-bits", "14", "--header-table-size", "0"],
    ];
    let (origin, authority) = (Origin::start().await, Authority::new("Peers"));
    let folder = Folder::new();
    let data = file(&folder, 200_000);
    let bytes = std::fs::read(&data).expect("reading a file");
    let data = data.to_str().expect("a path that is text");
    origin.always(Answer::new(200).body(&bytes));
    for (number, (base, _front)) in fronts(&origin, &authority).await.iter().enumerate() {
        let url = format!("{base}/files");
        for way in WAYS {
            let post = [way, &["-d", data, "-H", "idempotency-key: k1", &url]].concat();
            assert!(nghttp(&post).await.as_bytes() == bytes, "{way:?}");
            let passed = [way, &["-d", data, "-H", ":method: REPORT", &url]].concat();
            assert!(nghttp(&passed).await.as_bytes() == bytes, "{way:?}");
        }
        assert_eq!(origin.hits(), (1 + WAYS.len()) * (number + 1));
    }
    assert!(origin.requests().iter().all(|request| request.body == bytes));
}

/// A stream that is refused is answered all the same, and the others go on.
#[tokio::test]
async fn a_refusal_is_read_while_the_body_is_still_sent() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let data = file(&folder, 300_000);
    let data = data.to_str().expect("a path that is text");
    let limit = "[defaults]\nmax_request = \"64KiB\"";
    let front = Setup::before(&origin).table(limit).start().await;
    let url = format!("http://{}/files", front.addr());
    let post = ["-nv", "-m", "5", "-d", data, "-H", "idempotency-key: k1", &url];
    let answers = answers(&nghttp(&post).await);
    assert_eq!(statuses(&answers), [("413", 5)].into(), "{answers:?}");
    assert_eq!(origin.heads(), 0);
}

/// What `h2load` says of a run: how many requests succeeded, and how many statuses were 2xx.
async fn h2load(args: &[&str]) -> (String, String) {
    let said = Program::new("h2load").args(args).run().await.well().text();
    let line = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    (line("requests: "), line("status codes: "))
}

async fn assert_load(count: usize, args: &[&str]) {
    let number = count.to_string();
    let (requests, statuses) = h2load(&[&["-n", &number], args].concat()).await;
    let all = format!("requests: {count} total, {count} started, {count} done, {count} succeeded");
    assert!(requests.starts_with(&all), "{requests}");
    assert!(statuses.starts_with(&format!("status codes: {count} 2xx, ")), "{statuses}");
}

#[tokio::test]
async fn load_is_passed_and_repeats_are_not() {
    let (origin, authority) = (Origin::start().await, Authority::new("Peers"));
    let folder = Folder::new();
    let data = file(&folder, 1000);
    let data = data.to_str().expect("a path that is text");
    let fronts = fronts(&origin, &authority).await;
    let socket = format!("unix:{}", fronts[0].1.socket());
    let ways: [(&str, &[&str]); 6] = [
        (&fronts[0].0, &["-c", "8", "-m", "20"]),
        (&fronts[0].0, &["-c", "2", "-m", "300"]),
        (&fronts[0].0, &["--h1", "-c", "8", "-m", "4"]),
        (&fronts[0].0, &["-B", &socket, "-c", "8", "-m", "20"]),
        (&fronts[1].0, &["-c", "8", "-m", "20"]),
        (&fronts[1].0, &["--h1", "-c", "8"]),
    ];
    for (number, (base, way)) in ways.iter().enumerate() {
        let hits = origin.hits();
        assert_load(1000, &[way, &[&*format!("{base}/passed")][..]].concat()).await;
        assert_eq!(origin.hits(), hits + 1000, "{way:?}");
        let key = format!("idempotency-key: k{number}");
        let url = format!("{base}/guarded");
        assert_load(1000, &[way, &["-d", data, "-H", &key, &url][..]].concat()).await;
        assert_eq!(origin.hits(), hits + 1001, "{way:?}");
    }
}
