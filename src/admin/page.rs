//! The dashboard's files: one page with its style and its script, all of them in the program.

use std::sync::LazyLock;

use bytes::Bytes;

/// A file that a browser asks for.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

/// What goes with each of these files. A page may load its own style and its own script, ask its
/// own origin, and nothing else: what callers have sent can't become code, whatever it says.
pub(super) const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-cache"),
];

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

/// The file at a path.
pub(super) fn find(path: &str) -> Option<Asset> {
    static FILES: LazyLock<[Bytes; 3]> = LazyLock::new(|| [PAGE, STYLE, SCRIPT].map(lean));
    let (content_type, body) = match path {
        "/" => ("text/html; charset=utf-8", &FILES[0]),
        "/style.css" => ("text/css; charset=utf-8", &FILES[1]),
        "/script.js" => ("text/javascript; charset=utf-8", &FILES[2]),
        _ => return None,
    };
    Some(Asset { content_type, body: body.clone() })
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
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn text(path: &str) -> String {
        String::from_utf8(find(path).unwrap().body.to_vec()).unwrap()
    }

    #[test]
    fn the_page_is_small_and_whole() {
        let all = ["/", "/style.css", "/script.js"].map(text);
        assert!(all.iter().map(String::len).sum::<usize>() < 60_000);
        let [page, style, script] = all;
        assert!(page.starts_with("<!doctype html>\n<html"), "{page}");
        assert!(page.ends_with("</html>\n"));
        assert_eq!(style.matches('{').count(), style.matches('}').count());
        assert!(script.contains("\"use strict\";\n"));
        assert!(find("/page.rs").is_none());
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_written_as_markup() {
        for text in ["/", "/style.css", "/script.js"].map(text) {
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
