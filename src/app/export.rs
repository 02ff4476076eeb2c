//! Tells a collector of spans, in a thread of its own: nothing that serves requests waits for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body::Body as _;
use tokio::runtime;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::message::Body;
use crate::telemetry::Metrics;
use crate::telemetry::trace::otlp::{OtlpOptions, Rates, encode, read};
use crate::telemetry::trace::{Collected, Finished, Traces};
use crate::transport::{Authorities, Protocol, TlsClient};
use crate::upstream::{AnswerBody, Endpoint, Lane, Upstream, UpstreamOptions};

/// How long the end of the process waits for the last spans to be taken.
const FLUSH: Duration = Duration::from_secs(2);

/// How often it is looked whether the thread has ended.
const LOOK: Duration = Duration::from_millis(10);

/// How often it is looked whether a batch is full that has begun.
const GATHER: Duration = Duration::from_millis(50);

/// The first pause before a batch is sent again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long a connection to the collector is kept that nothing is sent by.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The most that is read of what a collector answers, in bytes: enough to use its connection again.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The thread that tells of spans, if they are recorded.
#[derive(Debug, Default)]
pub(super) struct Exporter(Option<Running>);

#[derive(Debug)]
struct Running {
    end: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Begins to tell of spans, if the variables of the environment say where to.
pub(super) fn start(metrics: &Arc<Metrics>) -> io::Result<(Traces, Exporter)> {
    let (options, warnings) = read(&|name| std::env::var(name).ok());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let Some(options) = options else { return Ok(Default::default()) };
    let upstream = match collector(&options) {
        Ok(upstream) => upstream,
        Err(error) => {
            tracing::warn!(%error, "no traces are exported");
            return Ok(Default::default());
        }
    };
    // Without its path, which may hold a secret.
    let collector = options.url.authority().map(tracing::field::display);
    tracing::info!(collector, "traces are exported");
    let spans_max = options.rates.spans_max;
    let (traces, spans) = Traces::new(options.sampler, spans_max, Arc::clone(metrics));
    let (end, ended) = watch::channel(false);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let exporting =
        Exporting { options, upstream, metrics: Arc::clone(metrics), in_trouble: false };
    let export = move || runtime.block_on(exporting.run(spans, ended));
    let thread = thread::Builder::new().name("traces".into()).spawn(export)?;
    Ok((traces, Exporter(Some(Running { end, thread }))))
}

/// The collector, as requests are sent to it.
fn collector(options: &OtlpOptions) -> Result<Upstream, String> {
    let (Some(scheme), Some(authority)) = (options.url.scheme_str(), options.url.authority())
    else {
        return Err("the collector has no URL".to_owned());
    };
    let endpoint = Endpoint::parse(&format!("{scheme}://{authority}"));
    let endpoint = endpoint.map_err(|error| format!("the collector's URL: {error}"))?;
    let tls = endpoint.is_https().then(|| tls(options)).transpose()?;
    let upstream = UpstreamOptions {
        protocol: Protocol::Http1,
        tls,
        connect_timeout: options.timeout,
        idle_timeout: IDLE_MAX,
        idle_max: 1,
        header_bytes_max: 64 << 10,
        headers_max: 100,
    };
    // What is counted of it says nothing of the upstream of the proxy.
    Ok(Upstream::new(endpoint, upstream, Arc::default()))
}

fn tls(options: &OtlpOptions) -> Result<TlsClient, String> {
    let authorities = options.ca_file.as_ref().map(|path| {
        let shown = path.display();
        let pem = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
        Authorities::from_pem(&pem).map_err(|error| format!("{shown}: {error}"))
    });
    TlsClient::new(authorities.transpose()?, None, None).map_err(|error| error.to_string())
}

impl Exporter {
    /// Ends it when what there is has been told, or some time has passed.
    pub(super) fn finish(self) {
        let Some(Running { end, thread }) = self.0 else { return };
        let _ = end.send(true);
        let looks = (FLUSH + Duration::from_millis(500)).as_millis() / LOOK.as_millis();
        if !(0..looks).any(|_| has_ended(&thread)) {
            tracing::error!("the last spans were not told to their end");
        }
    }
}

fn has_ended(thread: &JoinHandle<()>) -> bool {
    let ended = thread.is_finished();
    if !ended {
        thread::sleep(LOOK);
    }
    ended
}

/// What tells a collector of spans.
struct Exporting {
    options: OtlpOptions,
    upstream: Upstream,
    metrics: Arc<Metrics>,
    /// Whether the last batch was not taken.
    in_trouble: bool,
}

/// Spans of which a collector is to be told; those that it was not are counted.
struct Batch {
    spans: Vec<Finished>,
    metrics: Arc<Metrics>,
}

/// What became of a batch.
enum Sent {
    Taken,
    /// The same would become of it again.
    Refused(String),
    /// Another try may do, after that time if it is given.
    Missed(String, Option<Duration>),
}

impl Exporting {
    async fn run(mut self, mut spans: Collected, mut ended: watch::Receiver<bool>) {
        tokio::spawn(self.upstream.clone().maintain());
        let mut patience = ended.clone();
        tokio::select! {
            () = self.export_all(&mut spans, &mut ended) => {}
            () = async {
                let _ = patience.wait_for(|ended| *ended).await;
                sleep(FLUSH).await;
            } => {}
        }
        for _ in 0..spans.len() {
            self.metrics.trace_spans_dropped.increment();
        }
    }

