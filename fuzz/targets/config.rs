//! Config files: whatever is written, each mistake has its place in the file, and what was read is
//! read again from how it is written.

use oncegate::config::{Entry, Mistakes, Place, Section, Written};

/// Takes the input as a config file.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (written, mistakes) = Written::parse(text, "oncegate.toml");
    shown(&mistakes, text);
    // What a flag says is read like the file.
    let mut flags = Written::default();
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=') {
            let _ = flags.set(key.trim(), value.trim(), Place::Flag("config"));
        }
    }
    again(&flags.over(written));
}

/// Every mistake is one line that names a place in the file.
fn shown(mistakes: &Mistakes, text: &str) {
    let lines: Vec<_> = text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').collect();
    for mistake in mistakes.iter() {
        if let Place::File { line, column } = mistake.place {
            assert!((1..=lines.len()).contains(&line), "{mistake:?}");
            let characters = lines[line - 1].chars().count();
            assert!((1..=characters + 1).contains(&column), "{mistake:?}");
        } else {
            assert_eq!(mistake.place, Place::WholeFile, "{mistake:?}");
        }
        assert!(!mistake.text.is_empty());
    }
    let shown = mistakes.to_string();
    assert_eq!(shown.lines().count(), mistakes.iter().count() + 1, "{shown}");
}

/// What was read is the same when it is read again.
fn again(written: &Written) {
    let mut text = String::new();
    for (section, entries) in written.entries() {
        if !section.is_empty() {
            text.extend(["[", section, "]\n"]);
        }
        write(&entries, &mut text);
    }
    for route in &written.routes {
        text += "[[route]]\n";
        write(&route.route.entries(), &mut text);
        write(&route.guard.entries(), &mut text);
    }
    let (same, mistakes) = Written::parse(&text, "again");
    assert!(mistakes.is_empty(), "{mistakes}\n{text}");
    let values = |written: &Written| {
        let entries = written.entries().into_iter().flat_map(|(_, entries)| entries);
        let routes = written.routes.iter();
        let routes = routes.flat_map(|one| [one.route.entries(), one.guard.entries()].concat());
        entries.chain(routes).map(|entry| (entry.name, entry.value)).collect::<Vec<_>>()
    };
    assert_eq!(values(&same), values(written), "{text}");
}

fn write(entries: &[Entry], text: &mut String) {
    for Entry { name, value, .. } in entries {
        if let Some(value) = value {
            text.extend([name, " = ", value, "\n"]);
        }
    }
}
