//! What an operator says of an operation whose outcome is unknown, and what repeats get of it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::admin::problem::AdminProblem;
use crate::admin::status::shown;
use crate::clock::Timestamp;
use crate::idempotency::{Answer, AnswerBuilder, RecordKey, Stage};
use crate::telemetry::{DecisionKind, Label as _};

/// The status that repeats get where nothing else is said.
const STATUS: u16 = 200;

/// How much of either is logged, in characters.
const LOGGED_MAX: usize = 100;

/// The longest name of who decides, and the longest note, in characters.
const BY_MAX: usize = 200;
const NOTE_MAX: usize = 2000;

/// Who decides, and why.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Reason {
    by: Option<String>,
    note: Option<String>,
}

/// That an operation was executed, says somebody.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Acknowledgement {
    status: u16,
    pub(super) reason: Reason,
}

impl Reason {
    pub(super) fn parse(body: &Bytes) -> Result<Self, AdminProblem> {
        let mut reason = Self::default();
        for (name, value) in said(body)? {
            if !reason.take(&name, value)? {
                return Err(wrong("the body has by and note, and nothing else"));
            }
        }
        Ok(reason)
    }

    /// Takes what has this name, and says whether that is known here.
    fn take(&mut self, name: &str, value: Value) -> Result<bool, AdminProblem> {
        match name {
            "by" => self.by = Some(text(name, value, BY_MAX)?),
            "note" => self.note = Some(text(name, value, NOTE_MAX)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Logs what was decided, and of what: once it is gone, this is all that is left.
    pub(super) fn log(&self, key: &RecordKey, decision: DecisionKind, was: Stage) {
        let [by, note] = [&self.by, &self.note].map(|text| text.as_deref().map(cut));
        tracing::info!(?key, decision = decision.name(), was = was.name(), by, note, "a decision");
    }
}

impl Acknowledgement {
    pub(super) fn parse(body: &Bytes) -> Result<Self, AdminProblem> {
        let mut acknowledgement = Self { status: STATUS, reason: Reason::default() };
        for (name, value) in said(body)? {
            if name == "status" {
                acknowledgement.status = status(&value)?;
            } else if !acknowledgement.reason.take(&name, value)? {
                return Err(wrong("the body has status, by and note, and nothing else"));
            }
        }
        Ok(acknowledgement)
    }

    /// What repeats get.
    pub(super) fn answer(&self, now: Timestamp) -> Answer {
        let mut answer = AnswerBuilder::new(self.status);
        if self.status == 204 {
            return answer.finish(b"");
        }
        answer.line(b"content-type", b"application/json");
        let said = json!({
            "acknowledged": true,
            "by": self.reason.by,
            "note": self.reason.note,
            "at": shown(now),
        });
        answer.finish(format!("{said}\n").as_bytes())
    }
}

/// What a body says; nothing if there is none.
fn said(body: &Bytes) -> Result<Map<String, Value>, AdminProblem> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let Ok(Value::Object(mut said)) = serde_json::from_slice(body) else {
        return Err(wrong("the body is a JSON object, or there is none"));
    };
    said.retain(|_, value| !value.is_null());
    Ok(said)
}

/// The beginning of a text.
fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(LOGGED_MAX).map(|(end, _)| end);
    end.map_or(text, |end| &text[..end])
}

/// A status that a whole answer can have. Interim ones are none, and 205 and 304 speak of something
/// else that their caller has.
fn status(value: &Value) -> Result<u16, AdminProblem> {
    let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (200..600).contains(status));
    let status = status.filter(|status| !matches!(status, 205 | 304));
    status.ok_or_else(|| wrong("status is a number from 200 to 599, and neither 205 nor 304"))
}

fn text(name: &str, value: Value, most: usize) -> Result<String, AdminProblem> {
    if let Value::String(text) = value
        && text.chars().count() <= most
    {
        return Ok(text);
    }
    Err(wrong(&format!("{name} is a text of at most {most} characters")))
}

fn wrong(right: &str) -> AdminProblem {
    AdminProblem::BadRequest(right.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Acknowledgement, AdminProblem> {
        Acknowledgement::parse(&Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn what_is_said_is_in_the_answer() {
        let now = Timestamp::from_millis(1_000);
        for (body, status, said) in [
            ("", 200, json!({"by": null, "note": null})),
            (" {} ", 200, json!({"by": null, "note": null})),
            (
                r#"{"status":201,"by":"ann","note":"seen in the ledger"}"#,
                201,
                json!({"by": "ann", "note": "seen in the ledger"}),
            ),
            (r#"{"status":599,"by":null}"#, 599, json!({"by": null, "note": null})),
        ] {
            let answer = parse(body).unwrap().answer(now);
            assert_eq!(answer.status(), status);
            let shown: Value = serde_json::from_slice(&answer.body()).unwrap();
            let mut expected = said;
            expected["acknowledged"] = true.into();
            expected["at"] = "1970-01-01T00:00:01.000Z".into();
            assert_eq!(shown, expected);
        }
        let empty = parse(r#"{"status":204}"#).unwrap().answer(now);
        assert_eq!((empty.status(), empty.body_length(), empty.lines().len()), (204, 0, 0));
    }

    #[test]
    fn what_makes_no_answer_is_refused() {
        let long = format!(r#"{{"by":"{}"}}"#, "x".repeat(BY_MAX + 1));
        for body in [
            "[]",
            "x",
            "1",
            r#"{"status":100}"#,
            r#"{"status":304}"#,
            r#"{"status":205}"#,
            r#"{"status":600}"#,
            r#"{"status":"200"}"#,
            r#"{"by":1}"#,
            r#"{"who":"x"}"#,
            &long,
        ] {
            assert!(matches!(parse(body), Err(AdminProblem::BadRequest(_))), "{body}");
        }
        let reason = |body: &'static str| Reason::parse(&Bytes::from_static(body.as_bytes()));
        for body in ["[]", r#"{"status":200}"#, r#"{"by":1}"#] {
            assert!(matches!(reason(body), Err(AdminProblem::BadRequest(_))), "{body}");
        }
        let (by, note) = (Some("ann".to_owned()), None);
        assert_eq!(reason(r#"{"by":"ann","note":null}"#), Ok(Reason { by, note }));
        assert_eq!(reason(""), Ok(Reason::default()));
    }

    #[test]
    fn what_is_logged_is_cut_where_a_character_ends() {
        assert_eq!(cut("ü"), "ü");
        let long = "ü".repeat(LOGGED_MAX + 1);
        assert_eq!(cut(&long).chars().count(), LOGGED_MAX);
    }
}
