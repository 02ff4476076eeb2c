# Varnish as an idempotency proxy: answers to POST are cached by caller, path and Idempotency-Key.
vcl 4.1;

import std;

backend api {
    .host = "127.0.0.1";
    .port = "@UPSTREAM_PORT@";
}

sub vcl_recv {
    if (req.method != "POST") {
        return (pass);
    }
    # Without this the body is gone once the cache has been looked up.
    std.cache_req_body(64KB);
    return (hash);
}

sub vcl_hash {
    hash_data(req.http.Authorization);
    hash_data(req.url);
    hash_data(req.http.Idempotency-Key);
    return (lookup);
}

sub vcl_backend_fetch {
    # Varnish fetches what it may cache with GET; the API is to see what the caller has sent.
    if (!bereq.uncacheable) {
        set bereq.method = "POST";
    }
    return (fetch);
}

sub vcl_backend_response {
    if (!bereq.uncacheable) {
        set beresp.ttl = 1d;
        set beresp.grace = 0s;
    }
    return (deliver);
}
