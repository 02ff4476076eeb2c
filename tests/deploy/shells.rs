//! `oncegate completions` and `oncegate man`.

use std::fs;

use crate::tools::{Folder, oncegate, output, run, run_with, system};

/// What bash offers at the end of this line.
fn completed(script: &str, line: &[&str]) -> Vec<String> {
    let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let last = line.len() - 1;
    let before = if last > 0 { line[last - 1] } else { "" };
    let asked = format!(
        "{script}\nCOMP_WORDS=({words}); COMP_CWORD={last}\n\
         declare -F _oncegate >/dev/null || exit 1\n\
         _oncegate oncegate '{}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        line[last]
    );
    let offered = run_with(system("bash").args(["--norc", "--noprofile"]), &asked);
    offered.split_whitespace().map(ToOwned::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let script = run(oncegate().args(["completions", "bash"]));
    run_with(system("bash").arg("-n"), &script);
    let offered = completed(&script, &["oncegate", ""]);
    for command in ["run", "check", "explain", "completions", "man"] {
        assert!(offered.iter().any(|word| word == command), "{command}: {offered:?}");
    }
    assert_eq!(completed(&script, &["oncegate", "ru"]), ["run"]);
    let offered = completed(&script, &["oncegate", "run", "--upstream-t"]);
    let expected = [
        "--upstream-timeout",
        "--upstream-tls-ca-file",
        "--upstream-tls-server-name",
        "--upstream-tls-cert-file",
        "--upstream-tls-key-file",
    ];
    assert_eq!(offered, expected);
    assert_eq!(completed(&script, &["oncegate", "run", "--when-full", "e"]), ["evict"]);
}

#[test]
fn other_shells_get_their_script() {
    for (shell, sign) in [
        ("zsh", "#compdef oncegate"),
        ("fish", "complete -c oncegate"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "set edit:completion:arg-completer[oncegate]"),
    ] {
        let script = run(oncegate().args(["completions", shell]));
        assert!(script.contains(sign), "{shell}");
        assert!(script.contains("upstream-timeout"), "{shell}");
    }
    let unknown = output(oncegate().args(["completions", "tcsh"]), "");
    assert_eq!(unknown.status.code(), Some(2));
}

/// The page as people read it; a warning is a failure.
#[track_caller]
fn shown(page: &str, name: &str) -> String {
    let folder = Folder::new(&format!("man-{name}"));
    let file = folder.write(name, page);
    let command = &mut system("man");
    command.env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8");
    let output = output(command.args(["--warnings", "--local-file"]).arg(&file), "");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{name}: {warnings}");
    let lint = output_of_mandoc(&file);
    assert!(lint.is_empty(), "{name}: {lint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What another reader of manual pages has to say, matters of style and dates aside.
fn output_of_mandoc(file: &std::path::Path) -> String {
    let output = output(system("mandoc").args(["-T", "lint", "-W", "error"]).arg(file), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_manual_page_is_well_formed_and_says_what_there_is() {
    let page = shown(&run(oncegate().arg("man")), "oncegate.1");
    for part in ["NAME", "SYNOPSIS", "EXIT STATUS", "SIGNALS", "EXAMPLES", "oncegate-run(1)"] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn each_command_has_a_page() {
    let folder = Folder::new("pages");
    run(oncegate().args(["man", "--into"]).arg(folder.path()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let page = shown(&fs::read_to_string(folder.path().join(&name)).unwrap(), &name);
        if name == "oncegate-run.1" {
            assert!(page.contains("--upstream-timeout"), "{page}");
            assert!(page.contains("ONCEGATE_UPSTREAM_TIMEOUT"), "{page}");
        }
        names.push(name);
    }
    let help = run(oncegate().arg("--help"));
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let commands = commands.filter_map(|line| line.split_once(' ')).map(|(name, _)| name);
    let mut found = 0;
    for command in commands.filter(|name| !name.is_empty()) {
        assert!(names.contains(&format!("oncegate-{command}.1")), "{command}: {names:?}");
        found += 1;
    }
    assert!(found >= 5, "{help}");
}

#[test]
fn pages_for_a_folder_that_is_not_there_are_refused() {
    let refused = output(oncegate().args(["man", "--into", "/nowhere/at/all"]), "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/nowhere/at/all"));
}
