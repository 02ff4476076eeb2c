//! Which records are asked for.

use std::time::Duration;

use crate::admin::problem::AdminProblem;
use crate::clock::Timestamp;
use crate::idempotency::Stage;
use crate::store::{Cursor, Summary};

/// How many records a page has where nothing else is said.
const LIMIT: usize = 100;

/// The most records that a page may have.
const LIMIT_MAX: usize = 500;

/// What is asked of a list.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    pub(super) limit: usize,
    pub(super) cursor: Option<Cursor>,
}

/// Which records are wanted: all, unless something is said.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Wanted {
    stage: Option<Stage>,
    route: Option<String>,
    older_than: Option<Duration>,
    newer_than: Option<Duration>,
}

impl Asked {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, AdminProblem> {
        let mut asked = Self { wanted: Wanted::default(), limit: LIMIT, cursor: None };
        let mut seen = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(wrong(name, "may be said only once"));
            }
            seen.push(name);
            let value = decode(&value.replace('+', " "))?;
            // A form that is not filled in says so.
            if !value.is_empty() {
                asked.take(name, value)?;
            }
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), AdminProblem> {
        match name {
            "state" => {
                let stage = Stage::ALL.into_iter().find(|stage| stage.name() == value);
                let names = Stage::ALL.map(Stage::name).join(", ");
                let right = || wrong(name, &format!("is one of {names}"));
                self.wanted.stage = Some(stage.ok_or_else(right)?);
            }
            "route" => self.wanted.route = Some(value),
            "older_than" => self.wanted.older_than = Some(age(name, &value)?),
            "newer_than" => self.wanted.newer_than = Some(age(name, &value)?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                let right = || wrong(name, &format!("is a number from 1 to {LIMIT_MAX}"));
                self.limit = limit.ok_or_else(right)?;
            }
            "cursor" => {
                let right = |_| wrong(name, "is what the page before has as next");
                self.cursor = Some(value.parse().map_err(right)?);
            }
            _ => {
                let known = "state, route, older_than, newer_than, limit and cursor";
                return Err(AdminProblem::BadRequest(format!(
                    "a list can be asked for by {known}"
                )));
            }
        }
        Ok(())
    }
}

impl Wanted {
    /// Whether a record is wanted. One that does not tell where it comes from has no age and no
    /// route.
    pub(super) fn takes(&self, summary: &Summary, now: Timestamp) -> bool {
        let origin = summary.origin.as_ref();
        let route = origin.map(|origin| origin.route());
        let age = origin.map(|origin| now.since(origin.begun_at()));
        self.stage.is_none_or(|stage| stage == summary.stage)
            && self.route.as_deref().is_none_or(|wanted| route == Some(wanted))
            && self.older_than.is_none_or(|than| age.is_some_and(|age| age > than))
            && self.newer_than.is_none_or(|than| age.is_some_and(|age| age < than))
    }
}

fn age(name: &str, value: &str) -> Result<Duration, AdminProblem> {
    humantime::parse_duration(value).map_err(|_| wrong(name, "is a duration such as 5m or 24h"))
}

fn wrong(name: &str, right: &str) -> AdminProblem {
    AdminProblem::BadRequest(format!("{name} {right}"))
}

/// Reads `%XX`.
pub(super) fn decode(text: &str) -> Result<String, AdminProblem> {
    let wrong = || AdminProblem::BadRequest("a % has two hexadecimal digits after it".into());
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(wrong)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        decoded.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(decoded).map_err(|_| AdminProblem::BadRequest("it is not UTF-8".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::{Fingerprint, LeaseToken, Origin, Record, RecordKey, State};

    fn parse(query: &str) -> Result<Asked, AdminProblem> {
        Asked::parse(Some(query))
    }

    #[test]
    fn what_is_said_is_read() {
        let asked = Asked::parse(None).unwrap();
        assert_eq!((asked.limit, asked.wanted, asked.cursor), (100, Wanted::default(), None));
        let query =
            "state=outcome-unknown&route=a%20b+c&older_than=5m&newer_than=1h&limit=7&cursor=";
        let asked = parse(query).unwrap();
        let wanted = Wanted {
            stage: Some(Stage::OutcomeUnknown),
            route: Some("a b c".into()),
            older_than: Some(Duration::from_mins(5)),
            newer_than: Some(Duration::from_hours(1)),
        };
        assert_eq!((asked.limit, asked.wanted), (7, wanted));
        let cursor = Cursor::default();
        assert_eq!(parse(&format!("cursor={cursor}")).unwrap().cursor, Some(cursor));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for query in [
            "state=done",
            "limit=0",
            "limit=501",
            "limit=x",
            "older_than=soon",
            "cursor=!",
            "stat=completed",
            "route=%zz",
            "route=%f",
            "limit=1&limit=2",
            "route=%ff",
        ] {
            assert!(matches!(parse(query), Err(AdminProblem::BadRequest(_))), "{query}");
        }
    }

    #[test]
    fn records_are_chosen_by_what_they_are() {
        let now = Timestamp::from_millis(100_000);
        let begun_at = Timestamp::from_millis(40_000);
        let origin = Origin::new("payments", "POST", "/", begun_at);
        let record = Record {
            fingerprint: Fingerprint::COVERED,
            token: LeaseToken(1),
            expires_at: Timestamp::MAX,
            state: State::Indeterminate,
            origin: Some(origin.into()),
        };
        let key = RecordKey::from_bytes([1; 32]);
        for (query, takes, takes_unknown) in [
            ("", true, true),
            ("state=outcome-unknown", true, true),
            ("state=completed", false, false),
            ("route=payments", true, false),
            ("route=other", false, false),
            ("older_than=59s", true, false),
            ("older_than=60s", false, false),
            ("newer_than=61s", true, false),
            ("newer_than=60s", false, false),
            ("route=payments&state=in-flight", false, false),
        ] {
            let wanted = parse(query).unwrap().wanted;
            let unknown = Record { origin: None, ..record.clone() };
            for (record, takes) in [(&record, takes), (&unknown, takes_unknown)] {
                let summary = Summary::of(&key, record, now);
                assert_eq!(wanted.takes(&summary, now), takes, "{query}");
            }
        }
    }
}
