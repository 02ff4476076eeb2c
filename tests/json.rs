//! Documents that somebody could send, given to the fuzz target of JSON bodies: mutated seeds are
//! seldom JSON.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and the target is public for the fuzzer"
)]

use std::collections::BTreeSet;

use oncegate::policy::{Ignored, Pointer, key_material, without};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[path = "../fuzz/targets/json.rs"]
mod json;

/// Names as a document spells them; some spell the same.
const NAMES: [&str; 12] =
    ["a", "b", "t", "*", "0", "1", "", "\\u0061", "a~b", "a/b", "\\ud83d\\ude00", "\\ud800"];

const SCALARS: [&str; 16] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "1.0",
    "-0",
    "1e999",
    "0.10",
    "9007199254740993",
    r#""""#,
    r#""a""#,
    r#""\u0061""#,
    r#""1""#,
    r#""}],:\\\"{[""#,
    r#""\ud800""#,
];

const TOKENS: [&str; 9] = ["a", "b", "t", "*", "0", "1", "", "a~0b", "a~1b"];

const SPACE: [&str; 5] = ["", " ", "\n", "\r\n\t", "  "];

#[derive(Clone, Debug)]
enum Document {
    Scalar(&'static str),
    Array(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
}

/// Any value, most of them with others inside.
fn values() -> BoxedStrategy<Document> {
    let scalar = select(&SCALARS[..]).prop_map(Document::Scalar);
    scalar.prop_recursive(3, 48, 5, containers).boxed()
}

fn containers(inner: impl Strategy<Value = Document> + Clone) -> impl Strategy<Value = Document> {
    let members = vec((select(&NAMES[..]), inner.clone()), 0..5);
    let members = (members, prop::bool::weighted(0.9)).prop_map(|(mut members, once)| {
        let mut seen = BTreeSet::new();
        members.retain(|(name, _)| !once || seen.insert(name.replace("\\u0061", "a")));
        Document::Object(members)
    });
    prop_oneof![2 => members, 1 => vec(inner, 0..5).prop_map(Document::Array)]
}

/// A document, and pointers of which most lead to something in it.
fn inputs() -> impl Strategy<Value = (Document, Vec<String>)> {
    let name = vec(select(&TOKENS[..]), 1..4).prop_map(|tokens| format!("/{}", tokens.join("/")));
    let document = containers(values());
    (document, vec(any::<Index>(), 0..4), vec(name, 0..3)).prop_map(
        |(document, chosen, mut pointers)| {
            let mut there = vec!["/a".to_owned()];
            document.point("", &mut there);
            pointers.extend(chosen.iter().map(|index| index.get(&there).clone()));
            (document, pointers)
        },
    )
}

impl Document {
    /// Lists the pointers to all that is inside.
    fn point(&self, own: &str, there: &mut Vec<String>) {
        let items: Vec<_> = match self {
            Self::Scalar(_) => return,
            Self::Array(elements) => {
                let stars = elements.iter().map(|value| ("*".to_owned(), value));
                let indexes = elements.iter().enumerate();
                stars.chain(indexes.map(|(index, value)| (index.to_string(), value))).collect()
            }
            Self::Object(members) => {
                let token = |name: &str| name.replace('~', "~0").replace('/', "~1");
                members.iter().map(|(name, value)| (token(name), value)).collect()
            }
        };
        for (token, value) in items {
            let pointer = format!("{own}/{token}");
            value.point(&pointer, there);
            there.push(pointer);
        }
    }

    /// Writes the document with the next of these spaces wherever there can be one.
    fn write(&self, space: &mut dyn FnMut() -> &'static str, text: &mut String) {
        let (brackets, items): (_, Vec<_>) = match self {
            Self::Scalar(scalar) => return *text += scalar,
            Self::Array(elements) => ("[]", elements.iter().map(|value| (None, value)).collect()),
            Self::Object(members) => {
                ("{}", members.iter().map(|(name, value)| (Some(name), value)).collect())
            }
        };
        *text += &brackets[..1];
        *text += space();
        for (index, (name, value)) in items.into_iter().enumerate() {
            if index > 0 {
                *text += &[",", space()].concat();
            }
            if let Some(name) = name {
                *text += &["\"", name, "\"", space(), ":", space()].concat();
            }
            value.write(space, text);
            *text += space();
        }
        *text += &brackets[1..];
    }
}

/// A text of the document; without any spaces it is a compact one.
fn written(document: &Document, spaces: &[&'static str]) -> String {
    let mut spaces = spaces.iter().cycle();
    let mut text = String::new();
    document.write(&mut || spaces.next().copied().unwrap_or_default(), &mut text);
    text
}

fn rest(pointer: &str, json: &str) -> String {
    let mut rest = Vec::new();
    let ignored = Ignored::new(&[pointer.parse().unwrap()]);
    without(&ignored, json.as_bytes(), &mut |piece| rest.extend_from_slice(piece));
    String::from_utf8(rest).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn documents_hold(
        (document, pointers) in inputs(),
        spaces in vec(select(&SPACE[..]), 0..8),
    ) {
        let text = written(&document, &spaces);
        json::run(format!("{}\n\n{text}", pointers.join("\n")).as_bytes());
    }

    #[test]
    fn documents_with_a_flaw_hold(
        (document, pointers) in inputs(),
        at in any::<Index>(),
        other in select(&["", ",", ":", "\"", "{", "]", "\\", "0", " ", "x"][..]),
    ) {
        let mut text = written(&document, &[]);
        let places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
        let at = *at.get(&places);
        let end = text.ceil_char_boundary(at + 1);
        text.replace_range(at..end, other);
        json::run(format!("{}\n\n{text}", pointers.join("\n")).as_bytes());
    }

    #[test]
    fn a_member_goes_without_a_trace_wherever_it_stands(
        members in vec(values(), 1..5),
        value in values(),
        separator in select(&[",", ", ", ",\n  "][..]),
    ) {
        let value = format!("\"sentAt\": {}", written(&value, &[" "]));
        let members = members.iter().enumerate();
        let members: Vec<_> =
            members.map(|(name, member)| format!("\"m{name}\": {}", written(member, &[]))).collect();
        let object = |members: &[String]| format!("{{{}}}", members.join(separator));
        for at in 0..=members.len() {
            let mut more = members.clone();
            more.insert(at, value.clone());
            prop_assert_eq!(rest("/sentAt", &object(&more)), object(&members));
        }
    }

    #[test]
    fn only_the_same_values_are_the_same_material(
        one in vec(select(&SCALARS[..]), 1..4),
        other in vec(select(&SCALARS[..]), 1..4),
    ) {
        let pointer: Pointer = "/*".parse().unwrap();
        let material = |values: &[&str]| {
            let mut material = Vec::new();
            let json = format!("[{}]", values.join(","));
            key_material(&pointer, json.as_bytes(), &mut material).map(|()| material)
        };
        let meaning = |values: &[&str]| values.join(",").replace("\\u0061", "a");
        if let (Some(first), Some(second)) = (material(&one), material(&other)) {
            prop_assert_eq!(first == second, meaning(&one) == meaning(&other));
            prop_assert!(first == second || !first.starts_with(&second));
        }
    }
}
