//! Why an operator's request was not answered as it asked.

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::answer::Answer;
use crate::message::ReadError;

/// Why an operator's request was not answered as it asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum AdminProblem {
    /// There is nothing at the path.
    NotFound,
    /// What is at the path can't be asked for like that, but by these methods.
    MethodNotAllowed(String),
    /// The host is a name that somebody else may have.
    BadHost,
    /// A page from elsewhere has sent it.
    CrossOrigin,
    /// The token is needed, and was not shown.
    TokenMissing,
    /// There should be a token, and is none.
    TokenNeeded,
    /// It asks for what there is not; this is what would be right.
    BadRequest(String),
    /// Its body is too large.
    TooLarge,
    /// There is no such record.
    RecordNotFound,
    /// The operation of the record runs.
    RecordInFlight,
    /// It is known how the operation of the record has ended: like this.
    RecordNotUnknown(&'static str),
    /// What stands under the key can't be read.
    RecordUnreadable,
    /// The store can't be asked, for this reason.
    StoreUnavailable(String),
    /// The store has no room.
    StoreFull,
    /// Too much is asked for at a time.
    Busy,
    /// It could not be done for a fault of this program.
    Fault,
}

impl AdminProblem {
    /// The name in the problem's type, `urn:oncegate:NAME`.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::MethodNotAllowed(_) => "method-not-allowed",
            Self::BadHost => "bad-host",
            Self::CrossOrigin => "cross-origin",
            Self::TokenMissing => "admin-token-missing",
            Self::TokenNeeded => "admin-token-needed",
            Self::BadRequest(_) => "bad-request",
            Self::TooLarge => "too-large",
            Self::RecordNotFound => "record-not-found",
            Self::RecordInFlight => "record-in-flight",
            Self::RecordNotUnknown(_) => "record-not-unknown",
            Self::RecordUnreadable => "record-unreadable",
            Self::StoreUnavailable(_) => "store-unavailable",
            Self::StoreFull => "store-full",
            Self::Busy => "busy",
            Self::Fault => "fault",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TokenMissing => StatusCode::UNAUTHORIZED,
            Self::BadHost | Self::CrossOrigin | Self::TokenNeeded => StatusCode::FORBIDDEN,
            Self::NotFound | Self::RecordNotFound => StatusCode::NOT_FOUND,
            Self::RecordInFlight | Self::RecordNotUnknown(_) | Self::RecordUnreadable => {
                StatusCode::CONFLICT
            }
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Fault => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::StoreUnavailable(_) | Self::StoreFull => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The problem in a few words.
    const fn title(&self) -> &'static str {
        match self {
            Self::NotFound => "There is nothing here",
            Self::MethodNotAllowed(_) => "Not by this method",
            Self::BadHost => "Not by this name",
            Self::CrossOrigin => "Not from there",
            Self::TokenMissing => "The token is missing",
            Self::TokenNeeded => "There is no token",
            Self::BadRequest(_) => "Bad request",
            Self::TooLarge => "The body is too large",
            Self::RecordNotFound => "There is no such record",
            Self::RecordInFlight => "The operation runs",
            Self::RecordNotUnknown(_) => "The outcome is known",
            Self::RecordUnreadable => "The record can't be read",
            Self::StoreUnavailable(_) => "The store can't be asked",
            Self::StoreFull => "The store is full",
            Self::Busy => "Too busy",
            Self::Fault => "A fault",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NotFound => "see /api/openapi.json for what there is".into(),
            Self::MethodNotAllowed(methods) => format!("it can be asked for by {methods}"),
            Self::BadHost => {
                "a listener on loopback is asked at an address, or at localhost".into()
            }
            Self::CrossOrigin => "only pages of this listener may ask for this".into(),
            Self::TokenMissing => {
                "this needs an Authorization field with Bearer and the admin token".into()
            }
            Self::TokenNeeded => "a listener that is not on loopback shows only health and \
                                  metrics unless it has an admin_token_file"
                .into(),
            Self::BadRequest(detail) => detail.clone(),
            Self::TooLarge => "the body has more bytes than anything here needs".into(),
            Self::RecordNotFound => "nothing is known of this key, or its window has ended".into(),
            Self::RecordInFlight => {
                "what runs can't be decided about; it can when it has ended".into()
            }
            Self::RecordNotUnknown(state) => {
                format!("only an unknown outcome can be decided, and this is {state}")
            }
            Self::RecordUnreadable => "what stands under the key is damaged, or of another \
                                       version; the key is held until its window ends"
                .into(),
            Self::StoreUnavailable(reason) => format!("the store is unavailable: {reason}"),
            Self::StoreFull => "the store has no room for the answer".into(),
            Self::Busy => "too much is asked for at a time; try again later".into(),
            Self::Fault => "it could not be done; the log may say why".into(),
        }
    }

    /// The whole answer.
    pub(super) fn into_answer(self) -> Answer {
        let body = json!({
            "type": format!("urn:oncegate:{}", self.name()),
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.detail(),
        });
        let mut answer = Answer::json(&body).with_status(self.status());
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::TokenMissing => {
                answer.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::MethodNotAllowed(methods) => {
                if let Ok(methods) = HeaderValue::try_from(methods) {
                    answer.insert(header::ALLOW, methods);
                }
            }
            Self::Busy => answer.insert(header::RETRY_AFTER, HeaderValue::from_static("1")),
            Self::NotFound
            | Self::BadHost
            | Self::CrossOrigin
            | Self::TokenNeeded
            | Self::BadRequest(_)
            | Self::TooLarge
            | Self::RecordNotFound
            | Self::RecordInFlight
            | Self::RecordNotUnknown(_)
            | Self::RecordUnreadable
            | Self::StoreUnavailable(_)
            | Self::StoreFull
            | Self::Fault => {}
        }
        answer
    }
}

impl From<ReadError> for AdminProblem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLarge(_) => Self::TooLarge,
            ReadError::OverBudget(_) => Self::Busy,
            ReadError::Broken | ReadError::Streams(_) => {
                Self::BadRequest("the body broke off, or is not well framed".into())
            }
            ReadError::TooSlow(_) => Self::BadRequest("the body came too slowly".into()),
        }
    }
}
