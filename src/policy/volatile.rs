//! Headers that a checksum leaves out, because they change from one attempt to the next.

/// Volatile headers by their whole names, in alphabetical order, with the reason beside the group.
///
/// Not here, because they change what is asked for: `Content-Type`, the conditional headers
/// (`If-Match` and the like), `Prefer`, `Origin` and `X-HTTP-Method-Override`. Credentials are left
/// out of the checksum, too, since the record key covers them as the caller.
const NAMES: &[&str] = &[
    "accept",                     // what the client likes
    "accept-charset",             // what the client likes
    "accept-encoding",            // what the client likes
    "accept-language",            // what the client likes
    "age",                        // the time
    "amz-sdk-invocation-id",      // attempts (AWS SDKs)
    "amz-sdk-request",            // attempts (AWS SDKs)
    "b3",                         // trace context (Zipkin)
    "baggage",                    // trace context (W3C)
    "cache-control",              // caches
    "cdn-loop",                   // hops
    "cf-connecting-ip",           // hops (Cloudflare)
    "cf-connecting-ipv6",         // hops (Cloudflare)
    "cf-ew-via",                  // hops (Cloudflare)
    "cf-ipcountry",               // hops (Cloudflare)
    "cf-ray",                     // hops (Cloudflare)
    "cf-visitor",                 // hops (Cloudflare)
    "cf-warp-tag-id",             // hops (Cloudflare)
    "cf-worker",                  // hops (Cloudflare)
    "connection",                 // this connection
    "content-encoding",           // the body is hashed decoded
    "content-length",             // framing; gzip makes it differ
    "correlation-id",             // ids per attempt
    "date",                       // the time
    "dnt",                        // what the client likes
    "dpop",                       // a proof for each attempt (RFC 9449)
    "duplicate-key",              // this proxy's own
    "duplicate-protection",       // this proxy's own
    "duplicate-request",          // this proxy's own
    "elastic-apm-traceparent",    // trace context (Elastic)
    "expect",                     // this connection
    "forwarded",                  // hops (RFC 7239)
    "grpc-previous-rpc-attempts", // gRPC retries
    "grpc-timeout",               // gRPC retries
    "grpc-trace-bin",             // trace context (gRPC)
    "host",                       // part of the record key
    "http2-settings",             // this connection
    "idempotent-replayed",        // this proxy's own
    "keep-alive",                 // this connection
    "l5d-dst-canonical",          // hops (Linkerd)
    "l5d-dst-override",           // hops (Linkerd)
    "l5d-remote-ip",              // hops (Linkerd)
    "l5d-require-id",             // hops (Linkerd)
    "l5d-server-id",              // hops (Linkerd)
    "newrelic",                   // trace context (New Relic)
    "oncegate-keep",              // this proxy's own
    "pragma",                     // caches
    "priority",                   // what the client likes (RFC 9218)
    "proxy-authenticate",         // this connection
    "proxy-authorization",        // this connection
    "proxy-connection",           // this connection
    "range",                      // not forwarded with guarded requests
    "referer",                    // what the client likes
    "request-id",                 // a key, or an id per attempt
    "rs-nodecount",               // RudderStack's nodes
    "rs-targetnode",              // RudderStack's nodes
    "rsa-recovered",              // RudderStack's retries
    "rsa-retry-attempt",          // RudderStack's retries
    "rsa-retry-reason",           // RudderStack's retries
    "rsa-since-first-attempt",    // RudderStack's retries
    "rsa-since-last-attempt",     // RudderStack's retries
    "sentat",                     // RudderStack's time of sending
    "sentry-trace",               // trace context (Sentry)
    "signature",                  // signatures cover the time (RFC 9421)
    "signature-input",            // signatures cover the time (RFC 9421)
    "stripe-signature",           // signatures cover the time (RFC 9421)
    "svix-signature",             // Svix: signed and dated afresh
    "svix-timestamp",             // Svix: signed and dated afresh
    "sw8",                        // trace context (SkyWalking)
    "te",                         // this connection
    "tl-signature",               // signatures cover the time
    "traceparent",                // trace context (W3C)
    "tracestate",                 // trace context (W3C)
    "trailer",                    // this connection
    "transfer-encoding",          // this connection
    "true-client-ip",             // hops
    "uber-trace-id",              // trace context (Jaeger)
    "upgrade",                    // this connection
    "upgrade-insecure-requests",  // what the client likes
    "user-agent",                 // what the client likes
    "via",                        // hops
    "webhook-signature",          // Standard Webhooks: signed and dated afresh
    "webhook-timestamp",          // Standard Webhooks: signed and dated afresh
    "x-amz-date",                 // AWS signatures
    "x-amz-security-token",       // AWS signatures
    "x-amzn-trace-id",            // trace context (AWS)
    "x-appgw-trace-id",           // trace context (Azure)
    "x-azure-ref",                // trace context (Azure)
    "x-client-ip",                // hops
    "x-cloud-trace-context",      // trace context (Google Cloud)
    "x-correlation-id",           // ids per attempt
    "x-forwarded-by",             // hops
    "x-forwarded-for",            // hops
    "x-forwarded-port",           // hops
    "x-forwarded-proto",          // hops
    "x-forwarded-scheme",         // hops
    "x-forwarded-server",         // hops
    "x-forwarded-ssl",            // hops
    "x-github-delivery",          // delivery ids
    "x-gitlab-event-uuid",        // delivery ids
    "x-goog-api-client",          // carries an attempt id
    "x-hub-signature",            // signatures
    "x-hub-signature-256",        // signatures
    "x-ms-client-request-id",     // ids per attempt
    "x-ms-date",                  // Azure signatures
    "x-original-forwarded-for",   // hops
    "x-ot-span-context",          // trace context (OpenTracing)
    "x-queue-start",              // the time at a router
    "x-real-ip",                  // hops
    "x-request-id",               // ids per attempt
    "x-request-start",            // the time at a router
    "x-retry-count",              // attempt counters (Segment)
    "x-slack-request-timestamp",  // Slack: signed and dated afresh
    "x-slack-retry-num",          // Slack: signed and dated afresh
    "x-slack-retry-reason",       // Slack: signed and dated afresh
    "x-slack-signature",          // Slack: signed and dated afresh
    "x-stainless-read-timeout",   // attempt counters (Stainless SDKs)
    "x-stainless-retry-count",    // attempt counters (Stainless SDKs)
    "x-stripe-client-telemetry",  // the timing of earlier requests
    "x-stripe-client-user-agent", // the timing of earlier requests
    "x-vcap-request-id",          // ids per attempt (Cloud Foundry)
];

