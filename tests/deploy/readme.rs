//! What the README and the other documents say: recipes, commands and links.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser as _;
use oncegate::cli::Cli;

use crate::tools::{Folder, oncegate, read, repository, run};

/// What is written for operators.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "docs/guarantees.md",
    "docs/reference.md",
    "docs/runbook.md",
    "docs/sizing.md",
    "examples/kubernetes/README.md",
    "examples/prometheus/README.md",
];

/// The parts of a document below its headings of this depth, by heading.
fn parts<'a>(text: &'a str, hashes: &str) -> Vec<(&'a str, &'a str)> {
    let mark = format!("\n{hashes} ");
    text.split(mark.as_str()).skip(1).filter_map(|part| part.split_once('\n')).collect()
}

/// The lines that stand indented as code, without their indentation.
fn code(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn each_recipe_is_a_config_without_a_mistake() {
    let readme = read("README.md");
    let (_, recipes) =
        parts(&readme, "##").into_iter().find(|(h, _)| *h == "Five recipes").unwrap();
    let configs = parts(recipes, "###").into_iter().map(|(name, text)| (name, code(text)));
    let configs: Vec<_> = configs.filter(|(_, text)| text.starts_with("[upstream]")).collect();
    assert_eq!(configs.len(), 5, "{configs:?}");
    let folder = Folder::new("recipes");
    let secret = folder.write("secret", &"0123456789abcdef".repeat(4));
    for (name, text) in configs {
        let text = text.replace("/run/secrets/oncegate", secret.to_str().unwrap());
        let file = folder.write("oncegate.toml", &text);
        let routes = run(oncegate().args(["check", "--config"]).arg(file));
        let named = text.lines().filter_map(|line| line.strip_prefix("name = "));
        for route in named {
            let route = route.split('"').nth(1).unwrap();
            assert!(routes.lines().any(|line| line.starts_with(route)), "{name}: {routes}");
        }
    }
}

/// The commands that a document tells people to run, in blocks and between backticks.
fn commands(text: &str) -> Vec<Vec<String>> {
    let block = code(text).replace("\\\n", " ");
    let blocks = block.lines().map(|line| line.trim().trim_start_matches("$ ").to_owned());
    let flat = text.replace('\n', " ");
    let inline = flat.split('`').skip(1).step_by(2).map(ToOwned::to_owned);
    let told = blocks.chain(inline.filter(|code| code.contains(' ')));
    let lines = told.filter(|line| line.starts_with("oncegate ") || line.contains("/oncegate "));
    lines.filter_map(|line| words(&line)).collect()
}

/// The words from the program's name on, to a comment or another program; none if the rest is
/// left to the reader.
fn words(line: &str) -> Option<Vec<String>> {
    let line = &line[line.find("oncegate ")?..];
    let end = [" #", " |", " >"].iter().filter_map(|mark| line.find(mark)).min();
    let line = line[..end.unwrap_or(line.len())].trim();
    let quoted = line.split('\'').enumerate().flat_map(|(number, part)| match number % 2 {
        0 => part.split_whitespace().map(ToOwned::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    let filled = quoted.map(|word| match word.as_str() {
        "SHELL" => "bash".to_owned(),
        "ADMIN" => "127.0.0.1:9464".to_owned(),
        _ => word,
    });
    let words: Vec<_> = filled.collect();
    let is_whole = !words.iter().any(|word| word.contains('…')) && words.len() > 1;
    is_whole.then_some(words)
}

#[test]
fn each_command_is_one_that_there_is() {
    let mut seen = BTreeSet::new();
    for document in DOCUMENTS {
        for mut command in commands(&read(document)) {
            // What a container is told to run stands behind the image's name.
            if command[1].starts_with('-') || command[1] == "." {
                continue;
            }
            let shown = command.join(" ");
            let needs_upstream = ["run", "explain"].contains(&command[1].as_str());
            if needs_upstream && !shown.contains("--config") && !shown.contains("--upstream") {
                command.extend(["--upstream".to_owned(), "http://127.0.0.1:9".to_owned()]);
            }
            if let Err(error) = Cli::try_parse_from(&command)
                && error.use_stderr()
            {
                panic!("{document}: {shown}: {error}");
            }
            seen.insert(command[1].clone());
        }
    }
    for command in ["run", "check", "explain", "health", "records", "drain", "completions", "man"] {
        assert!(seen.contains(command), "nobody is told of {command}: {seen:?}");
    }
}

/// The name that a heading has in links.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn each_link_leads_somewhere() {
    let mut followed = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let folder = Path::new(document).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.into() } else { folder.join(path) };
            let found = repository().join(&target);
            assert!(found.exists(), "{document}: {link} leads nowhere");
            if !heading.is_empty() {
                let there = anchors(&read(target.to_str().unwrap()));
                assert!(
                    there.iter().any(|known| known == heading),
                    "{document}: {link}: {there:?}"
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 60, "{followed}");
}

/// The image holds one program, without a shell and without a path to look for it.
#[test]
fn commands_inside_of_a_pod_can_be_run() {
    let mut found = 0;
    for file in ["docs/runbook.md", "examples/kubernetes/README.md", "README.md"] {
        let text = read(file);
        for line in text.lines().filter(|line| line.contains("kubectl exec")) {
            let (_, inside) = line.split_once(" -- ").unwrap_or_else(|| panic!("{file}: {line}"));
            let command: Vec<_> = inside.split_whitespace().filter(|word| *word != "…").collect();
            assert_eq!(command[0], "/oncegate", "{file}: {line}");
            for needed in ["--config", "--admin"] {
                assert!(command.contains(&needed), "{file}: {line}");
            }
            if let Err(error) = Cli::try_parse_from(&command) {
                panic!("{file}: {line}: {error}");
            }
            found += 1;
        }
    }
    assert!(found >= 2, "{found}");
}
