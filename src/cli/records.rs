//! `oncegate records`: what a running instance remembers, and what people decide about it.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::flags;
use super::remote::{Remote, RemoteError};
use super::table::{Table, details};

/// What is asked for in one page.
const PAGE: usize = 500;

/// What to do with records, and of which instance.
#[derive(Args, Debug)]
pub struct RecordsArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: RecordsCommand,
}

/// What to do with records.
#[derive(Debug, Subcommand)]
pub enum RecordsCommand {
    /// List what is remembered
    ///
    /// A record counts until its window ends. It is in flight while its operation runs; completed
    /// once its answer is kept; answer-not-kept if that could not be; and outcome-unknown if nobody
    /// knows whether it was executed.
    #[command(mut_args(flags::hide_but_admin))]
    List(Box<ListArgs>),
    /// Show one record
    #[command(mut_args(flags::hide_but_admin))]
    Get(Box<RecordArgs>),
    /// Forget a record, so that the next repeat runs
    ///
    /// What runs can't be forgotten.
    #[command(mut_args(flags::hide_but_admin))]
    Forget(Box<GoneArgs>),
    /// Say that an operation whose outcome is unknown was executed
    ///
    /// Its repeats get the status, and a small JSON body that says who has said so.
    #[command(mut_args(flags::hide_but_admin))]
    Ack(Box<AckArgs>),
    /// Say that an operation whose outcome is unknown was not executed, so that the next repeat
    /// runs
    #[command(mut_args(flags::hide_but_admin))]
    Fail(Box<GoneArgs>),
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Listed {
    /// It runs.
    InFlight,
    /// Its answer is kept.
    Completed,
    /// It was executed, and its answer could not be kept.
    AnswerNotKept,
    /// Nobody knows whether it was executed.
    OutcomeUnknown,
}

/// Which records to list.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those in this state
    #[arg(long, value_enum)]
    pub state: Option<Listed>,

    /// Only those of this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,

    /// Only those whose first request came longer ago, such as 5m
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,

    /// Only those whose first request came more lately
    #[arg(long, value_name = "DURATION")]
    pub newer_than: Option<String>,

    /// The most records
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub limit: usize,

    /// Print JSON, one record a line
    #[arg(long)]
    pub json: bool,

    /// The instance, as it was told to run.
    #[command(flatten)]
    pub remote: Remote,
}

/// One record.
#[derive(Args, Debug)]
pub struct RecordArgs {
    /// Its Duplicate-Key
    #[arg(value_name = "KEY")]
    pub key: String,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// The instance, as it was told to run.
    #[command(flatten)]
    pub remote: Remote,
}

/// What to say of one record.
#[derive(Args, Debug)]
pub struct AckArgs {
    /// The status that repeats get
    #[arg(long, value_name = "STATUS", default_value_t = 200)]
    pub status: u16,

    /// Who says so, and why.
    #[command(flatten)]
    pub reason: ReasonArgs,

    /// The record.
    #[command(flatten)]
    pub record: RecordArgs,
}

/// A record that goes.
#[derive(Args, Debug)]
pub struct GoneArgs {
    /// Who says so, and why.
    #[command(flatten)]
    pub reason: ReasonArgs,

    /// The record.
    #[command(flatten)]
    pub record: RecordArgs,
}

/// Who decides, and why: the instance logs it.
#[derive(Args, Debug)]
pub struct ReasonArgs {
    /// Who says so
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,

