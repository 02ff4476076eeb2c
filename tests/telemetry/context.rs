//! What becomes of the headers `traceparent` and `tracestate`: without traces they pass as they
//! are, with traces the valid ones go on and others do not.

use crate::collector::{Collector, hex};
use crate::support::{Origin, Proxy, Received, assert_executed, assert_replay, client};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// What may stand in `traceparent`, and whether it is valid (W3C Trace Context, section 3.2).
const TABLE: [(&str, bool); 20] = [
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", true),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
    ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
    ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings", true),
    ("", false),
    ("x", false),
    ("00", false),
    ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what", false),
    ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what", false),
    ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
    ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
    ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", false),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01", false),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", false),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x", false),
    ("00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", false),
];

/// What may stand in `tracestate`, and whether it is valid (section 3.3).
const STATES: [(&str, bool); 8] = [
    ("congo=t61rcWkgMzE", true),
    ("rojo=00f067aa0ba902b7 ,\tcongo=t61rcWkgMzE", true),
    ("a=1,,b=2,", true),
    ("fw529a3039@dt=FfAAAA==", false),
    ("a=1,a=2", false),
    ("Upper=1", false),
    ("a", false),
    ("a=\u{e9}", false),
];

/// All lines of these two headers as the origin has got them.
fn lines(received: &Received) -> Vec<(String, Vec<u8>)> {
    let lines = received.head.lines.iter();
    let named = lines.filter(|line| line.name.to_ascii_lowercase().starts_with("trace"));
    named.map(|line| (line.name.to_ascii_lowercase(), line.value.clone())).collect()
}

/// Without traces, both pass as they are, valid or not, once or twice, guarded or not.
#[tokio::test]
async fn without_traces_the_headers_pass_untouched() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let endless = format!("00-{TRACE}-{SPAN}-00");
    let values = TABLE.map(|(value, _)| value).into_iter().chain([endless.as_str()]);
    for (index, value) in values.enumerate() {
        for method in ["GET", "POST"] {
            let request = client(&proxy).method(method, "/charges").key(format!("k{index}"));
            let request = request.header("traceparent", value).header("traceparent", "another");
            let request = request.header("tracestate", "a=1,a=1").header("tracestate", "B");
            request.send().await;
            let sent = [
                ("traceparent", value),
                ("traceparent", "another"),
                ("tracestate", "a=1,a=1"),
                ("tracestate", "B"),
            ];
            let sent = sent.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
            assert_eq!(lines(&origin.last()), sent, "{method} {value}");
        }
    }
    // Nor is one made where there is none.
    client(&proxy).post("/charges").key("none").send().await;
    assert!(lines(&origin.last()).is_empty());
}

/// With traces, a valid header goes on in its trace, and any other gives way to a new one.
#[tokio::test]
async fn with_traces_only_valid_headers_go_on() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    for (index, (value, is_valid)) in TABLE.into_iter().enumerate() {
        let request = client(&proxy).get(&format!("/{index}")).header("traceparent", value);
        request.header("tracestate", "a=1").send().await;
        let spans = collector.wait_for_spans(2 * (index + 1)).await;
        let sent = origin.last();
        let seen = sent.header("traceparent").expect("a trace goes on").to_owned();
        let [version, trace, span, flags] = seen.split('-').collect::<Vec<_>>()[..] else {
            panic!("{seen}");
        };
        assert_eq!((version, trace == TRACE), ("00", is_valid), "{value}: {seen}");
        // Of the flags, those go on that mean something.
        let is_random = value.ends_with("-03") || value.ends_with("-ff");
        assert_eq!(flags, if is_random { "03" } else { "01" }, "{value}");
        let known = spans.iter().find(|known| hex(&known.span_id) == span);
        assert!(known.is_some_and(|known| hex(&known.trace_id) == trace), "{value}: {seen}");
        assert_eq!(sent.header("tracestate"), is_valid.then_some("a=1"), "{value}");
        assert_eq!(sent.head.all("traceparent").len(), 1);
    }
}

/// A header that comes twice says nothing.
#[tokio::test]
async fn two_places_are_none() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    let (one, other) = (TABLE[0].0, TABLE[1].0);
    let request = client(&proxy).get("/").header("traceparent", one).header("traceparent", other);
    request.header("tracestate", "a=1").send().await;
    let lines = lines(&origin.last());
    let [(name, value)] = &lines[..] else { panic!("{lines:?}") };
    assert!(name == "traceparent" && !value.starts_with(format!("00-{TRACE}").as_bytes()));
}

/// A list that is not valid is taken off, and its trace goes on.
#[tokio::test]
async fn with_traces_only_valid_states_go_on() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let proxy = collector.told_by_proxy_before(&origin).start().await;
    for (index, (value, is_valid)) in STATES.into_iter().enumerate() {
        let request = client(&proxy).get(&format!("/{index}")).header("traceparent", TABLE[0].0);
        request.header("tracestate", value).send().await;
        let sent = origin.last();
        let seen = sent.head.all("tracestate");
        let expected = if is_valid { vec![value.as_bytes()] } else { Vec::new() };
        assert_eq!(seen, expected, "{value}");
        assert!(sent.header("traceparent").is_some_and(|seen| seen.contains(TRACE)));
    }
}

/// Retries that differ in their place in a trace are the same request, with traces or without.
#[tokio::test]
async fn retries_of_another_trace_are_the_same_request() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    for proxy in [Proxy::before(&origin), collector.told_by_proxy_before(&origin)] {
        let (proxy, before) = (proxy.start().await, origin.hits());
        for key in [None, Some("k1")] {
            let send = |value: &'static str, state: &'static str| {
                let post = client(&proxy).post("/charges").key_if(key).body("10");
                post.header("traceparent", value).header("tracestate", state).send()
            };
            let first = send(TABLE[0].0, "a=1").await;
            assert_executed(&first);
            for (value, state) in [(TABLE[1].0, "b=2"), (TABLE[3].0, "a=2"), ("x", "")] {
                assert_replay(&first, &send(value, state).await);
            }
            let post = client(&proxy).post("/charges").key_if(key).body("10");
            assert_replay(&first, &post.send().await);
        }
        assert_eq!(origin.hits() - before, 2);
    }
}
