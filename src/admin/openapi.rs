//! What the admin listener answers, as an OpenAPI document.

use super::answer::Answer;

/// The document. The tests hold it against the list of endpoints, and what is answered against it.
const DOCUMENT: &str = include_str!("openapi.json");

/// Shows the document.
pub(super) fn show() -> Answer {
    Answer::text("application/json", DOCUMENT)
}
