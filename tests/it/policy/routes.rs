//! Which route a request takes, and that it is guarded as that route says.

use super::{
    assert_one_operation, assert_own_operations, assert_refused, assert_unguarded, logged, told,
};
use crate::support::{Origin, Proxy, client};

/// Fails unless requests with these methods, hosts and targets take these routes.
async fn assert_taken(toml: &str, table: &[(&str, &str, &str, &str)]) {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--access-log", "all").toml(toml).start().await;
    for (index, (method, host, target, _)) in table.iter().enumerate() {
        let request = client(&proxy).method(method, target).host(host);
        request.key(format!("k{index}")).send().await;
    }
    let lines = logged(&proxy, table.len()).await;
    for (line, (method, host, target, route)) in lines.iter().zip(table) {
        assert_eq!(line["route"], *route, "{method} {target} for {host}: {line}");
        assert_eq!(line["status"], 201, "{method} {target} for {host}: {line}");
    }
    assert_eq!(origin.hits(), table.len());
}

#[tokio::test]
async fn the_first_route_that_matches_is_taken() {
    let narrow_first = r#"
        [[route]]
        name = "batch"
        path = "/v1/batch"
        [[route]]
        name = "one"
        path = "/v1/{name}"
        [[route]]
        name = "rest"
        path = "/v1/{*rest}"
    "#;
    let paths = [
        ("POST", "a", "/v1/batch", "batch"),
        ("POST", "a", "/v1/batch?x=1", "batch"),
        ("POST", "a", "/v1/import", "one"),
        ("POST", "a", "/v1/batch/7", "rest"),
        ("POST", "a", "/v1", "default"),
        ("POST", "a", "/v2/batch", "default"),
    ];
    assert_taken(narrow_first, &paths).await;
    // Two of which neither takes all that the other takes: what counts is which one stands first.
    let route =
        |name: &str, path: &str| format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\n");
    let (left, right) = (route("left", "/{a}/x"), route("right", "/y/{b}"));
    for (toml, both) in [([&*left, &*right], "left"), ([&*right, &*left], "right")] {
        let apart = [("POST", "a", "/z/x", "left"), ("POST", "a", "/y/z", "right")];
        assert_taken(&toml.concat(), &[&apart[..], &[("POST", "a", "/y/x", both)]].concat()).await;
    }
}

#[tokio::test]
async fn parameters_take_one_segment_and_the_rest_takes_all() {
    let toml = r#"
        [[route]]
        name = "one"
        path = "/lists/{list_id}/add"
        [[route]]
        name = "rest"
        path = "/files/{*path}"
    "#;
    let table = [
        ("POST", "a", "/lists/7/add", "one"),
        ("POST", "a", "/lists/%2F/add", "one"),
        ("POST", "a", "/lists/{list_id}/add", "one"),
        ("POST", "a", "/lists//add", "default"),
        ("POST", "a", "/lists/7/8/add", "default"),
        ("POST", "a", "/lists/7/add/", "default"),
        ("POST", "a", "/lists/7", "default"),
        ("POST", "a", "/files/a", "rest"),
        ("POST", "a", "/files/a/b/c", "rest"),
        ("POST", "a", "/files/a/", "rest"),
        ("POST", "a", "/files//", "rest"),
        ("POST", "a", "/files/", "default"),
        ("POST", "a", "/files", "default"),
        ("POST", "a", "/filesystem/a", "default"),
    ];
    assert_taken(toml, &table).await;
}

#[tokio::test]
async fn a_host_takes_every_port_unless_it_names_one() {
    let toml = r#"
        [[route]]
        name = "port"
        host = "api.example:8443"
        [[route]]
        name = "host"
        host = "api.example"
        [[route]]
        name = "below"
        host = "*.example"
        [[route]]
        name = "address"
        host = "[::1]:9000"
    "#;
    let table = [
        ("POST", "api.example:8443", "/a", "port"),
        ("POST", "API.Example.:8443", "/a", "port"),
        ("POST", "api.example", "/a", "host"),
        ("POST", "api.example:80", "/a", "host"),
        ("POST", "api.example:9", "/a", "host"),
        ("POST", "api.example:8444", "/a", "host"),
        ("GET", "API.EXAMPLE", "/a", "host"),
        ("POST", "www.example", "/a", "below"),
        ("POST", "a.b.example:7", "/a", "below"),
        ("POST", "example", "/a", "default"),
        ("POST", "badexample", "/a", "default"),
        ("POST", "api.example.evil", "/a", "default"),
        ("POST", "[::1]:9000", "/a", "address"),
        ("POST", "[::1]", "/a", "default"),
        ("POST", "api.example", "http://api.example/absolute", "host"),
    ];
    assert_taken(toml, &table).await;
}

