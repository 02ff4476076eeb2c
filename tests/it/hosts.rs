//! Which host a request is for: named once, in one way, and the same for every hop.
//!
//! Lines of a head that a library for HTTP/2 refuses to write (no host, two, or a malformed one),
//! targets in absolute form, `*`, HTTP/1.0 and `Connection` are for HTTP/1.1 callers alone.

use crate::support::{
    Client, Incoming, Origin, Outgoing, Proxy, Request, Way, assert_executed, assert_problem,
    assert_replay, client, every_way, every_way_out,
};

every_way! {
    a_host_is_forwarded_as_it_was_written,
    spellings_of_one_host_are_one_operation,
}

every_way_out! {
    a_host_that_is_missing_repeated_or_malformed_is_refused,
    targets_in_absolute_form_are_forwarded_in_origin_form,
    targets_that_contradict_the_host_are_refused,
    http_1_0_requests_may_name_no_host_but_not_two,
    the_asterisk_stands_for_the_server_itself,
    connection_may_not_name_what_matters_to_an_unguarded_request,
}

/// A guarded and an unguarded request for this target.
fn both(client: &Client, target: &str) -> [Request; 2] {
    [client.post(target).key("k1").body("10"), client.get(target)]
}

/// A5: a request names its host once, and names nothing else there.
async fn a_host_that_is_missing_repeated_or_malformed_is_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let client = client(&proxy);
    let malformed: [&[u8]; 24] = [
        b"",
        b"a b",
        b"a,b",
        b"a, a",
        b"a/b",
        b"a/",
        b"/",
        b"u@a",
        b"u:p@a",
        b"a#b",
        b"a?b",
        b"a:x",
        b"a:-1",
        b"a:80:80",
        b":80",
        b"::1",
        b"[::1",
        b"[::1]x",
        b"a\tb",
        b"caf\xe9",
        b"\"a\"",
        b"http://a",
        b"a\\b",
        b"<a>",
    ];
    for request in both(&client, "/charges") {
        assert_problem(&request.clone().without_host().send().await, 400, "bad-request");
        for host in malformed {
            let refused = request.clone().without_host().header("Host", host).send().await;
            assert_problem(&refused, 400, "bad-request");
        }
        for (one, two) in [("a", "a"), ("a", "b"), ("a", ""), ("", "a"), ("a", "A")] {
            let twice = request.clone().without_host().header("Host", one).header("hOST", two);
            assert_problem(&twice.send().await, 400, "bad-request");
        }
    }
    assert_eq!(origin.heads(), 0);
}

/// A5: a host is forwarded as it was written, whatever its key makes of it.
async fn a_host_is_forwarded_as_it_was_written() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let hosts = [
        "a",
        "A.Example",
        "a.",
        "a:80",
        "a:443",
        "a:",
        "a_b",
        "-a",
        "127.0.0.1",
        "[::1]",
        "[::1]:8080",
        "xn--caf-dma",
        "*.a",
        "a%41",
    ];
    // no library for HTTP/2 says the last one
    let Way { incoming, outgoing } = Way::now();
    let by_http2 = incoming.is_http2() || outgoing.is_http2();
    for &host in if by_http2 { &hosts[..hosts.len() - 1] } else { &hosts } {
        for request in both(&client(&proxy), "/charges") {
            let before = origin.hits();
            let reply = request.host(host).send().await;
            assert_eq!(reply.status, 201, "{host}: {reply:?}");
            if !reply.is_repeat() {
                assert_eq!(origin.hits(), before + 1);
                assert_eq!(origin.last().head.all("host"), [host.as_bytes()]);
                assert_eq!(origin.last().header("x-forwarded-host"), Some(host));
            }
        }
    }
}

/// A5: one host has many spellings, and is one host for a key; another host is another.
async fn spellings_of_one_host_are_one_operation() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = |host: &str| client(&proxy).post("/charges").host(host).key("k1").body("10");
    let ports = if Way::now().incoming == Incoming::Http2Tls { [443, 80] } else { [80, 443] };
    let [usual, other] =
        ports.map(|port| [format!("api.example:{port}"), format!("Api.Example.:{port}")]);
    let groups: [&[&str]; 5] = [
        &["api.example", "API.example", "api.example.", &usual[0], &usual[1]],
        &["api.example:8080", "API.EXAMPLE:8080", "api.example.:8080"],
        &[&other[0], &other[1]],
        &["other.example"],
        &["[::1]:8080"],
    ];
    for (number, spellings) in groups.into_iter().enumerate() {
        let first = post(spellings[0]).send().await;
        assert_executed(&first);
        for spelling in spellings {
            assert_replay(&first, &post(spelling).send().await);
        }
        assert_eq!(origin.hits(), number + 1);
    }
}

