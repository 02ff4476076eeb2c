//! The flags of `oncegate run`: each sets a key that a config file may set, too, so that what it
//! means, its kind and its default are declared where the key is.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, ValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};

use crate::config::{Form, Given, KeyInfo, Place, SectionInfo, Written};

/// A flag.
struct Flag {
    name: &'static str,
    /// The key that it sets, after the name of its table.
    key: &'static str,
    value: &'static str,
}

/// The flags, by the headings under which the help shows them.
const FLAGS: [(Option<&str>, &[Flag]); 7] = [
    (
        None,
        &[
            flag("upstream", "upstream.url", "URL"),
            flag("listen", "listen", "ADDRESS"),
            flag("admin", "admin", "ADDRESS"),
            flag("window", "defaults.window", "DURATION"),
            flag("wait", "defaults.wait", "DURATION"),
            flag("workers", "workers", "N"),
            flag("drain-timeout", "drain_timeout", "DURATION"),
        ],
    ),
    (
        Some("Admin"),
        &[
            flag("admin-token-file", "admin_token_file", "FILE"),
            flag("show-answers", "show_answers", "BOOL"),
        ],
    ),
    (
        Some("Callers"),
        &[
            flag("tls-cert-file", "tls.cert_file", "FILE"),
            flag("tls-key-file", "tls.key_file", "FILE"),
            flag("tls-client-ca-file", "tls.client_ca_file", "FILE"),
            flag("tls-client-auth", "tls.client_auth", "WHETHER"),
            flag("proxy-protocol", "proxy_protocol", "BOOL"),
            flag("trusted-hops", "trusted_hops", "NETWORK"),
        ],
    ),
    (
        Some("Upstream"),
        &[
            flag("upstream-timeout", "upstream.timeout", "DURATION"),
            flag("upstream-linger", "upstream.linger", "DURATION"),
            flag("upstream-connect-timeout", "upstream.connect_timeout", "DURATION"),
            flag("upstream-idle-timeout", "upstream.idle_timeout", "DURATION"),
            flag("upstream-http2", "upstream.http2", "BOOL"),
            flag("upstream-tls-ca-file", "upstream.tls.ca_file", "FILE"),
            flag("upstream-tls-server-name", "upstream.tls.server_name", "NAME"),
            flag("upstream-tls-cert-file", "upstream.tls.cert_file", "FILE"),
            flag("upstream-tls-key-file", "upstream.tls.key_file", "FILE"),
        ],
    ),
    (
        Some("Store"),
        &[
            flag("store", "store.url", "URL"),
            flag("store-max-bytes", "store.max_bytes", "SIZE"),
            flag("when-full", "store.when_full", "WHAT"),
            flag("on-store-error", "store.on_error", "WHAT"),
            flag("store-durability", "store.durability", "WHAT"),
            flag("store-max-disk-bytes", "store.max_disk_bytes", "SIZE"),
            flag("store-timeout", "store.timeout", "DURATION"),
            flag("store-lease", "store.lease", "DURATION"),
            flag("store-namespace", "store.namespace", "NAME"),
            flag("store-password-file", "store.password_file", "FILE"),
            flag("store-seal-key-file", "store.seal_key_file", "FILE"),
            flag("store-tls-ca-file", "store.tls.ca_file", "FILE"),
            flag("store-tls-cert-file", "store.tls.cert_file", "FILE"),
            flag("store-tls-key-file", "store.tls.key_file", "FILE"),
            flag("store-secret-file", "store.secret_file", "FILE"),
        ],
    ),
    (
        Some("Limits"),
        &[
            flag("max-request", "defaults.max_request", "SIZE"),
            flag("max-response", "defaults.max_response", "SIZE"),
            flag("max-connections", "limits.max_connections", "N"),
            flag("max-flights", "limits.max_flights", "N"),
            flag("max-waiters", "limits.max_waiters", "N"),
            flag("max-waiters-per-key", "limits.max_waiters_per_key", "N"),
            flag("max-buffered", "limits.max_buffered", "SIZE"),
            flag("header-timeout", "limits.header_timeout", "DURATION"),
            flag("keep-alive-timeout", "limits.keep_alive_timeout", "DURATION"),
            flag("body-timeout", "limits.body_timeout", "DURATION"),
            flag("min-body-rate", "limits.min_body_rate", "SIZE"),
            flag("write-timeout", "limits.write_timeout", "DURATION"),
            flag("max-header-bytes", "limits.max_header_bytes", "SIZE"),
            flag("max-headers", "limits.max_headers", "N"),
            flag("max-target-bytes", "limits.max_target_bytes", "SIZE"),
            flag("max-streams", "limits.max_streams", "N"),
            flag("stream-window", "limits.stream_window", "SIZE"),
            flag("connection-window", "limits.connection_window", "SIZE"),
            flag("max-pending-resets", "limits.max_pending_resets", "N"),
            flag("ping-interval", "limits.ping_interval", "DURATION"),
            flag("ping-timeout", "limits.ping_timeout", "DURATION"),
            flag("handshake-timeout", "limits.handshake_timeout", "DURATION"),
            flag("max-handshakes", "limits.max_handshakes", "N"),
        ],
    ),
    (
        Some("Log"),
        &[
            flag("access-log", "telemetry.access_log", "WHICH"),
            flag("log-format", "telemetry.log_format", "FORMAT"),
            flag("log-level", "telemetry.log_level", "LEVEL"),
        ],
    ),
];

