//! The log and the access log: what they say, that they say no secrets, and that nobody waits for
//! them.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::collector::Collector;
use crate::support::{
    Act, Answer, Client, Gate, How, Origin, Proxy, Request, assert_marked, client, eventually,
    every_way, within,
};

every_way! {
    the_access_log_says_what_became_of_requests,
}

const PLACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Each line says the outcome, the route, the key's hash, the status, sizes, times and the trace.
async fn the_access_log_says_what_became_of_requests() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin)
        .toml("[[route]]\nname = \"pay\"\npath = \"/pay\"\n[telemetry]\naccess_log = \"all\"\n");
    let proxy = proxy.start().await;
    origin.always(Answer::new(201).body("paid: 12"));
    let pay = client(&proxy).post("/pay?card=1").key("k1").body("12345");
    let pay = pay.header("traceparent", PLACE);
    pay.clone().send().await;
    let repeat = pay.clone().send().await;
    assert_marked(&repeat);
    client(&proxy).post("/pay").key("k1").body("other").send().await;
    client(&proxy).get("/").send().await;
    origin.always(Act::DropAfterExecuting(How::Close));
    client(&proxy).post("/pay").key("k2").body("1").send().await;
    let lines: Vec<_> = proxy.access_lines(5).await.iter().map(|line| parse(line)).collect();
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["executed", "replayed", "refused", "passed", "failed"]);
    for (line, (route, status, took)) in lines.iter().zip([
        ("pay", 201, true),
        ("pay", 201, false),
        ("pay", 422, false),
        ("default", 201, true),
        ("pay", 502, true),
    ]) {
        assert_eq!((&line["route"], &line["status"]), (&route.into(), &status.into()), "{line}");
        assert!(line["duration_ms"].is_u64() && line["time"].is_string(), "{line}");
        // What the upstream was not asked for took it no time.
        assert_eq!(line["upstream_ms"].is_u64(), took, "{line}");
        let path = if route == "pay" { "/pay" } else { "/" };
        assert_eq!((&line["path"], line.get("trailers")), (&path.into(), None));
    }
    for line in &lines[..2] {
        assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&5.into(), &8.into()));
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line["duplicate_key"].as_str(), repeat.header("duplicate-key"));
    }
    assert_eq!(lines[2]["problem"], "key-reused");
    assert_eq!(lines[2].get("trace_id"), None);
    assert_eq!(lines[3].get("duplicate_key"), None);
    assert_eq!(lines[4]["problem"], "upstream-broken");
}

const SECRET: &str = "s3cret";

/// A request with something secret in every place that may have it.
fn secretive(request: Request, key: &str) -> Request {
    request
        .key(format!("{SECRET}-{key}"))
        .header("Authorization", format!("Bearer {SECRET}-token"))
        .header("Proxy-Authorization", format!("Basic {SECRET}"))
        .header("Cookie", format!("session={SECRET}"))
        .header("X-API-Key", SECRET)
        .header("X-Other", SECRET)
        .header("Referer", format!("http://a/?{SECRET}"))
        .header("traceparent", format!("{SECRET}-trace"))
        .header("tracestate", format!("a={SECRET}"))
        .body(format!("{{\"card\":\"{SECRET}\"}}"))
}

/// Through every outcome, at every level of the log and in either format, and in traces: no key,
/// body, credential, query or field of a header is told.
#[tokio::test]
async fn nothing_secret_is_told() {
    for format in ["text", "json"] {
        let (origin, collector) = (Origin::start().await, Collector::start().await);
        let proxy = collector
            .told_by_proxy_before(&origin)
            .arg("--log-level", "trace")
            .arg("--log-format", format)
            .arg("--wait", "5s")
            .arg("--max-header-bytes", "8KiB")
            .toml("[[route]]\nname = \"watched\"\npath = \"/watched\"\nmode = \"observe\"\n");
        let mut proxy = proxy.start().await;
        every_outcome(&origin, &proxy).await;
        proxy.terminate();
        assert!(proxy.wait_exit().await.success());
        let mut found: Vec<_> = proxy
            .access_log()
            .lines()
            .map(|line| parse(line)["outcome"].as_str().expect("an outcome").to_owned())
            .collect();
        found.sort();
        found.dedup();
        let all = ["collapsed", "executed", "failed", "observed", "passed", "refused", "replayed"];
        assert_eq!(found, all, "every outcome was there");
        let told = format!("{:?}", collector.posts());
        assert!(told.contains("executed"), "traces were told");
        for text in [proxy.access_log(), proxy.log(), told] {
            assert!(!text.contains(SECRET), "{text}");
            // Nor in another spelling.
            assert!(!text.contains("czNjcmV0") && !text.contains("115, 51, 99, 114"), "{text}");
        }
    }
}

