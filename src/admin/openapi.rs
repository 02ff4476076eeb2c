//! What the admin listener answers, as a document of its own kind (`OpenAPI`).

use super::answer::Answer;

/// The document. The tests hold it against the list of endpoints, and what is answered against it.
const DOCUMENT: &str = include_str!("openapi.json");

/// Shows the document.
pub(super) fn show() -> Answer {
    Answer::text("application/json", DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::admin::endpoint::{ENDPOINTS, Protection};
    use crate::idempotency::Stage;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Every operation that is documented, by its method and its path.
    fn documented(document: &Value) -> BTreeSet<(String, String)> {
        let mut operations = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys().filter(|name| *name != "parameters") {
                operations.insert((method.to_uppercase(), path.clone()));
            }
        }
        operations
    }

    #[test]
    fn every_endpoint_is_documented_and_nothing_else() {
        let listed = ENDPOINTS.iter();
        let listed = listed.map(|one| (one.method.as_str().to_owned(), one.path.to_owned()));
        assert_eq!(documented(&document()), listed.collect());
    }

    #[test]
    fn the_token_is_asked_for_where_it_is_needed() {
        let document = document();
        for listed in &ENDPOINTS {
            let method = listed.method.as_str().to_lowercase();
            let operation = &document["paths"][listed.path][&method];
            let asks = operation["security"] == serde_json::json!([{}, {"token": []}]);
            assert_eq!(asks, listed.protection == Protection::Api, "{method} {}", listed.path);
            assert_eq!(operation["responses"].get("401").is_some(), asks);
            let has_key = document["paths"][listed.path]["parameters"][0]["name"] == "key";
            assert_eq!(has_key, listed.path.contains("{key}"), "{}", listed.path);
        }
    }

    #[test]
    fn names_are_those_of_the_program() {
        let document = document();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let states = document["components"]["schemas"]["State"]["enum"].clone();
        assert_eq!(states, serde_json::json!(Stage::ALL.map(Stage::name)));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn follow(document: &Value, value: &Value) {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                let place = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(place).is_some(), "{reference}");
            }
            match value {
                Value::Object(object) => object.values().for_each(|value| follow(document, value)),
                Value::Array(array) => array.iter().for_each(|value| follow(document, value)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = document();
        follow(&document, &document);
    }
}
