//! How a gRPC call has ended.

/// How a gRPC call has ended, as the `grpc-status` field says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Code {
    /// It has done what was asked.
    Ok,
    /// It was given up, typically by its caller.
    Cancelled,
    /// Nothing more is known of its failure.
    Unknown,
    /// What it was given is wrong in any case.
    InvalidArgument,
    /// It has not ended in time.
    DeadlineExceeded,
    /// What it names is not there.
    NotFound,
    /// What it makes is there already.
    AlreadyExists,
    /// Its caller may not do that.
    PermissionDenied,
    /// A quota or a limit is used up.
    ResourceExhausted,
    /// The system is not in the state that it needs.
    FailedPrecondition,
    /// It ran into another one; the whole may be tried again.
    Aborted,
    /// It went past the end.
    OutOfRange,
    /// Nobody has made it.
    Unimplemented,
    /// Something is broken.
    Internal,
    /// The service is not there at the moment.
    Unavailable,
    /// Data is lost.
    DataLoss,
    /// It does not say, or not credibly, whose it is.
    Unauthenticated,
}

impl Code {
    /// Every code, each at its number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code that a `grpc-status` field holds; what nobody knows counts as unknown, as it does
    /// for clients.
    pub fn from_value(value: &[u8]) -> Self {
        let is_number = (1..=2).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let number = value.iter().fold(0, |number, digit| number * 10 + usize::from(digit & 0x0f));
        Self::ALL.get(number).copied().filter(|_| is_number).unwrap_or(Self::Unknown)
    }

    /// The number in the `grpc-status` field.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The HTTP status that says the same (`google/rpc/code.proto`).
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Cancelled => 499,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::DeadlineExceeded => 504,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::PermissionDenied => 403,
            Self::ResourceExhausted => 429,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::Unauthenticated => 401,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_by_their_number() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.number()), number);
            assert_eq!(Code::from_value(number.to_string().as_bytes()), code);
        }
        for value in ["", "17", "99", "100", "256", "-1", "+5", "5 ", "0x0", "OK", "\u{660}"] {
            assert_eq!(Code::from_value(value.as_bytes()), Code::Unknown, "{value}");
        }
    }

    #[test]
    fn codes_have_the_documented_http_status() {
        let statuses = Code::ALL.map(Code::http_status);
        assert_eq!(
            statuses,
            [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]
        );
    }
}