    /// Tells of all spans, until there are no more to come.
    async fn export_all(&mut self, spans: &mut Collected, ended: &mut watch::Receiver<bool>) {
        let Rates { delay, batch_max, .. } = self.options.rates;
        loop {
            let metrics = Arc::clone(&self.metrics);
            let mut batch = Batch { spans: Vec::with_capacity(batch_max.min(512)), metrics };
            let gathering = async {
                if spans.recv_many(&mut batch.spans, batch_max).await == 0 {
                    return;
                }
                let _ = timeout(delay, gather(spans, &mut batch.spans, batch_max)).await;
            };
            tokio::select! {
                () = gathering => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
            while batch.spans.len() < batch_max
                && let Ok(span) = spans.try_recv()
            {
                batch.spans.push(span);
            }
            if batch.spans.is_empty() {
                return;
            }
            self.export(batch).await;
        }
    }

    /// Tells of a batch, unless that takes too long.
    async fn export(&mut self, mut batch: Batch) {
        let message = Bytes::from(encode(&self.options.resource, &batch.spans));
        let mut reason = "it takes too long".to_owned();
        let sending = self.send_until_taken(message, &mut reason);
        let is_taken = timeout(self.options.timeout, sending).await.unwrap_or(false);
        if is_taken {
            batch.spans.clear();
        }
        match (self.in_trouble, is_taken) {
            (false, false) => {
                tracing::warn!(%reason, "the collector does not take the traces; they are dropped");
            }
            (true, true) => tracing::info!("the collector takes the traces again"),
            (true, false) | (false, true) => {}
        }
        self.in_trouble = !is_taken;
    }

    /// Sends a batch until it is taken, or will never be. Says why not as soon as that is known:
    /// there may be no time to come to an end.
    async fn send_until_taken(&self, message: Bytes, why: &mut String) -> bool {
        let mut pause = PAUSE_MIN;
        loop {
            match self.send(message.clone()).await {
                Sent::Taken => return true,
                Sent::Refused(reason) => {
                    *why = reason;
                    return false;
                }
                Sent::Missed(reason, after) => {
                    *why = reason;
                    sleep(after.unwrap_or(pause)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn send(&self, message: Bytes) -> Sent {
        let response = match self.upstream.send(self.request(message), Lane::Whole).await {
            Ok(response) => response,
            Err(error) => return Sent::Missed(error.to_string(), None),
        };
        let (parts, body) = response.into_parts();
        read_off(body).await;
        let reason = || format!("it answers with {}", parts.status.as_u16());
        match parts.status {
            status if status.is_success() => Sent::Taken,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let after = parts.headers.get(header::RETRY_AFTER);
                let seconds = after.and_then(|after| after.to_str().ok()?.parse().ok());
                Sent::Missed(reason(), seconds.map(Duration::from_secs))
            }
            _ => Sent::Refused(reason()),
        }
    }

    fn request(&self, message: Bytes) -> Request<Body> {
        const AGENT: &str = concat!("oncegate/", env!("CARGO_PKG_VERSION"));
        let length = HeaderValue::from(message.len());
        let mut request = Request::new(Body::Full(message));
        *request.method_mut() = Method::POST;
        let path = self.options.url.path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.upstream.authority().clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(header::CONTENT_LENGTH, length);
        for (name, value) in &self.options.headers {
            headers.insert(name, value.clone());
        }
        let media_type = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, media_type);
        request
    }
}

/// Gathers spans until the batch is full. It looks now and then: each span would wake the thread
/// otherwise.
async fn gather(spans: &mut Collected, batch: &mut Vec<Finished>, max: usize) {
    while batch.len() < max {
        sleep(GATHER).await;
        if spans.recv_many(batch, max - batch.len()).await == 0 {
            return;
        }
    }
}

/// Reads an answer to its end, so that its connection can be used again, unless that is far.
async fn read_off(mut body: AnswerBody) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > ANSWER_BYTES_MAX {
            return;
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for _ in &self.spans {
            self.metrics.trace_spans_dropped.increment();
        }
    }
}
