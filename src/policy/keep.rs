//! Which answers are final.

use std::fmt;
use std::str::FromStr;

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

/// The answers of which a rule speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StatusRule {
    /// Those with this status.
    Status(u16),
    /// Those whose status begins with this digit, such as `4xx`.
    All(u16),
}

/// Why a text is not a [`StatusRule`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a status from 200 to 599, or a class from \"2xx\" to \"5xx\", is needed")]
pub struct StatusRuleError;

/// What every status does to its key: layers of rules, of which a later one goes before all earlier
/// ones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Classes {
    layers: Vec<Vec<(StatusRule, Class)>>,
}

/// What holds without any other rule.
///
/// Released is what says "not executed, try again" (408, 421, 425, 429, 503), what depends on
/// the moment rather than on the request (401, 403, 407, 409), and every other failure of the
/// server. A gateway's 502 or 504 speaks of a server behind it that may have done the work, and so
/// does 499: it has stopped listening.
const DEFAULTS: [(StatusRule, Class); 15] = {
    use Class::{Hold, Keep, Release};
    use StatusRule::{All, Status};
    [
        (All(2), Keep),
        (All(3), Keep),
        (All(4), Keep),
        (All(5), Release),
        (Status(401), Release),
        (Status(403), Release),
        (Status(407), Release),
        (Status(408), Release),
        (Status(409), Release),
        (Status(421), Release),
        (Status(425), Release),
        (Status(429), Release),
        (Status(499), Hold),
        (Status(502), Hold),
        (Status(504), Hold),
    ]
};

impl StatusRule {
    /// A rule for one status.
    pub fn status(status: u16) -> Result<Self, StatusRuleError> {
        if (200..600).contains(&status) { Ok(Self::Status(status)) } else { Err(StatusRuleError) }
    }
}

impl FromStr for StatusRule {
    type Err = StatusRuleError;

    fn from_str(text: &str) -> Result<Self, StatusRuleError> {
        match text.as_bytes() {
            [digit @ b'2'..=b'5', b'x', b'x'] => Ok(Self::All(u16::from(digit - b'0'))),
            [b'1'..=b'9', _, _] => Self::status(text.parse().map_err(|_| StatusRuleError)?),
            _ => Err(StatusRuleError),
        }
    }
}

impl fmt::Display for StatusRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::All(digit) => write!(f, "{digit}xx"),
        }
    }
}

impl Default for Classes {
    fn default() -> Self {
        Self { layers: vec![DEFAULTS.into()] }
    }
}

impl Classes {
    /// The same, below a layer that has no rules yet.
    #[must_use]
    pub fn under(mut self) -> Self {
        self.layers.push(Vec::new());
        self
    }

    /// Adds a rule to the last layer.
    pub fn set(&mut self, rule: StatusRule, class: Class) {
        if let Some(layer) = self.layers.last_mut() {
            layer.retain(|(known, _)| *known != rule);
            layer.push((rule, class));
        }
    }

    /// The class of an answer with this status. In a layer, what is said of it alone goes before
    /// what is said of all that begin with its digit.
    pub fn classify(&self, status: u16) -> Class {
        let rules = [StatusRule::Status(status), StatusRule::All(status / 100)];
        let mut said = self.layers.iter().rev().flat_map(|layer| {
            rules.iter().filter_map(|rule| layer.iter().find(|(known, _)| known == rule))
        });
        // A status of no known class (RFC 9110, section 15) counts as a failure of the server.
        said.next().map_or(Class::Release, |(_, class)| *class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_documented_class() {
        let classes = Classes::default();
        for status in [200, 201, 204, 301, 304, 400, 404, 405, 410, 413, 422, 451] {
            assert_eq!(classes.classify(status), Class::Keep, "{status}");
        }
        for status in [401, 403, 407, 408, 409, 421, 425, 429, 500, 501, 503, 505, 599, 999] {
            assert_eq!(classes.classify(status), Class::Release, "{status}");
        }
        for status in [499, 502, 504] {
            assert_eq!(classes.classify(status), Class::Hold, "{status}");
        }
    }

    #[test]
    fn a_layer_goes_before_those_below_and_a_status_before_its_class() {
        let mut classes = Classes::default().under();
        classes.set(StatusRule::All(5), Class::Keep);
        classes.set(StatusRule::Status(404), Class::Release);
        classes.set(StatusRule::Status(503), Class::Release);
        for (status, class) in [
            (500, Class::Keep),
            (502, Class::Keep),
            (503, Class::Release),
            (404, Class::Release),
            (400, Class::Keep),
            (409, Class::Release),
        ] {
            assert_eq!(classes.classify(status), class, "{status}");
        }
        let mut above = classes.under();
        above.set(StatusRule::All(5), Class::Hold);
        above.set(StatusRule::Status(502), Class::Release);
        for (status, class) in [(503, Class::Hold), (502, Class::Release), (404, Class::Release)] {
            assert_eq!(above.classify(status), class, "{status}");
        }
    }

    #[test]
    fn rules_are_read_and_written() {
        for text in ["200", "404", "599", "2xx", "5xx"] {
            assert_eq!(text.parse::<StatusRule>().unwrap().to_string(), text);
        }
        for text in ["", "1xx", "6xx", "100", "199", "600", "2XX", "20", "2000", "+20", "4x", "é"]
        {
            assert_eq!(text.parse::<StatusRule>(), Err(StatusRuleError), "{text}");
        }
    }
}
