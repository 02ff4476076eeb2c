//! Headers that a checksum leaves out, because they change from one attempt to the next.

/// Volatile headers by their whole names, in alphabetical order, with the reason beside the group.
///
/// Not here, because they change what is asked for: `Content-Type`, the conditional headers
/// (`If-Match` and the like), `Prefer`, `Origin` and `X-HTTP-Method-Override`. Credentials are left
/// out of the checksum, too, since the record key covers them as the caller.
const NAMES: &[&str] = &[
    "accept",                     // what the client likes; proxies rewrite these
    "accept-charset",             //
    "accept-encoding",            //
    "accept-language",            //
    "age",                        // the time
    "amz-sdk-invocation-id",      // attempt ids and counters of the AWS SDKs
    "amz-sdk-request",            //
    "b3",                         // trace context (Zipkin)
    "baggage",                    // trace context (W3C)
    "cache-control",              // caches
    "cdn-loop",                   // hops
    "connection",                 // this connection
    "content-encoding",           // the body is hashed decoded
    "content-length",             // framing; gzip makes it differ
    "correlation-id",             // ids per attempt
    "date",                       // the time
    "dnt",                        // what the client likes
    "dpop",                       // a proof made afresh for each attempt (RFC 9449)
    "duplicate-key",              // this proxy's own
    "duplicate-protection",       //
    "duplicate-request",          //
    "elastic-apm-traceparent",    // trace context (Elastic)
    "expect",                     // this connection
    "forwarded",                  // hops (RFC 7239)
    "grpc-previous-rpc-attempts", // gRPC retries
    "grpc-timeout",               //
    "grpc-trace-bin",             // trace context (gRPC)
    "host",                       // part of the record key
    "http2-settings",             // this connection
    "idempotent-replayed",        // this proxy's own
    "keep-alive",                 // this connection
    "newrelic",                   // trace context (New Relic)
    "pragma",                     // caches
    "priority",                   // what the client likes (RFC 9218)
    "proxy-authenticate",         // this connection
    "proxy-authorization",        //
    "proxy-connection",           //
    "range",                      // not forwarded with guarded requests
    "referer",                    // what the client likes
    "request-id",                 // a key if it is one; otherwise an id per attempt
    "rs-nodecount",               // RudderStack's nodes
    "rs-targetnode",              //
    "sentat",                     // RudderStack's time of sending
    "sentry-trace",               // trace context (Sentry)
    "signature",                  // signatures cover the time (RFC 9421)
    "signature-input",            //
    "stripe-signature",           //
    "sw8",                        // trace context (SkyWalking)
    "te",                         // this connection
    "tl-signature",               // signatures cover the time
    "traceparent",                // trace context (W3C)
    "tracestate",                 //
    "trailer",                    // this connection
    "transfer-encoding",          //
    "true-client-ip",             // hops
    "uber-trace-id",              // trace context (Jaeger)
    "upgrade",                    // this connection
    "upgrade-insecure-requests",  // what the client likes
    "user-agent",                 //
    "via",                        // hops
    "webhook-signature",          // Standard Webhooks: signed and dated afresh
    "webhook-timestamp",          //
    "x-amz-date",                 // AWS signatures
    "x-amz-security-token",       //
    "x-amzn-trace-id",            // trace context (AWS)
    "x-appgw-trace-id",           // trace context (Azure)
    "x-azure-ref",                //
    "x-client-ip",                // hops
    "x-cloud-trace-context",      // trace context (Google Cloud)
    "x-correlation-id",           // ids per attempt
    "x-github-delivery",          // delivery ids
    "x-gitlab-event-uuid",        //
    "x-goog-api-client",          // carries an attempt id
    "x-ms-client-request-id",     // ids per attempt
    "x-ms-date",                  // Azure signatures
    "x-ot-span-context",          // trace context (OpenTracing)
    "x-queue-start",              // the time at which a router saw the request
    "x-real-ip",                  // hops
    "x-request-id",               // ids per attempt
    "x-request-start",            // the time at which a router saw the request
    "x-retry-count",              // attempt counters (Segment)
    "x-slack-request-timestamp",  // Slack: signed and dated afresh
    "x-slack-retry-num",          //
    "x-slack-retry-reason",       //
    "x-slack-signature",          //
    "x-stainless-read-timeout",   // attempt counters (Stainless SDKs)
    "x-stainless-retry-count",    //
    "x-stripe-client-telemetry",  // the timing of earlier requests
    "x-stripe-client-user-agent", //
    "x-vcap-request-id",          // ids per attempt (Cloud Foundry)
];

/// Volatile headers by how their names begin.
const PREFIXES: &[&str] = &[
    "cf-",                   // Cloudflare
    "l5d-",                  // Linkerd
    "ot-tracer-",            // trace context (OpenTracing)
    "rsa-",                  // RudderStack's retries
    "sec-ch-ua",             // what the client is
    "sec-fetch-",            // how the client came to send it
    "svix-",                 // Svix: signed and dated afresh
    "uberctx-",              // trace context (Jaeger)
    "x-b3-",                 // trace context (Zipkin)
    "x-datadog-",            // trace context (Datadog)
    "x-envoy-",              // Envoy and Istio: attempts and timeouts
    "x-forwarded-",          // hops
    "x-hub-signature",       // signatures
    "x-instana-",            // trace context (Instana)
    "x-original-forwarded-", // hops
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
            "traceparent",
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
