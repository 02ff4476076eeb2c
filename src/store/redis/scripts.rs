//! The scripts that the server runs: each compares and writes in one step, and in one round trip.

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use redis::{Arg, Cmd};

/// Shows a record, and notes that somebody may wait for it.
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("load.lua")));

/// Makes a record if there is none.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("swap.lua")));

/// Replaces or removes a record if it is as expected. A server that is full takes this, too: what
/// has begun must come to its end, and there is only so much of it.
pub(super) static CHANGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!("#!lua flags=allow-oom\n", include_str!("swap.lua"))));

/// Renews claims.
pub(super) static RENEW: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("renew.lua")));

/// Shows the mark of the data, and makes it if there is none.
pub(super) static EPOCH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("epoch.lua")));

/// Names the commands that the user may not run.
pub(super) static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("probe.lua")));

/// A script, and the name by which a server knows it that has run it once.
pub(super) struct Script {
    text: String,
    name: String,
}

/// One run of a script, which is sent by its name.
pub(super) struct Run {
    script: &'static Script,
    command: Cmd,
}

impl Script {
    fn new(own: &str) -> Self {
        // What a script asks of the server stands on its first line.
        let (first, own) = match own.starts_with("#!") {
            true => own.split_at(own.find('\n').map_or(own.len(), |end| end + 1)),
            false => ("", own),
        };
        let text = format!("{first}{}{own}", include_str!("common.lua"));
        // A name, not a protection: servers name scripts so.
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let name = hash.as_ref().iter().fold(String::new(), |mut name, byte| {
            // Writing to a string can't fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        Self { text, name }
    }
}

impl Run {
    pub(super) fn new(script: &'static Script, keys: &[&str]) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&script.name).arg(keys.len()).arg(keys);
        Self { script, command }
    }

    pub(super) fn argument(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    pub(super) fn command(&self) -> &Cmd {
        &self.command
    }

    /// The same with the whole script, for a server that has not run it since it was started.
    pub(super) fn whole(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&self.script.text);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}