#[tokio::test]
async fn methods_say_which_requests_a_route_is_for() {
    let toml = r#"
        [[route]]
        name = "gets"
        path = "/a"
        methods = ["GET"]
        [[route]]
        name = "all"
        path = "/a"
    "#;
    let table = [
        ("GET", "a", "/a", "gets"),
        ("POST", "a", "/a", "all"),
        ("HEAD", "a", "/a", "all"),
        ("BREW", "a", "/a", "all"),
        ("GET", "a", "/b", "default"),
    ];
    assert_taken(toml, &table).await;
}

/// A route is as narrow as its path is spelled: no spelling of it that a server may take for the
/// same comes under it, and none passes the guard.
#[tokio::test]
async fn paths_are_matched_as_they_are_spelled() {
    let origin = Origin::start().await;
    let toml = "[[route]]\nname = \"off\"\npath = \"/a\"\nmode = \"off\"\n";
    let proxy = told(&origin, toml).await;
    let post = |target: &str| client(&proxy).post(target).body("10");
    assert_unguarded(&origin, &post("/a")).await;
    assert_unguarded(&origin, &post("/a?b")).await;
    let others = ["/a/", "//a", "/%61", "/A", "/a;b", "/./a", "/b/../a", "/a%20", "/a%3Fb"];
    assert_own_operations(&origin, others.map(post)).await;
    let seen: Vec<_> = origin.requests().into_iter().skip(4).map(|seen| seen.target).collect();
    assert_eq!(seen, others, "each goes on as it was spelled");
}

#[tokio::test]
async fn what_no_route_takes_is_guarded_as_the_defaults_say() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        key = ["header:X-Op"]
        require_key = true
        [[route]]
        name = "own"
        path = "/own"
        key = ["header:X-Own"]
        [[route]]
        name = "half"
        path = "/half"
        require_key = false
    "#;
    let proxy = told(&origin, toml).await;
    let post = |target: &str, name: &str| client(&proxy).post(target).header(name, "1").body("10");
    let missing = (400, "key-missing");
    for target in ["/", "/own/", "/other"] {
        assert_one_operation(&origin, [post(target, "X-Op"), post(target, "x-op")]).await;
        assert_refused(&origin, &post(target, "X-Own"), missing).await;
    }
    // A route takes over from the defaults whatever it does not say itself.
    assert_one_operation(&origin, [post("/own", "X-Own"), post("/own", "X-Own")]).await;
    assert_refused(&origin, &post("/own", "X-Op"), missing).await;
    assert_one_operation(&origin, [post("/half", "X-Op"), post("/half", "X-Op")]).await;
    assert_unguarded(&origin, &post("/half", "X-Own")).await;
}

#[tokio::test]
async fn a_route_that_is_off_lets_everything_pass() {
    let origin = Origin::start().await;
    let toml = r#"
        [[route]]
        name = "off"
        path = "/off"
        mode = "off"
        max_request = "1KiB"
        key = ["header:X-Op"]
        require_key = true
        caller = ["header:X-Caller"]
        anonymous = "refuse"
    "#;
    let proxy = told(&origin, toml).await;
    let post = || client(&proxy).post("/off");
    for request in [
        post().body("10"),
        post().key("k1").header("X-Op", "1").body("10"),
        post().header("X-Op", "two words").body("10"),
        post().header("X-Op", "1").header("X-Op", "2").body("10"),
        post().body("x".repeat(5000)),
        client(&proxy).method("DELETE", "/off").key("k1"),
        client(&proxy).get("/off").header("X-HTTP-Method-Override", "POST"),
    ] {
        assert_unguarded(&origin, &request).await;
    }
    let request = || client(&proxy).post("/on").key("k1").body("10");
    assert_one_operation(&origin, [request(), request()]).await;
}

