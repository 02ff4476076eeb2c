//! What counts of a JSON body, and what its values are: compared with what `serde_json` reads.

use oncegate::idempotency::Identity;
use oncegate::policy::Route;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use crate::change::{BodyChange, bodies, edited};
use crate::config;
use crate::generate::{LEAVES, POINTERS, document, pointers};
use crate::json::{self, Document, Json, Tokens, tokens};
use crate::request::{Place, Plan, Sent, Source};

fn sent(body: &str) -> Sent {
    Sent {
        method: "POST".into(),
        authority: "a".into(),
        path: "/".into(),
        query: None,
        lines: vec![("K".into(), b"a".to_vec())],
        body: body.into(),
        certificate: None,
    }
}

fn route(source: Source, ignored: &[&'static str]) -> Route {
    Plan { key: vec![source], ignored: ignored.into(), ..Plan::default() }.route(7)
}

/// One that compares bodies with a fingerprint, and one that does with a checksum.
fn routes(ignored: &[&'static str]) -> [Route; 2] {
    let by_key = Source::Joined(vec![Place::Header("k")]);
    [by_key, Source::Checksum].map(|source| route(source, ignored))
}

fn identity(route: &Route, body: &str) -> Option<Identity> {
    sent(body).identify(route).unwrap().identity()
}

/// What a text means, unless servers may differ about that.
fn meaning(text: &str) -> Option<Value> {
    let mut document = Document::read(text)?;
    let mut clear = true;
    for index in 0..document.value.nodes() {
        document.value.change(index, &mut |value| {
            let Json::Object(items, _) = value else { return };
            let mut names: Vec<_> = items.iter().filter_map(|item| item.name.as_ref()).collect();
            let all = names.len();
            names.sort_by_cached_key(|(name, _)| serde_json::from_str::<String>(name).ok());
            names.dedup_by_key(|(name, _)| serde_json::from_str::<String>(name).ok());
            clear &= names.len() == all;
        });
    }
    serde_json::from_str(text).ok().filter(|_| clear)
}

fn leads(token: &str, index: usize) -> bool {
    token == "*" || token == index.to_string()
}

/// The value without what a pointer names.
fn remove(value: &mut Value, pointers: &[Tokens]) {
    let next = |leads: &dyn Fn(&str) -> bool| -> Vec<Tokens> {
        let led = pointers.iter().filter(|pointer| pointer.first().is_some_and(|one| leads(one)));
        led.map(|pointer| pointer[1..].to_vec()).collect()
    };
    let is_gone = |next: &[Tokens]| next.iter().any(Vec::is_empty);
    match value {
        Value::Object(members) => members.retain(|name, value| {
            let next = next(&|token| token == name);
            remove(value, &next);
            !is_gone(&next)
        }),
        Value::Array(elements) => {
            let mut index = 0;
            elements.retain_mut(|value| {
                let next = next(&|token| leads(token, index));
                index += 1;
                remove(value, &next);
                !is_gone(&next)
            });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The values that a pointer names, if all are there and can be a key.
fn find(value: &Value, pointer: &[String]) -> Option<Vec<Value>> {
    let Some((token, deeper)) = pointer.split_first() else {
        let is_key = match value {
            Value::String(text) => !text.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        return is_key.then(|| vec![value.clone()]);
    };
    match value {
        Value::Object(members) => find(members.get(token)?, deeper),
        Value::Array(elements) => {
            let led = elements.iter().enumerate().filter(|(index, _)| leads(token, *index));
            let found: Vec<_> = led.map(|(_, value)| find(value, deeper)).collect::<Option<_>>()?;
            (!found.is_empty()).then(|| found.concat())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn check_ignored(
    ignored: &[&'static str],
    (one, other): (&str, &str),
) -> Result<(), TestCaseError> {
    let pointers: Vec<_> = ignored.iter().map(|text| tokens(text)).collect();
    let [left, other_left] = [one, other].map(|text| json::without(text.as_bytes(), &pointers));
    for route in routes(ignored) {
        let is_same = identity(&route, one) == identity(&route, other);
        prop_assert_eq!(is_same, left == other_left, "{:?}: {} and {}", ignored, one, other);
    }
    if left == other_left
        && let (Some(mut one), Some(mut other)) = (meaning(one), meaning(other))
    {
        remove(&mut one, &pointers);
        remove(&mut other, &pointers);
        prop_assert_eq!(one, other);
    }
    Ok(())
}

/// Puts a member that is ignored in all places of the root, one after the other.
fn with_member(document: &Document, name: &str, value: &str) -> Vec<String> {
    let Json::Object(items, _) = &document.value else { return Vec::new() };
    let item = Document::read(&format!("{{{name}:{value}}}")).map(|text| text.value);
    let Some(Json::Object(new, _)) = item else { return Vec::new() };
    let place = |at: usize| {
        let mut document = document.clone();
        if let Json::Object(items, _) = &mut document.value {
            items.splice(at..at, new.clone());
        }
        document.write()
    };
    (0..=items.len()).map(place).collect()
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn what_is_ignored_is_all_that_may_differ(
        ignored in pointers(),
        text in document(),
        changes in bodies(),
    ) {
        let document = Document::read(&text).unwrap();
        prop_assert_eq!(document.write(), &text[..]);
        let other = edited(document, &changes);
        check_ignored(&ignored, (&text, &other))?;
    }

    #[test]
    fn documents_that_have_nothing_to_do_with_one_another(
        ignored in pointers(),
        one in document(),
        other in document(),
    ) {
        check_ignored(&ignored, (&one, &other))?;
    }

    #[test]
    fn an_ignored_member_may_come_and_go_wherever_it_stands(
        text in document(),
        name in select(vec!["\"t\"", "\"\\u0074\""]),
        value in select(&LEAVES[..]),
    ) {
        let Some(meaning) = meaning(&text).filter(|meaning| meaning.get("t").is_none()) else {
            return Ok(());
        };
        // A member that is put before a space takes it over.
        let spaceless = text.replace([' ', '\n'], "");
        let document = Document::read(&spaceless).unwrap();
        for other in with_member(&document, name, value) {
            for route in routes(&["/k/t", "/t"]) {
                prop_assert_eq!(identity(&route, &spaceless), identity(&route, &other), "{}", &other);
            }
            for route in routes(&["/k/t", "/l"]) {
                prop_assert_ne!(identity(&route, &spaceless), identity(&route, &other), "{}", &other);
            }
        }
        prop_assert!(meaning.get("t").is_none());
    }

    #[test]
    fn keys_are_the_values_that_serde_json_finds(
        pointer in select(&POINTERS[..]),
        one in document(),
        changes in bodies(),
    ) {
        check_keys(pointer, &one, &changes)?;
    }
}

fn check_keys(
    pointer: &'static str,
    one: &str,
    changes: &[BodyChange],
) -> Result<(), TestCaseError> {
    let route = route(Source::Joined(vec![Place::Json(pointer)]), &[]);
    let other = edited(Document::read(one).unwrap(), changes);
    let keys = [one, &other].map(|text| identity(&route, text).map(|identity| identity.key));
    let expected = [one, &other].map(|text| Some(find(&meaning(text)?, &tokens(pointer))));
    for (key, expected) in keys.iter().zip(&expected) {
        if let Some(expected) = expected {
            prop_assert_eq!(key.is_some(), expected.is_some(), "{}: {} {}", pointer, one, &other);
        }
    }
    if let [Some(key), Some(other_key)] = keys
        && let [Some(Some(values)), Some(Some(other_values))] = expected
    {
        let same_values = values == other_values;
        // A number is as it is spelled, which is more than what it means.
        let spelled = !values.iter().any(Value::is_number);
        prop_assert!(same_values || key != other_key, "{}: {} {}", pointer, one, &other);
        prop_assert!(!same_values || !spelled || key == other_key, "{pointer}: {one} {other}");
    }
    Ok(())
}

/// What is there twice, or in two spellings, is never taken for the same as what a server reads.
#[test]
fn values_that_servers_may_read_otherwise_are_no_keys() {
    let key = |text: &str| identity(&route(Source::Joined(vec![Place::Json("/k")]), &[]), text);
    for text in [
        r#"{"k":"a","k":"a"}"#,
        r#"{"k":"a","\u006b":"b"}"#,
        r#"{"l":1,"k":"a","l":1}"#,
        r#"{"k":"a"}{}"#,
        r#"{"k":"\ud800"}"#,
    ] {
        assert_eq!(key(text), None, "{text}");
    }
    let is_one = |one: &str, other: &str| {
        let [one, other] =
            [one, other].map(|value| key(&format!("{{\"k\":{value}}}")).unwrap().key);
        one == other
    };
    assert!(is_one("\"a\"", "\"\\u0061\""));
    for (one, other) in [
        ("1", "\"1\""),
        ("1", "1.0"),
        ("1", "1e0"),
        ("0", "-0"),
        ("true", "\"true\""),
        ("9007199254740993", "9007199254740992"),
        ("1e400", "1e401"),
    ] {
        assert!(!is_one(one, other), "{one} {other}");
    }
}
