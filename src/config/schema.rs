//! A JSON Schema of the config file, for editors.

use serde_json::{Map, Value, json};

use super::section::{KeyInfo, SectionInfo};
use super::written::Written;

/// A JSON Schema (2020-12) of the config file, made from the keys that there are.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for section in Written::sections() {
        let table = table(&section);
        match section.name {
            "" => properties.extend(keys(&section)),
            name if section.many => {
                let description = section.doc.as_str();
                let tables = json!({ "description": description, "type": "array", "items": table });
                properties.insert(name.to_owned(), tables);
            }
            name => insert(&mut properties, name, table),
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Oncegate",
        "description": "The config file of Oncegate, an HTTP proxy that makes any API idempotent.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

/// Puts a table under its name, or into the table that it is in.
fn insert(properties: &mut Map<String, Value>, name: &str, table: Value) {
    match name.split_once('.') {
        Some((outer, name)) => {
            let outer = properties.get_mut(outer).and_then(|outer| outer.get_mut("properties"));
            if let Some(properties) = outer.and_then(Value::as_object_mut) {
                insert(properties, name, table);
            }
        }
        None => drop(properties.insert(name.to_owned(), table)),
    }
}

fn table(section: &SectionInfo) -> Value {
    let mut table = json!({
        "title": section.title(),
        "description": section.doc,
        "type": "object",
        "additionalProperties": false,
        "properties": keys(section),
    });
    if section.many {
        table["required"] = json!(["name"]);
    }
    table
}

fn keys(section: &SectionInfo) -> Map<String, Value> {
    section.keys.iter().map(|key| (key.name.to_owned(), property(key, section))).collect()
}

fn property(key: &KeyInfo, section: &SectionInfo) -> Value {
    let mut property = (key.schema)();
    property["title"] = key.name.into();
    property["description"] = described(key).into();
    // A route takes what it does not say from `[defaults]`.
    if let Some(default) = key.default.as_deref().filter(|_| !section.many) {
        property["default"] = value(default);
    }
    property
}

/// What a key means, and what each of its values does.
fn described(key: &KeyInfo) -> String {
    let choices = key.choices.iter().filter(|choice| !choice.doc.is_empty());
    let lines = choices.map(|choice| format!("\n- \"{}\": {}", choice.name, choice.doc));
    [format!("{}.", key.doc.trim_end_matches('.'))].into_iter().chain(lines).collect()
}

/// A default as JSON: the little TOML that defaults need is JSON, too.
fn value(default: &str) -> Value {
    serde_json::from_str(default).unwrap_or(Value::Null)
}
