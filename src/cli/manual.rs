//! `oncegate completions` and `oncegate man`: the command line as shells and `man` want it.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

/// What the page of the whole program says beside its commands, as roff.
const MORE: &str = r#".SH "EXIT STATUS"
.TP
0
All went well.
.TP
1
Something failed while it ran, or an end in good order took longer than it may.
.TP
2
The command line or the config is wrong. Nothing was begun.
.SH SIGNALS
.TP
SIGTERM, SIGINT
End in good order: accept no more, finish what was asked, and end. A second one ends at once.
.TP
SIGHUP
Read the config file again.
.SH EXAMPLES
.TP
oncegate run \-\-upstream http://127.0.0.1:3000
Guard an API with what holds where nothing is said.
.TP
oncegate check \-\-config oncegate.toml
Find the mistakes of a config before it is used.
"#;

/// The script that makes a shell complete the command line.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "oncegate", &mut script);
    script
}

/// The manual page of the whole program.
pub fn manual() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    page_of(Cli::command()).render(&mut page)?;
    page.extend_from_slice(MORE.as_bytes());
    Ok(page)
}

/// Writes the manual page, and one for each command, into a folder.
pub fn manuals(folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join("oncegate.1"), manual()?)?;
    let mut program = Cli::command();
    program.build();
    program.get_subcommands().try_for_each(|command| write(command, folder))
}

fn write(command: &Command, folder: &Path) -> io::Result<()> {
    page_of(command.clone()).generate_to(folder)?;
    command.get_subcommands().try_for_each(|command| write(command, folder))
}

fn page_of(command: Command) -> Man {
    let version = env!("CARGO_PKG_VERSION");
    Man::new(command).manual("Oncegate").source(format!("oncegate {version}"))
}
