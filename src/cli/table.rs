//! Records as people read them on a terminal.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The columns of a list: what it is called there, and in the API.
const COLUMNS: [(&str, &str); 7] = [
    ("KEY", "key"),
    ("STATE", "state"),
    ("ROUTE", "route"),
    ("REQUEST", "method"),
    ("STATUS", "status"),
    ("BEGUN", "begun_at"),
    ("REPLAYS", "replays"),
];

/// A list of records.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<[String; COLUMNS.len()]>);

impl Table {
    pub(super) fn push(&mut self, record: &Map<String, Value>) {
        self.0.push(COLUMNS.map(|(_, name)| match name {
            // What was asked for reads as one.
            "method" => {
                let [method, path] = ["method", "path"].map(|name| cell(record.get(name)));
                if method == "-" { method } else { format!("{method} {path}") }
            }
            name => cell(record.get(name)),
        }));
    }

    pub(super) fn text(&self) -> String {
        let head = COLUMNS.map(|(title, _)| title.to_owned());
        let rows = || std::iter::once(&head).chain(&self.0);
        let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
            rows().map(|row| row[column].chars().count()).max().unwrap_or_default()
        });
        let mut text = String::new();
        for row in rows() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                // Writing to a string cannot fail.
                let _ = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// One record, a line for each thing that is known of it.
pub(super) fn details(record: &Value) -> String {
    let mut text = String::new();
    for (name, value) in record.as_object().into_iter().flatten() {
        if name != "answer" {
            let _ = writeln!(text, "{name:14}{}", cell(Some(value)));
        }
    }
    let Some(answer) = record.get("answer") else { return text };
    let _ = writeln!(text, "\n{}", cell(answer.get("status")));
    for line in answer.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let [name, value] = [0, 1].map(|index| cell(line.get(index)));
        let _ = writeln!(text, "{name}: {value}");
    }
    let body = ["body", "body_base64"].map(|name| answer.get(name).and_then(Value::as_str));
    let _ = writeln!(text, "\n{}", plain(body[0].or(body[1]).unwrap_or_default()));
    text
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => one_line(text),
        Some(value) => value.to_string(),
    }
}

/// Callers choose paths, and upstreams headers: neither can tell the terminal anything.
fn one_line(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

/// The same for a text of several lines.
fn plain(text: &str) -> String {
    let tells = |one: char| one.is_control() && !matches!(one, '\n' | '\t');
    text.chars().map(|one| if tells(one) { '\u{fffd}' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_control_characters_do_not_come_through() {
        let mut table = Table::default();
        for record in [
            json!({"key": "k1", "state": "completed", "method": "POST", "path": "/a\u{1b}[2J",
                "status": 201, "route": "payments", "replays": 3, "begun_at": "t"}),
            json!({"key": "k22", "state": "in-flight", "method": null, "replays": 0}),
        ] {
            table.push(record.as_object().unwrap());
        }
        let expected = "\
KEY  STATE      ROUTE     REQUEST      STATUS  BEGUN  REPLAYS
k1   completed  payments  POST /a\u{fffd}[2J  201     t      3
k22  in-flight  -         -            -       -      0
";
        assert_eq!(table.text(), expected);
    }

    #[test]
    fn an_answer_is_shown_below_its_record() {
        let record = json!({"key": "k", "status": 200, "answer": {
            "status": 200, "headers": [["content-type", "text/plain"]], "body": "ok\u{7}\nyes"}});
        let expected = "\
key           k
status        200

200
content-type: text/plain

ok\u{fffd}
yes
";
        assert_eq!(details(&record), expected);
    }
}