const fn flag(name: &'static str, key: &'static str, value: &'static str) -> Flag {
    Flag { name, key, value }
}

/// What to run, and how.
#[derive(Clone, Debug, Default)]
pub struct RunArgs {
    config: Option<PathBuf>,
    written: Written,
}

impl RunArgs {
    /// What an instance is given to be told by.
    pub fn given(&self) -> Given {
        Given { file: self.config.clone(), flags: self.written.clone() }
    }
}

impl Args for RunArgs {
    fn augment_args(command: Command) -> Command {
        let sections = Written::sections();
        let config = argument("config", "FILE")
            .value_parser(value_parser!(PathBuf))
            .help("A config file; what a flag or a variable says goes before what it says");
        let mut command = command.arg(config);
        for (heading, flags) in FLAGS {
            for flag in flags {
                if let Some(key) = flag.info(&sections) {
                    command = command.arg(flag.argument(key).help_heading(heading));
                }
            }
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RunArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut arguments = Self::default();
        arguments.update_from_arg_matches(matches)?;
        Ok(arguments)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        for flag in FLAGS.iter().flat_map(|(_, flags)| *flags) {
            let Some(texts) = matches.get_many::<String>(flag.name) else { continue };
            let texts: Vec<_> = texts.map(String::as_str).collect();
            let place = match matches.value_source(flag.name) {
                Some(ValueSource::EnvVariable) => Place::Variable(flag.name),
                _ => Place::Flag(flag.name),
            };
            let set = self.written.set(flag.key, &texts.join(","), place);
            set.map_err(|reason| {
                Error::raw(ErrorKind::ValueValidation, format!("--{}: {reason}", flag.name))
            })?;
        }
        Ok(())
    }
}

impl Flag {
    fn info<'a>(&self, sections: &'a [SectionInfo]) -> Option<&'a KeyInfo> {
        let (section, key) = self.key.rsplit_once('.').unwrap_or(("", self.key));
        let section = sections.iter().find(|known| known.name == section)?;
        section.keys.iter().find(|known| known.name == key)
    }

    fn argument(&self, key: &KeyInfo) -> Arg {
        let default = key.default.as_ref().map(|default| default.trim_matches('"'));
        let default = default.filter(|default| *default != "[]");
        let default = default.map(|default| format!(" [default: {default}]"));
        let help = [key.doc.as_str(), default.as_deref().unwrap_or_default()].concat();
        let argument = argument(self.name, self.value).value_parser(parser(key)).help(help);
        match key.form {
            Form::Value => argument,
            Form::Values => argument.action(ArgAction::Append),
            Form::Switch => {
                argument.num_args(0..=1).require_equals(true).default_missing_value("true")
            }
        }
    }
}

fn argument(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).env(Place::variable(name)).value_name(value)
}

/// Checks a value as soon as it is read, so that a mistake is shown with its flag.
fn parser(key: &KeyInfo) -> ValueParser {
    if key.choices.is_empty() {
        let check = key.check;
        return ValueParser::from(move |text: &str| check(text).map(|()| text.to_owned()));
    }
    let values = key.choices.iter().map(|choice| {
        let value = PossibleValue::new(choice.name);
        if choice.doc.is_empty() { value } else { value.help(choice.doc) }
    });
    PossibleValuesParser::new(values).into()
}

/// Keeps the flags of another command out of the help.
pub(super) fn hide(argument: Arg) -> Arg {
    let shown = ["config", "schema", "request", "help"].contains(&argument.get_id().as_str());
    if shown { argument } else { argument.hide(true) }
}

/// Keeps the flags of another command out of the help, but for those that say how an instance is
/// looked after.
pub(super) fn hide_but_admin(argument: Arg) -> Arg {
    let id = argument.get_id().as_str();
    let is_flag = FLAGS.iter().flat_map(|(_, flags)| *flags).any(|flag| flag.name == id);
    let is_shown = !is_flag || ["admin", "admin-token-file"].contains(&id);
    if is_shown { argument } else { argument.hide(true) }
}

/// Makes the upstream a must where no file may say it.
pub(super) fn require_upstream(argument: Arg) -> Arg {
    argument.required_unless_present("config")
}

/// Makes a file a must where there is nothing else to look at.
pub(super) fn require_config(argument: Arg) -> Arg {
    argument.required_unless_present_any(["upstream", "schema"])
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_flag_sets_a_key() {
        let sections = Written::sections();
        for flag in FLAGS.iter().flat_map(|(_, flags)| *flags) {
            assert!(flag.info(&sections).is_some(), "--{}", flag.name);
        }
    }

    #[test]
    fn the_help_says_what_holds_otherwise() {
        let mut command = Cli::command().term_width(100);
        let run = command.find_subcommand_mut("run").unwrap();
        let help = run.render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for (flag, default) in [
            ("--window <DURATION>", "24h"),
            ("--max-request <SIZE>", "8MiB"),
            ("--listen <ADDRESS>", "0.0.0.0:8080"),
            ("--max-connections <N>", "10000"),
            ("--workers <N>", "one for each CPU"),
            ("--when-full <WHAT>", "evict"),
            ("--store <URL>", "memory:"),
        ] {
            let (_, after) = help.split_once(flag).unwrap();
            let (_, shown) = after.split_once("[default: ").unwrap();
            assert!(shown.starts_with(&format!("{default}]")), "{flag}: {shown:.40}");
        }
    }
}
