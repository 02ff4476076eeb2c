//! Every route of `examples/altcraft.toml`, as `oncegate check` shows it, gets requests.

use std::collections::BTreeMap;
use std::fs;

use super::{before, executions};
use crate::support::{Origin, client, example, run};

/// What the file says of the routes of one place: how many there are, and how many of them have a
/// checksum.
const PLACES: [(&str, usize, usize); 9] = [
    ("/api/integrations", 3, 3),
    ("/api/v1.0/lists", 9, 9),
    ("/api/v1.1/campaigns", 5, 1),
    ("/api/v1.1/market", 2, 1),
    ("/api/v1.1/profiles", 10, 6),
    ("/api/v1.1/promocodes", 1, 1),
    ("/api/v1.1/scampaigns", 2, 0),
    ("/api/v1.1/suppresses", 2, 1),
    ("/api/v1.1/workflows", 5, 0),
];

/// A route as it is shown: its name, its path, and its key.
struct Shown {
    name: String,
    path: String,
    has_checksum: bool,
}

/// The routes of the file, without what holds where none matches.
async fn shown() -> Vec<Shown> {
    let path = example("altcraft.toml");
    let checked = run(&["check", "--config", &path.to_string_lossy()], &[]).await.stdout;
    let (table, _) = checked.split_once("\n\n").expect("a table, and notes below it");
    let rows = table.lines().skip(1).map(|line| {
        let cells: Vec<_> =
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let [name, "enforce", "POST PUT PATCH DELETE", path, key, caller, "1day"] = cells[..]
        else {
            panic!("a route that is not like the others: {cells:?}");
        };
        assert_eq!(caller, "header:authorization query:token", "{name}");
        let has_checksum = match key {
            "header:request-id checksum" => true,
            "header:request-id" => false,
            _ => panic!("{name} has another key: {key}"),
        };
        Shown { name: name.to_owned(), path: path.to_owned(), has_checksum }
    });
    let mut routes: Vec<_> = rows.collect();
    let last = routes.pop().expect("the defaults");
    assert_eq!((last.name.as_str(), last.has_checksum), ("default", false));
    routes
}

#[tokio::test]
async fn every_route_is_keyed_as_the_file_says() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    let routes = shown().await;
    for Shown { name, path, has_checksum } in &routes {
        let path = path.replace("{list_id}", "5");
        let attempt = |agent: &str| {
            let post = client(&proxy).post(&path).header("Content-Type", "application/json");
            post.caller("t1").header("User-Agent", agent).body(r#"{"email":"a@example.com"}"#)
        };
        let known = |agent: &str| attempt(agent).request_id(format!("id-of-{name}"));
        let without = executions(&origin, [attempt("a/1"), attempt("b/2"), attempt("c/3")]).await;
        assert_eq!(without, if *has_checksum { 1 } else { 3 }, "{name}");
        let with = executions(&origin, [known("a/1"), known("b/2"), known("c/3")]).await;
        assert_eq!(with, 1, "{name}");
        let token = format!("{path}?token=t2");
        let other = client(&proxy).post(&token).request_id(format!("id-of-{name}")).body("{}");
        assert_eq!(executions(&origin, [other.clone(), other]).await, 1, "{name}");
    }
    let expected = PLACES.map(|(place, all, with)| (place.to_owned(), (all, with)));
    assert_eq!(places(&routes), BTreeMap::from(expected));
}

/// Nothing in the file is left out of the table above.
#[tokio::test]
async fn every_route_of_the_file_is_shown() {
    let text = fs::read_to_string(example("altcraft.toml")).expect("the example");
    let headers = text.lines().filter(|line| line.starts_with("[[route]] # ")).count();
    assert_eq!(headers, shown().await.len());
    assert_eq!(text.matches("\n[[route]]").count(), headers, "each says where it comes from");
}

/// How many routes each place has, and how many of them with a checksum.
fn places(routes: &[Shown]) -> BTreeMap<String, (usize, usize)> {
    let mut places = BTreeMap::new();
    for route in routes {
        let segments: Vec<_> = route.path.split('/').collect();
        let place = match segments[..] {
            ["", "api", "integrations", ..] => segments[..3].join("/"),
            _ => segments[..4].join("/"),
        };
        let (all, with_checksum) = places.entry(place).or_default();
        *all += 1;
        *with_checksum += usize::from(route.has_checksum);
    }
    places
}
