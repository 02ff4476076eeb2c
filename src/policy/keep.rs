//! Which answers are final.

/// What an answer does to its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// It is kept, and every repeat gets it.
    Keep,
    /// It is passed on, and the key is free again.
    Release,
    /// It says that nobody knows what became of the request.
    Hold,
}

/// The class of an answer with this status.
///
/// Released is what says "not executed, try again" (408, 421, 425, 429, 503), what depends on
/// the moment rather than on the request (401, 403, 407, 409), and every other failure of the
/// server. A gateway's 502 or 504 speaks of a server behind it that may have done the work.
pub const fn classify(status: u16) -> Class {
    match status {
        401 | 403 | 407 | 408 | 409 | 421 | 425 | 429 => Class::Release,
        502 | 504 => Class::Hold,
        500.. => Class::Release,
        _ => Class::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_documented_class() {
        for status in [200, 201, 204, 301, 304, 400, 404, 405, 410, 413, 422, 451] {
            assert_eq!(classify(status), Class::Keep, "{status}");
        }
        for status in [401, 403, 407, 408, 409, 421, 425, 429, 500, 501, 503, 505, 599, 999] {
            assert_eq!(classify(status), Class::Release, "{status}");
        }
        for status in [502, 504] {
            assert_eq!(classify(status), Class::Hold, "{status}");
        }
    }
}