async fn every_outcome(origin: &Origin, proxy: &Proxy) {
    let charge = |key: &str| secretive(client(proxy).post(&format!("/pay?{SECRET}")), key);
    let answer = Answer::new(201).header("Set-Cookie", SECRET).header("X-Own", SECRET);
    origin.always(answer.clone().header("Oncegate-Keep", SECRET).body(SECRET));
    charge("k1").send().await;
    charge("k1").send().await;
    charge("k1").body(format!("other {SECRET}")).send().await;
    charge("k1").key("another").send().await;
    charge(&"k".repeat(300)).send().await;
    secretive(client(proxy).get(&format!("/list?{SECRET}")), "k1").send().await;
    secretive(client(proxy).post(&format!("/watched?{SECRET}")), "k2").send().await;
    secretive(client(proxy).post(&format!("/watched?{SECRET}")), "k2").send().await;
    charge("long").header("X-Long", SECRET.repeat(3000)).send().await;
    charge("bad").header("Content-Encoding", SECRET).send().await;
    // One that waits for another.
    let gate = Gate::shut();
    origin.next(Act::Answer(answer).after(&gate));
    let hits = origin.hits();
    let mut first = charge("k3").open().await;
    origin.wait_for_hits(hits + 1).await;
    let mut second = charge("k3").open().await;
    proxy.has_read_all().await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    gate.open();
    first.read().await;
    assert_marked(&second.read().await);
    // Answers that are none.
    origin.next(Act::DropAfterExecuting(How::Reset));
    charge("k4").send().await;
    charge("k4").send().await;
    origin.next(Answer::raw(format!("{SECRET} {SECRET}\r\n\r\n")));
    charge("k5").send().await;
    origin.next(Act::DropAfterHead(How::Close));
    charge("k6").send().await;
    // Requests that are none.
    for bytes in [
        format!("GET /?{SECRET} HTTP/{SECRET}\r\nHost: a\r\n\r\n"),
        format!("POST /{SECRET} {SECRET}\r\n\r\n"),
        format!("POST /pay?{SECRET} HTTP/1.1\r\nHost: {SECRET}@a\r\nContent-Length: 0\r\n\r\n"),
        format!("POST /pay HTTP/1.1\r\nHost: a\r\n{SECRET}\r\n\r\n"),
    ] {
        let mut connection = client(proxy).connect().await;
        connection.write(bytes.as_bytes()).await;
        connection.finish().await;
        connection.rest().await;
    }
}

/// What a request spells can do nothing to a terminal on which the access log is shown.
#[tokio::test]
async fn control_characters_do_not_reach_a_terminal() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--access-log", "all").start().await;
    let mut written = 0;
    for path in ["/\u{9b}31m", "/\u{7f}", "/\u{85}x", "/\u{1b}[2J", "/a%1b[2J", "/\u{202e}x"] {
        let mut connection = client(&proxy).connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        connection.write(request.as_bytes()).await;
        connection.rest().await;
        written += 1;
    }
    client(&proxy).get("/last").send().await;
    let is_last = |line: &str| line.contains("/last");
    let lines = proxy.access_lines_since(0, is_last).await;
    // Some of them are no requests.
    assert!((2..=written + 1).contains(&lines.len()), "{lines:?}");
    for line in lines {
        assert!(!line.contains(char::is_control), "{line:?}");
        parse(&line);
    }
}

/// A run of the program whose output is the test's to read, or not to.
struct Unread {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    client: Client,
    admin: Client,
}

