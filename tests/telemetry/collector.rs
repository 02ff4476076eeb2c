//! A collector: it takes what it is sent over HTTP, and reads it by the types that others have
//! made of the protocol's definition.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::{Fields, Framing, Origin, Proxy, Starting, Wire, within};

/// How late a collector answers that dawdles.
const LATE: std::time::Duration = std::time::Duration::from_millis(100);

/// What a collector does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    /// It takes it.
    Takes,
    /// It takes it, and says so late.
    Dawdles,
    /// It answers this, and takes nothing.
    Answers(u16),
    /// It never answers.
    Hangs,
    /// It closes the connection without a word.
    Closes,
}

/// One request that a collector has got.
#[derive(Clone, Debug)]
pub struct Post {
    pub head: Fields,
    pub message: ExportTraceServiceRequest,
}

/// A collector that listens on loopback.
pub struct Collector {
    pub addr: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    mood: Arc<Mutex<Mood>>,
    changed: watch::Receiver<usize>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let addr = listener.local_addr().expect("an address");
        let (posts, mood) = (Arc::default(), Arc::new(Mutex::new(Mood::Takes)));
        let (told, changed) = watch::channel(0);
        let collector = Self { addr, posts, mood, changed };
        let (posts, mood) = (Arc::clone(&collector.posts), Arc::clone(&collector.mood));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (posts, mood, told) = (Arc::clone(&posts), Arc::clone(&mood), told.clone());
                tokio::spawn(async move { serve(Wire::new(stream), &posts, &mood, &told).await });
            }
        });
        collector
    }

    /// Lets it do this with what comes from now on.
    pub fn feels(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// What it has got so far, whether it has taken it or not.
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// The spans that it has got so far.
    pub fn spans(&self) -> Vec<Span> {
        let posts = self.posts();
        let of_resources = posts.into_iter().flat_map(|post| post.message.resource_spans);
        let of_scopes = of_resources.flat_map(|of_resource| of_resource.scope_spans);
        of_scopes.flat_map(|of_scope| of_scope.spans).collect()
    }

    /// Waits until it has got so many spans, or more, and returns them.
    pub async fn wait_for_spans(&self, count: usize) -> Vec<Span> {
        let mut changed = self.changed.clone();
        let what = format!("{count} spans");
        within(&what, async {
            while self.spans().len() < count {
                changed.changed().await.expect("the collector runs");
            }
        })
        .await;
        self.spans()
    }

    /// Waits until it has got so many requests.
    pub async fn wait_for_posts(&self, count: usize) {
        let mut changed = self.changed.clone();
        let waiting = changed.wait_for(|posts| *posts >= count);
        within(&format!("{count} posts"), waiting).await.expect("the collector runs");
    }

    /// A proxy before this origin that tells the collector of what it does, and soon.
    pub fn told_by_proxy_before(&self, origin: &Origin) -> Starting {
        Proxy::before(origin)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", self.addr))
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .arg("--access-log", "all")
    }
}

async fn serve(
    mut wire: Wire,
    posts: &Mutex<Vec<Post>>,
    mood: &Mutex<Mood>,
    told: &watch::Sender<usize>,
) {
    while let Ok(Some(head)) = wire.head().await {
        let length = head.first("content-length").and_then(|length| length.parse().ok());
        let (body, _) = wire.body(Framing::Length(length.expect("a length"))).await;
        let message = ExportTraceServiceRequest::decode(&body[..]).expect("a message of OTLP");
        posts.lock().unwrap().push(Post { head, message });
        told.send_modify(|posts| *posts += 1);
        let mood = *mood.lock().unwrap();
        if mood == Mood::Dawdles {
            tokio::time::sleep(LATE).await;
        }
        let answer = match mood {
            Mood::Takes | Mood::Dawdles => {
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
                    .to_owned()
            }
            Mood::Answers(status) => {
                format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno")
            }
            Mood::Hangs => std::future::pending().await,
            Mood::Closes => return,
        };
        if wire.write(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// What a span says of itself under a name.
pub fn said(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()? {
        AnyValue { value: Some(Value::StringValue(text)) } => Some(text.clone()),
        AnyValue { value: Some(Value::IntValue(number)) } => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

/// The same of a span.
pub fn of(span: &Span, name: &str) -> Option<String> {
    said(&span.attributes, name)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The one span that fits.
#[track_caller]
pub fn one(spans: &[Span], fits: impl Fn(&Span) -> bool) -> Span {
    let mut found = spans.iter().filter(|span| fits(span));
    let (first, None) = (found.next(), found.next()) else { panic!("not one of {spans:#?}") };
    first.unwrap_or_else(|| panic!("none of {spans:#?}")).clone()
}

/// The spans of a trace, which has these digits.
pub fn of_trace(spans: &[Span], trace: &str) -> Vec<Span> {
    spans.iter().filter(|span| hex(&span.trace_id) == trace).cloned().collect()
}
