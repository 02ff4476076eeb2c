//! The flags that limit what may happen at a time.

use std::time::Duration;

use clap::Args;

use crate::config::{Bytes, Limits, parse_bytes, parse_duration};

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// The largest request body that is guarded; with a key, a larger one gets a 413, and without,
    /// it passes unprotected
    #[arg(
        long,
        env = "ONCEGATE_MAX_REQUEST",
        value_name = "SIZE",
        default_value = "8MiB",
        value_parser = parse_bytes
    )]
    max_request: Bytes,

    /// The largest answer that is kept; a larger one goes to the first caller only
    #[arg(
        long,
        env = "ONCEGATE_MAX_RESPONSE",
        value_name = "SIZE",
        default_value = "1MiB",
        value_parser = parse_bytes
    )]
    max_response: Bytes,

    /// How many connections may be open
    #[arg(
        long,
        env = "ONCEGATE_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "10000",
        value_parser = parse_count
    )]
    max_connections: usize,

    /// How many operations may run at a time
    #[arg(
        long,
        env = "ONCEGATE_MAX_FLIGHTS",
        value_name = "N",
        default_value = "10000",
        value_parser = parse_count
    )]
    max_flights: usize,

    /// How many repeats may wait for operations
    #[arg(
        long,
        env = "ONCEGATE_MAX_WAITERS",
        value_name = "N",
        default_value = "20000",
        value_parser = parse_count
    )]
    max_waiters: usize,

    /// How many repeats may wait for one operation
    #[arg(
        long,
        env = "ONCEGATE_MAX_WAITERS_PER_KEY",
        value_name = "N",
        default_value = "4096",
        value_parser = parse_count
    )]
    max_waiters_per_key: usize,

    /// How many bytes bodies may take in memory while they are read and sent
    #[arg(
        long,
        env = "ONCEGATE_MAX_BUFFERED",
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = parse_bytes
    )]
    max_buffered: Bytes,

    /// How long a header section may take, and a new connection until its first request
    #[arg(
        long,
        env = "ONCEGATE_HEADER_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = parse_duration
    )]
    header_timeout: Duration,

    /// How long a connection may be idle between requests; it should be more than a load balancer
    /// before this proxy keeps it
    #[arg(
        long,
        env = "ONCEGATE_KEEP_ALIVE_TIMEOUT",
        value_name = "DURATION",
        default_value = "75s",
        value_parser = parse_duration
    )]
    keep_alive_timeout: Duration,

    /// How long a guarded request's body may take
    #[arg(
        long,
        env = "ONCEGATE_BODY_TIMEOUT",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = parse_duration
    )]
    body_timeout: Duration,

    /// How many bytes of it must come each second, after a grace of 5 s
    #[arg(
        long,
        env = "ONCEGATE_MIN_BODY_RATE",
        value_name = "SIZE",
        default_value = "1KiB",
        value_parser = parse_bytes
    )]
    min_body_rate: Bytes,

    /// How long a caller may take nothing of its answer
    #[arg(
        long,
        env = "ONCEGATE_WRITE_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = parse_duration
    )]
    write_timeout: Duration,

    /// The largest header section
    #[arg(
        long,
        env = "ONCEGATE_MAX_HEADER_BYTES",
        value_name = "SIZE",
        default_value = "32KiB",
        value_parser = parse_bytes
    )]
    max_header_bytes: Bytes,

    /// The most header lines
    #[arg(
        long,
        env = "ONCEGATE_MAX_HEADERS",
        value_name = "N",
        default_value = "100",
        value_parser = parse_count
    )]
    max_headers: usize,

    /// The longest request target
    #[arg(
        long,
        env = "ONCEGATE_MAX_TARGET_BYTES",
        value_name = "SIZE",
        default_value = "8KiB",
        value_parser = parse_bytes
    )]
    max_target_bytes: Bytes,
}

impl LimitArgs {
    pub(super) fn request_bytes_max(&self) -> usize {
        self.max_request.as_usize()
    }

    pub(super) fn response_bytes_max(&self) -> usize {
        self.max_response.as_usize()
    }

    pub(super) fn settings(&self) -> Limits {
        Limits {
            connections_max: self.max_connections,
            flights_max: self.max_flights,
            waiters_max: self.max_waiters,
            waiters_per_key_max: self.max_waiters_per_key,
            buffered_bytes_max: self.max_buffered.as_usize(),
            header_timeout: self.header_timeout,
            keep_alive_timeout: self.keep_alive_timeout,
            body_timeout: self.body_timeout,
            body_rate_min: self.min_body_rate.0,
            write_timeout: self.write_timeout,
            header_bytes_max: self.max_header_bytes.as_usize(),
            headers_max: self.max_headers,
            target_bytes_max: self.max_target_bytes.as_usize(),
        }
    }
}

/// Reads a number of things of which there must be at least one.
pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be more than 0".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("it is not a whole number".into()),
    }
}
