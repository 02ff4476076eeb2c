//! The dashboard's files: one page with its style and its script, all of them in the program.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, header};

use super::answer::Answer;

/// A file that a browser asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum File {
    /// The page itself.
    Page,
    /// How it looks.
    Style,
    /// What it does.
    Script,
}

/// What the page may do: load its own style and its own script, ask its own origin, and nothing
/// else. What callers have sent can't become code, whatever it says.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");

/// One script of several files: their order matters to the first alone.
const SCRIPT: &str = concat!(
    include_str!("page/script/base.js"),
    include_str!("page/script/api.js"),
    include_str!("page/script/chart.js"),
    include_str!("page/script/status.js"),
    include_str!("page/script/feed.js"),
    include_str!("page/script/records.js"),
    include_str!("page/script/record.js"),
    include_str!("page/script/start.js"),
);

/// A file as a browser gets it.
pub(super) fn show(file: File) -> Answer {
    static FILES: LazyLock<[Bytes; 3]> = LazyLock::new(|| [PAGE, STYLE, SCRIPT].map(lean));
    let (media_type, text) = match file {
        File::Page => ("text/html; charset=utf-8", &FILES[0]),
        File::Style => ("text/css; charset=utf-8", &FILES[1]),
        File::Script => ("text/javascript; charset=utf-8", &FILES[2]),
    };
    let mut answer = Answer::text(media_type, text.clone());
    answer.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}

/// The same without what only readers of the source need: indentation, empty lines, and lines that
/// are comments.
fn lean(text: &str) -> Bytes {
    let is_comment = |line: &&str| {
        let ends = |begin: &str, end: &str| line.starts_with(begin) && line.ends_with(end);
        line.starts_with("//") || ends("/*", "*/") || ends("<!--", "-->")
    };
    let mut lean = String::with_capacity(text.len());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line)) {
        lean.push_str(line);
        lean.push('\n');
    }
    lean.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> [String; 3] {
        [PAGE, STYLE, SCRIPT].map(|text| String::from_utf8_lossy(&lean(text)).into_owned())
    }

    #[test]
    fn the_page_is_small_and_whole() {
        let all = texts();
        assert!(all.iter().map(String::len).sum::<usize>() < 60 << 10);
        let [page, style, script] = all;
        assert!(page.starts_with("<!doctype html>\n<html"), "{page}");
        assert!(page.ends_with("</html>\n"));
        assert_eq!(style.matches('{').count(), style.matches('}').count());
        assert!(script.contains("\"use strict\";\n"));
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_written_as_markup() {
        for text in texts() {
            let named = text.match_indices("://").map(|(at, _)| &text[at + 3..]);
            for name in named {
                assert!(name.starts_with("www.w3.org/"), "an address: {name:.40}");
            }
        }
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(sink), "{sink}");
        }
        for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
            assert!(!PAGE.contains(inline), "{inline}");
        }
    }
}