#[tokio::test]
async fn a_method_is_guarded_where_a_route_lists_it() {
    let origin = Origin::start().await;
    let toml = r#"
        [[route]]
        name = "reports"
        path = "/reports/{id}"
        methods = ["GET", "BREW"]
        [[route]]
        name = "notes"
        path = "/notes"
        methods = ["PUT"]
    "#;
    let proxy = told(&origin, toml).await;
    let ask = |method: &str, target: &str| client(&proxy).method(method, target).key("k1");
    for method in ["GET", "BREW"] {
        let request = || ask(method, "/reports/7");
        assert_one_operation(&origin, [request(), request()]).await;
        assert_unguarded(&origin, &ask(method, "/reports")).await;
        let keyless = || client(&proxy).method(method, "/reports/8");
        assert_one_operation(&origin, [keyless(), keyless()]).await;
    }
    assert_unguarded(&origin, &ask("HEAD", "/reports/7")).await;
    // What a route's methods leave out takes another route, here what holds by default.
    assert_own_operations(&origin, [ask("POST", "/reports/7"), ask("POST", "/notes")]).await;
}

#[tokio::test]
async fn the_defaults_say_which_methods_are_guarded() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        methods = ["GET", "POST"]
        [[route]]
        name = "a"
        path = "/a"
    "#;
    let proxy = told(&origin, toml).await;
    for target in ["/a", "/b"] {
        let ask = |method: &str| client(&proxy).method(method, target).key("k1");
        assert_one_operation(&origin, [ask("GET"), ask("GET")]).await;
        assert_one_operation(&origin, [ask("POST"), ask("POST")]).await;
        assert_unguarded(&origin, &ask("PUT")).await;
        assert_unguarded(&origin, &ask("DELETE")).await;
    }
}

/// C24: a method that is only asked for in a header is guarded as the route says.
#[tokio::test]
async fn a_header_that_asks_for_another_method_is_no_way_past_a_route() {
    let origin = Origin::start().await;
    let toml = r#"
        [[route]]
        name = "ops"
        path = "/ops"
        key = ["header:X-Op"]
        require_key = true
    "#;
    let proxy = told(&origin, toml).await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let get = |target: &str| client(&proxy).get(target).header(name, "POST");
        assert_refused(&origin, &get("/ops"), (400, "key-missing")).await;
        let keyed = || get("/ops").header("X-Op", name);
        assert_one_operation(&origin, [keyed(), keyed()]).await;
        assert_one_operation(&origin, [get("/other"), get("/other")]).await;
    }
    assert_unguarded(&origin, &client(&proxy).get("/ops").header("X-Op", "1")).await;
}

/// C24: a request that asks for another method is not the one that it looks like: it never gets the
/// answer to that.
#[tokio::test]
async fn a_request_that_asks_for_another_method_is_another_one() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = || client(&proxy).post("/a").key("k1").body("10");
    let as_delete = || post().header("X-HTTP-Method-Override", "DELETE");
    let as_patch = || post().header("X-HTTP-Method-Override", "PATCH");
    for request in [post(), as_delete(), as_patch()] {
        let reply = request.send().await;
        assert!(!reply.is_repeat(), "{reply:?}");
    }
    let hits = origin.hits();
    assert!(post().send().await.is_repeat());
    assert_eq!(origin.hits(), hits);
}

/// C24: a route of one method takes what asks for that method, so that no spelling of it goes
/// around the route.
#[tokio::test]
async fn a_route_takes_what_asks_for_its_method() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        mode = "off"
        [[route]]
        name = "pay"
        path = "/pay"
        methods = ["POST"]
        mode = "enforce"
    "#;
    let proxy = told(&origin, toml).await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let get = || client(&proxy).get("/pay").key(name).header(name, "POST");
        assert_one_operation(&origin, [get(), get()]).await;
    }
}