/// A5: a target that names its host says the same as the Host line, and is forwarded without.
async fn targets_in_absolute_form_are_forwarded_in_origin_form() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let targets = [
        ("http://api.example/a?b=c", "/a?b=c"),
        ("HTTP://API.example:80/a%2Fb", "/a%2Fb"),
        ("http://api.example", "/"),
        ("http://api.example?q=1", "/?q=1"),
        ("http://api.example/http://other/", "/http://other/"),
        ("http://api.example//a/../b", "//a/../b"),
    ];
    for (number, (absolute, forwarded)) in targets.into_iter().enumerate() {
        let post = |target: &str| client(&proxy).post(target).key(format!("k{number}")).body("10");
        client(&proxy).get(absolute).send().await;
        let seen = origin.last();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", forwarded));
        assert_eq!(seen.head.all("host"), [b"api.example"]);
        let first = post(absolute).send().await;
        assert_executed(&first);
        assert_eq!(origin.last().target, forwarded);
        assert_replay(&first, &post(forwarded).send().await);
    }
}

/// A5: a target that names another host than the Host line, or a user, is for nobody.
async fn targets_that_contradict_the_host_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for target in [
        "http://other.example/",
        "http://api.example:8080/",
        "http://api.example.evil/",
        "http://evil@api.example/",
        "http://api.example:pw@other/",
        "http://api.example@other/",
    ] {
        for request in both(&client(&proxy), target) {
            assert_eq!(request.clone().send().await.status, 400, "{target}");
            let without = request.without_host().send().await;
            assert_eq!(without.status, 400, "a target is no Host line: {target}");
        }
    }
    assert_eq!(origin.heads(), 0);
}

/// A5, C11: HTTP/1.0 may name no host; it is given the upstream's, or that of its target.
async fn http_1_0_requests_may_name_no_host_but_not_two() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let own = origin.addr.to_string();
    for (target, host) in
        [("/charges", own.as_str()), ("http://api.example/charges", "api.example")]
    {
        for request in both(&client(&proxy), target) {
            let reply = request.without_host().version10().send().await;
            assert_eq!(reply.status, 201, "{reply:?}");
            assert_eq!(origin.last().head.all("host"), [host.as_bytes()]);
            assert_eq!(origin.last().target, "/charges");
        }
    }
    let hits = origin.hits();
    for request in both(&client(&proxy), "/charges") {
        let twice = request.header("Host", "other").version10();
        assert_problem(&twice.send().await, 400, "bad-request");
    }
    assert_eq!(origin.hits(), hits);
}

/// A5: only a request about the server itself has no path, and it is not a guarded one.
async fn the_asterisk_stands_for_the_server_itself() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let reply = client(&proxy).method("OPTIONS", "*").send().await;
    assert_eq!((reply.status, origin.last().target.as_str()), (201, "*"));
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for target in ["*", "charges", "api.example:80"] {
            let refused = client(&proxy).method(method, target).send().await;
            assert_problem(&refused, 400, "bad-request");
        }
    }
    assert_eq!(origin.heads(), 1);
}

/// A6: what is passed may not have its caller, host or length taken off on the way either; other
/// fields that are named go no further, on however many lines.
async fn connection_may_not_name_what_matters_to_an_unguarded_request() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let get = || client(&proxy).get("/charges").caller("a").header("X-Forwarded-For", "192.0.2.7");
    for name in [
        "Host",
        "close, authorization",
        "COOKIE",
        "X-Forwarded-For",
        "Forwarded",
        "Content-Length",
        "Transfer-Encoding",
        "x-forwarded-proto",
    ] {
        let refused = get().header("Connection", name).send().await;
        assert_problem(&refused, 400, "bad-request");
        let refused = get().header("Connection", "X-Other").header("Connection", name).send().await;
        assert_problem(&refused, 400, "bad-request");
    }
    assert_eq!(origin.heads(), 0);
    let get = get().header("Connection", "X-One,, keep-alive").header("Connection", " x-two ");
    let get = get.header("X-One", "1").header("X-Two", "2").header("X-Three", "3");
    let get = get.header("Keep-Alive", "timeout=5").header("TE", "trailers, deflate");
    let get = get.header("Proxy-Connection", "close").header("Proxy-Authorization", "Basic eA==");
    get.send().await;
    let seen = origin.last();
    for gone in ["x-one", "x-two", "keep-alive", "proxy-connection", "proxy-authorization"] {
        assert!(!seen.head.has(gone), "{gone}: {seen:?}");
    }
    assert_eq!(seen.header("te"), Some("trailers"));
    assert_eq!(seen.head.has("connection"), Way::now().outgoing == Outgoing::Http1, "{seen:?}");
    assert_eq!(seen.header("x-three"), Some("3"));
    assert_eq!(seen.header("authorization"), Some("Bearer a"));
}
