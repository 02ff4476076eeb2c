//! The image: how it is built, and whether the program can live in it.

use clap::Parser as _;
use oncegate::cli::Cli;

use crate::instance::Instance;
use crate::tools::{Folder, installed, oncegate, output, program, read, repository, run, system};

fn dockerfile() -> String {
    read("Dockerfile").replace("\\\n", "")
}

/// What the last instruction of this name says.
#[track_caller]
fn instruction(name: &str) -> String {
    let text = dockerfile();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{name} ")));
    lines.next_back().unwrap_or_else(|| panic!("there is no {name}")).to_owned()
}

/// The words of a command that is written as a list.
fn words(list: &str) -> Vec<String> {
    serde_json::from_str(&list[list.find('[').unwrap()..]).unwrap()
}

#[test]
fn the_dockerfile_is_what_a_linter_accepts() {
    let hadolint = installed("venv/bin/hadolint");
    let said = run(program(&hadolint)
        .args(["--no-color", "--failure-threshold", "style"])
        .arg(repository().join("Dockerfile")));
    assert!(said.is_empty(), "{said}");
}

#[test]
fn the_image_is_empty_and_its_program_has_no_rights() {
    let text = dockerfile();
    let mut stages = text.lines().filter_map(|line| line.strip_prefix("FROM "));
    assert_eq!(stages.next_back(), Some("scratch"));
    assert_eq!(instruction("USER"), "65532:65532");
    assert_eq!(instruction("STOPSIGNAL"), "SIGTERM");
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(&format!("\nARG VERSION={version}\n")), "another version");
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(text.contains(&format!("\nARG RUST_VERSION={rust}\n")), "another Rust");
}

#[test]
fn what_is_copied_is_there_and_nothing_else_is_sent() {
    let text = dockerfile();
    let copies = text.lines().filter_map(|line| line.strip_prefix("COPY "));
    let copies = copies.filter(|line| !line.starts_with("--from"));
    let mut sources: Vec<_> =
        copies.flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' ')).collect();
    let ignored = read(".dockerignore");
    let mut sent: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    sources.sort_unstable();
    sent.sort_unstable();
    assert_eq!(sources, sent);
    assert!(ignored.lines().any(|line| line == "*"), "{ignored}");
    for path in sources {
        assert!(repository().join(path).exists(), "{path} is not there");
    }
}

#[test]
fn what_the_image_runs_is_a_command() {
    let mut start = words(&instruction("ENTRYPOINT"));
    start.extend(words(&instruction("CMD")));
    start.extend(["--upstream".to_owned(), "http://127.0.0.1:9".to_owned()]);
    let health = words(instruction("HEALTHCHECK").split_once("CMD ").unwrap().1);
    for command in [start, health] {
        assert_eq!(command[0], "/oncegate");
        if let Err(error) = Cli::try_parse_from(&command) {
            panic!("{command:?}: {error}");
        }
    }
    let help = run(oncegate().args(["run", "--help"]));
    for port in instruction("EXPOSE").split(' ') {
        assert!(help.contains(&format!(":{port}]")), "{port} is no default");
    }
}

#[test]
fn the_program_lives_in_an_empty_root_without_rights() {
    let folder = Folder::new("empty-root");
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let is_root = run(system("id").arg("-u")).trim() == "0";
    let mut command = system("unshare");
    command.args(if is_root { &[][..] } else { &["--user", "--map-root-user"] });
    command.args(["--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]);
    command.arg(repository().join("tests/deploy/drivers/empty-root.sh"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let ended = output(command.arg(env!("CARGO_BIN_EXE_oncegate")).arg(&root), "");
    let said = String::from_utf8_lossy(&ended.stdout);
    let log = String::from_utf8_lossy(&ended.stderr);
    let mut expected = vec![
        "healthy",
        "first: execution 1",
        "second: execution 1, duplicate-request: true",
        "Uid: 65532 65532 65532 65532",
        "CapEff: 0000000000000000",
        "drained",
        "ended well",
    ];
    let mut lines: Vec<_> = said.lines().collect();
    if !is_root {
        // Without root there is one user, who has all rights over nothing.
        let is_rights = |line: &&str| !line.starts_with("Uid") && !line.starts_with("CapEff");
        lines.retain(is_rights);
        expected.retain(is_rights);
    }
    assert_eq!(lines, expected, "{log}");
}

/// A kernel that gives huge pages to whoever does not say no doubles what an idle instance takes.
#[test]
fn the_image_takes_no_huge_pages() {
    let text = dockerfile();
    let variables = text.lines().filter_map(|line| line.strip_prefix("ENV "));
    let mut start = oncegate();
    start.envs(variables.map(|line| line.split_once('=').unwrap()));
    start.args(["run", "--upstream", "http://127.0.0.1:9"]);
    let instance = Instance::of(start.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]));
    let status = std::fs::read_to_string(format!("/proc/{}/status", instance.pid())).unwrap();
    let given = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(given.map(str::trim), Some("0"), "{status}");
}
