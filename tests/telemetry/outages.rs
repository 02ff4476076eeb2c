//! A collector that is away, refuses, hangs or is slow: requests do not notice, and what is lost
//! is counted.

use std::time::Duration;

use crate::collector::{Collector, Mood};
use crate::support::{Origin, Proxy, Reserved, assert_executed, assert_replay, client, eventually};

/// A number that the log says at the end.
fn total(log: &str, name: &str) -> u64 {
    let (_, rest) = log.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{log}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// Asks for so many operations, each twice.
async fn ask(proxy: &Proxy, count: usize) {
    let mut connection = client(proxy).connect().await;
    for index in 0..count {
        let charge = client(proxy).post("/charges").key(format!("k{index}")).body("10");
        let first = charge.clone().send_on(&mut connection).await;
        assert_executed(&first);
        assert_replay(&first, &charge.send_on(&mut connection).await);
    }
}

async fn ended(mut proxy: Proxy) -> String {
    proxy.terminate();
    assert!(proxy.wait_exit().await.success(), "traces that are lost are no bad end");
    eventually("the totals", async || proxy.log().contains("trace_spans_dropped=")).await;
    proxy.log()
}

/// Whatever is wrong with the collector, requests are served, spans are dropped when as many wait
/// as may, and all that are lost are counted; it is told of once.
#[tokio::test]
async fn requests_do_not_notice_a_collector_in_trouble() {
    for mood in [Mood::Hangs, Mood::Closes, Mood::Answers(503), Mood::Answers(400)] {
        let (origin, collector) = (Origin::start().await, Collector::start().await);
        collector.feels(mood);
        let proxy = collector
            .told_by_proxy_before(&origin)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "16")
            .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8");
        let proxy = proxy.start().await;
        ask(&proxy, 50).await;
        assert_eq!(origin.hits(), 50);
        collector.wait_for_posts(1).await;
        let log = ended(proxy).await;
        // Four for each first request, and one for each repeat.
        assert_eq!(total(&log, "trace_spans_dropped"), 50 * 5, "{mood:?}: {log}");
        assert_eq!(log.matches("the collector does not take the traces").count(), 1, "{log}");
    }
}

/// One that is slow is told of as much as it takes, and each span is told or counted.
#[tokio::test]
async fn each_span_is_told_or_counted() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    collector.feels(Mood::Dawdles);
    let proxy = collector
        .told_by_proxy_before(&origin)
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "16")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8");
    let proxy = proxy.start().await;
    ask(&proxy, 100).await;
    let dropped = total(&ended(proxy).await, "trace_spans_dropped");
    let told = collector.spans().len() as u64;
    assert_eq!(told + dropped, 100 * 5);
    assert!(told >= 8 && dropped > 0, "{told} were told, and {dropped} dropped");
}

/// The same where nobody listens.
#[tokio::test]
async fn requests_do_not_notice_that_nobody_listens() {
    let (origin, nobody) = (Origin::start().await, Reserved::new());
    let proxy = Proxy::before(&origin)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", nobody.addr))
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let proxy = proxy.start().await;
    ask(&proxy, 50).await;
    let log = ended(proxy).await;
    assert_eq!(total(&log, "trace_spans_dropped"), 50 * 5, "{log}");
}

/// A collector that could not take a batch for a moment gets it again, and nothing is lost.
#[tokio::test]
async fn a_batch_is_sent_again_while_that_may_help() {
    for mood in [Mood::Closes, Mood::Answers(429), Mood::Answers(503)] {
        let (origin, collector) = (Origin::start().await, Collector::start().await);
        collector.feels(mood);
        // Long enough for both spans to be of one batch.
        let proxy = collector.told_by_proxy_before(&origin).env("OTEL_BSP_SCHEDULE_DELAY", "1000");
        let proxy = proxy.start().await;
        client(&proxy).get("/charges").send().await;
        collector.wait_for_posts(1).await;
        collector.feels(Mood::Takes);
        collector.wait_for_posts(2).await;
        let log = ended(proxy).await;
        assert_eq!(total(&log, "trace_spans_dropped"), 0, "{log}");
        let posts = collector.posts();
        let (first, last) = (&posts[0].message, &posts[posts.len() - 1].message);
        assert_eq!(first, last, "the same batch");
    }
}

/// What comes back is told of, and traces go on.
#[tokio::test]
async fn traces_go_on_when_the_collector_is_back() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    collector.feels(Mood::Answers(400));
    let proxy = collector.told_by_proxy_before(&origin).env("OTEL_BSP_SCHEDULE_DELAY", "1000");
    let proxy = proxy.start().await;
    client(&proxy).get("/charges").send().await;
    proxy.wait_for_log("trouble", |line| line.contains("it answers with 400")).await;
    collector.feels(Mood::Takes);
    client(&proxy).get("/charges").send().await;
    proxy.wait_for_log("its end", |line| line.contains("takes the traces again")).await;
    assert_eq!(total(&ended(proxy).await, "trace_spans_dropped"), 2);
}

/// A collector that hangs holds the end up no longer than a moment.
#[tokio::test]
async fn the_end_does_not_wait_for_a_collector_that_hangs() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    collector.feels(Mood::Hangs);
    let proxy = collector.told_by_proxy_before(&origin);
    let proxy = proxy.env("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000").start().await;
    ask(&proxy, 5).await;
    collector.wait_for_posts(1).await;
    let log = tokio::time::timeout(Duration::from_secs(50), ended(proxy)).await;
    assert_eq!(total(&log.expect("it ends"), "trace_spans_dropped"), 25);
}