impl Unread {
    async fn start(origin: &Origin, log_level: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        let upstream = format!("http://{}", origin.addr);
        command.args(["run", "--listen", "127.0.0.1:0", "--upstream", &upstream]);
        command.args(["--access-log", "all", "--admin", "127.0.0.1:0", "--log-level", log_level]);
        command.env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starting the binary");
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut log = BufReader::new(stderr).lines();
        let at = |line: &str, name| {
            let address = line.split_whitespace().find_map(|word| word.strip_prefix(name))?;
            Some(Client::of(address.parse().expect("an address")))
        };
        let (client, admin) = loop {
            let line = log.next_line().await.expect("a log").expect("a ready line");
            if let Some(clients) = at(&line, "listen=").zip(at(&line, "admin=")) {
                break clients;
            }
        };
        Self { child, log, client, admin }
    }

    fn ask_to_end(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Asks it to end, and returns how it did and the rest of its log.
    async fn end(mut self) -> (bool, String) {
        self.ask_to_end();
        let mut rest = String::new();
        while let Some(line) = within("a line", self.log.next_line()).await.expect("a log") {
            rest.push_str(&line);
            rest.push('\n');
        }
        let status = within("the end", self.child.wait()).await.expect("a status");
        (status.success(), rest)
    }
}

/// How many access log entries were dropped, as the end of the log says.
fn dropped(log: &str) -> u64 {
    let (_, rest) = log.split_once("access_log_dropped=").unwrap_or_else(|| panic!("{log}"));
    rest.split_whitespace().next().unwrap().parse().expect("a number")
}

/// A stdout that nobody reads holds no request up: what has no room is dropped and counted.
#[tokio::test]
async fn nobody_waits_for_a_stdout_that_is_not_read() {
    // The pipe takes 64 KiB, and as many lines wait as may, behind as many that are being written;
    // each has more than 100 bytes.
    const REQUESTS: usize = 2 * 4096 + (64 << 10) / 100 + 1000;
    let origin = Origin::start().await;
    let unread = Unread::start(&origin, "info").await;
    let mut connection = unread.client.connect().await;
    for _ in 0..REQUESTS {
        // Answered here, so that it goes fast.
        let reply = unread.client.post("/pay").key("two words").send_on(&mut connection).await;
        assert_eq!(reply.status, 400);
    }
    let (is_well, log) = unread.end().await;
    assert!(is_well, "{log}");
    assert!(dropped(&log) >= 500, "{log}");
    assert!(log.contains("refused=") && log.contains("the access log was not written to its end"));
}

/// Neither does a stderr that nobody reads.
#[tokio::test]
async fn nobody_waits_for_a_stderr_that_is_not_read() {
    // As above; each line has more than 80 bytes.
    const REQUESTS: usize = 2 * 4096 + (64 << 10) / 80 + 1000;
    let origin = Origin::start().await;
    // Something that the log tells of each request.
    origin.respond(|_| Answer::new(201).header("Oncegate-Keep", "odd").into());
    let mut unread = Unread::start(&origin, "debug").await;
    drop(unread.child.stdout.take());
    let mut connection = unread.client.connect().await;
    for number in 0..REQUESTS {
        let request = unread.client.post("/pay").key(format!("k{number}"));
        assert_eq!(request.send_on(&mut connection).await.status, 201);
    }
    let metrics = unread.admin.get("/metrics").host("localhost").send().await.text();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("oncegate_log_dropped_total "));
    let dropped: usize = dropped.expect("it is counted").parse().expect("a number");
    assert!((500..=REQUESTS).contains(&dropped), "{dropped}");
    unread.ask_to_end();
    assert!(within("the end", unread.child.wait()).await.expect("a status").success());
}

/// A stdout that is closed ends the access log, and nothing else.
#[tokio::test]
async fn it_serves_on_without_a_stdout() {
    let origin = Origin::start().await;
    let mut unread = Unread::start(&origin, "info").await;
    drop(unread.child.stdout.take());
    let mut told = String::new();
    eventually("the end of the access log", async || {
        let reply = unread.client.get("/charges").send().await;
        assert_eq!(reply.status, 201);
        let line = tokio::time::timeout(std::time::Duration::ZERO, unread.log.next_line()).await;
        told.push_str(&line.ok().and_then(Result::ok).flatten().unwrap_or_default());
        told.contains("stdout cannot be written to")
    })
    .await;
    for _ in 0..10 {
        assert_eq!(unread.client.get("/charges").send().await.status, 201);
    }
    let (is_well, log) = unread.end().await;
    assert!(is_well && dropped(&log) >= 10, "{log}");
}