    /// Why
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// What is to be printed.
#[derive(Debug, Eq, PartialEq)]
pub struct RecordsShown {
    /// What was asked for.
    pub text: String,
    /// What people should know of it, where programs read the text.
    pub remark: Option<String>,
}

/// Does it, and returns what is to be printed.
///
/// # Errors
///
/// The instance can't be asked, or says no.
pub fn records(arguments: &RecordsArgs) -> Result<RecordsShown, RemoteError> {
    let text = match &arguments.command {
        RecordsCommand::List(list) => return list.run(),
        RecordsCommand::Get(record) => record.shown(&record.call(Method::GET, "", None)?),
        RecordsCommand::Forget(gone) => {
            let body = gone.reason.body();
            gone.record.decided(&gone.record.call(Method::DELETE, "", Some(&body))?, "forgotten")
        }
        RecordsCommand::Fail(gone) => {
            let body = gone.reason.body();
            gone.record.decided(&gone.record.call(Method::POST, "/fail", Some(&body))?, "failed")
        }
        RecordsCommand::Ack(ack) => {
            let mut body = ack.reason.body();
            body["status"] = ack.status.into();
            ack.record.shown(&ack.record.call(Method::POST, "/ack", Some(&body))?)
        }
    };
    Ok(RecordsShown { text, remark: None })
}

impl ListArgs {
    fn run(&self) -> Result<RecordsShown, RemoteError> {
        self.remote.run_with_store(async |client| {
            let mut printed = Printed::default();
            let mut cursor: Option<String> = None;
            while printed.count < self.limit {
                let page = self.page(client, cursor.as_deref(), printed.count).await?;
                let records = page.get("records").and_then(Value::as_array);
                for record in records.into_iter().flatten() {
                    printed.push(record, self.json);
                }
                printed.unreadable +=
                    page.get("unreadable").and_then(Value::as_u64).unwrap_or_default();
                cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
            printed.cut_at = cursor.map(|_| self.limit);
            Ok(if self.json { printed.lines() } else { printed.table() })
        })
    }

    async fn page(
        &self,
        client: &Client,
        cursor: Option<&str>,
        count: usize,
    ) -> Result<Value, RemoteError> {
        let limit = (self.limit - count).min(PAGE).to_string();
        let state = self.state.and_then(|state| state.to_possible_value());
        let mut path = format!("/api/records?limit={limit}");
        for (name, value) in [
            ("state", state.as_ref().map(clap::builder::PossibleValue::get_name)),
            ("route", self.route.as_deref()),
            ("older_than", self.older_than.as_deref()),
            ("newer_than", self.newer_than.as_deref()),
            ("cursor", cursor),
        ] {
            if let Some(value) = value {
                path = format!("{path}&{name}={}", encode(value));
            }
        }
        Ok(client.call(Method::GET, &path, None).await?)
    }
}

impl ReasonArgs {
    fn body(&self) -> Value {
        json!({ "by": self.by, "note": self.note })
    }
}

impl RecordArgs {
    fn call(&self, method: Method, what: &str, body: Option<&Value>) -> Result<Value, RemoteError> {
        let path = format!("/api/records/{}{what}", encode(&self.key));
        self.remote.call(method, &path, body)
    }

    fn shown(&self, record: &Value) -> String {
        if self.json { line(record) } else { details(record) }
    }

    fn decided(&self, answer: &Value, how: &str) -> String {
        if self.json {
            return line(answer);
        }
        let was = answer.get("was").and_then(Value::as_str).unwrap_or("?");
        format!("{how}: {} (was {was}); the next repeat runs\n", self.key)
    }
}

/// Records that were listed.
#[derive(Default)]
struct Printed {
    table: Table,
    lines: String,
    count: usize,
    unreadable: u64,
    /// How many were wanted, if there are more.
    cut_at: Option<usize>,
}

impl Printed {
    fn push(&mut self, record: &Value, as_json: bool) {
        self.count += 1;
        match as_json {
            true => self.lines.push_str(&line(record)),
            false => self.table.push(record.as_object().unwrap_or(&Map::new())),
        }
    }

    /// Lines of JSON. What else there is to say must not be among them.
    fn lines(self) -> RecordsShown {
        let cut = self
            .cut_at
            .map(|count| format!("only the first {count} are shown; narrow it, or use --limit"));
        let remarks: Vec<_> = cut.into_iter().chain(self.damage()).collect();
        let remark = (!remarks.is_empty()).then(|| remarks.join("\n"));
        RecordsShown { text: self.lines, remark }
    }

    fn table(self) -> RecordsShown {
        let damage = self.damage();
        let mut text = match self.count {
            0 => "no records\n".to_owned(),
            _ => self.table.text(),
        };
        if self.cut_at.is_some() {
            text.push_str("there are more; --limit says how many are shown\n");
        }
        if let Some(damage) = damage {
            text.push_str(&damage);
            text.push('\n');
        }
        RecordsShown { text, remark: None }
    }

    fn damage(&self) -> Option<String> {
        (self.unreadable > 0).then(|| format!("{} records can't be read", self.unreadable))
    }
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// Writes all but a few characters as `%XX`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(byte.into());
            }
            _ => {
                // The same.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_path_is_encoded() {
        assert_eq!(encode("aZ09-_.~"), "aZ09-_.~");
        assert_eq!(encode("a/b+c= ü"), "a%2Fb%2Bc%3D%20%C3%BC");
    }
}