/// Volatile headers by how their names begin. Only families of which no member says who the caller
/// is or what is asked for: a header that is missing here costs a missed duplicate, and one that is
/// wrongly here an answer to somebody else's request.
const PREFIXES: &[&str] = &[
    "l5d-ctx-",   // trace context (Linkerd)
    "ot-tracer-", // trace context (OpenTracing)
    "sec-ch-ua",  // what the client is
    "sec-fetch-", // how the client came to send it
    "uberctx-",   // trace context (Jaeger)
    "x-b3-",      // trace context (Zipkin)
    "x-datadog-", // trace context (Datadog)
    "x-envoy-",   // Envoy and Istio: attempts and timeouts
    "x-instana-", // trace context (Instana)
];

/// Whether a checksum leaves out the header of this name, which is in lower case.
pub fn is_volatile(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok() || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order_and_in_lower_case() {
        assert!(NAMES.is_sorted());
        assert!(PREFIXES.is_sorted());
        for name in NAMES.iter().chain(PREFIXES) {
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }

    #[test]
    fn what_changes_the_meaning_counts() {
        for name in [
            "content-type",
            "if-match",
            "if-modified-since",
            "if-none-match",
            "if-unmodified-since",
            "origin",
            "prefer",
            "cf-access-authenticated-user-email",
            "l5d-client-id",
            "svix-id",
            "x-forwarded-client-cert",
            "x-forwarded-host",
            "x-forwarded-user",
            "x-goog-gcs-idempotency-token",
            "x-http-method-override",
            "x-tenant",
        ] {
            assert!(!is_volatile(name), "{name}");
        }
    }

    #[test]
    fn what_changes_between_attempts_does_not() {
        for name in [
            "x-b3-traceid",
            "x-envoy-attempt-count",
            "accept-encoding",
            "age",
            "b3",
            "traceparent",
            "via",
            "x-request-id",
            "x-retry-count",
            "user-agent",
            "webhook-timestamp",
            "x-forwarded-for",
        ] {
            assert!(is_volatile(name), "{name}");
        }
    }
}
