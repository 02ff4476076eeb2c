//! What an upstream says of how long its answer is to be kept.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// By what an upstream says how long its answer is to be kept.
const ONCEGATE_KEEP: HeaderName = HeaderName::from_static("oncegate-keep");

/// The longest time for which it may ask.
const KEEP_MAX: Duration = Duration::from_hours(366 * 24);

/// What an upstream says of how long its answer is to be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Steering {
    /// It says nothing.
    None,
    /// Not at all.
    No,
    /// So long, from the first request on.
    For(Duration),
}

impl Steering {
    /// What an answer's header says; what can't be understood says nothing.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines =
            || headers.get_all(ONCEGATE_KEEP).iter().map(|line| line.as_bytes().trim_ascii());
        // Any "no" is one; of two times, neither is believed.
        if lines().any(|line| line.eq_ignore_ascii_case(b"no")) {
            return Self::No;
        }
        let (Some(text), None) = (lines().next(), lines().nth(1)) else { return Self::None };
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let seconds = str::from_utf8(text).ok().filter(|_| is_number).and_then(|t| t.parse().ok());
        match seconds.map(Duration::from_secs) {
            Some(window) if !window.is_zero() => Self::For(window.min(KEEP_MAX)),
            Some(_) => Self::No,
            None => {
                tracing::debug!("an Oncegate-Keep field is neither \"no\" nor a number of seconds");
                Self::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_says_no_or_how_many_seconds() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(ONCEGATE_KEEP, line.parse().unwrap());
            }
            Steering::of(&headers)
        };
        assert_eq!(of(&[]), Steering::None);
        assert_eq!(of(&["no"]), Steering::No);
        assert_eq!(of(&[" NO "]), Steering::No);
        assert_eq!(of(&["0"]), Steering::No);
        assert_eq!(of(&["3600"]), Steering::For(Duration::from_hours(1)));
        assert_eq!(of(&["9999999999"]), Steering::For(KEEP_MAX));
        for other in ["", "yes", "-1", "+1", "1h", "1.5", "99999999999999999999"] {
            assert_eq!(of(&[other]), Steering::None, "{other}");
        }
        assert_eq!(of(&["no", "3600"]), Steering::No);
        assert_eq!(of(&["60", "3600"]), Steering::None);
    }
}
