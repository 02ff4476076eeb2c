//! Every key that a config file may have.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, Method};

use super::choice::{ClientCertificate, InFlight, LogLevel};
use super::kinds::{FilePath, RouteName, Words};
use super::mistake::{Located, Place};
use super::places::{AdminAddress, ServerName, StoreUrl};
use super::section::{Entry, KeyInfo, Section, paragraph, section};
use super::setting::{List, Setting, Several, check_text, default_list};
use super::table::Table;
use super::units::Bytes;
use super::words::{default_callers, default_keys, default_token_header};
use crate::idempotency::{OnMismatch, OnStoreError, OnUnknown};
use crate::policy::{
    Anonymous, CallerSource, HostPattern, KeySource, Mode, Oversize, PathPattern, Pointer,
    StatusRule, TokenAlgorithm,
};
use crate::store::{Durability, WhenFull};
use crate::telemetry::{Format, Selection};
use crate::transport::{Address, Network};
use crate::upstream::Endpoint;

/// The port of the admin listener.
pub(super) const ADMIN_PORT: u16 = 9464;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn kib(count: u64) -> Bytes {
    Bytes(count << 10)
}

const fn mib(count: u64) -> Bytes {
    Bytes(count << 20)
}

fn any_host(port: u16) -> Several<Address> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    Several(default_list([Address::Tcp(address)]))
}

section! {
    /// What an instance is told.
    TopKeys {
        /// Where to listen: `IP:PORT`, where port 0 takes any that is free, or `unix:/PATH`; one or
        /// several
        listen: Several<Address> = any_host(8080);
        /// Where the admin listener is, with health, metrics, the dashboard and its API: `IP:PORT`,
        /// `unix:/PATH`, or `off`
        admin: AdminAddress = AdminAddress::At(
            SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT)).into()
        );
        /// A file with the token that the dashboard and its API ask for; they need one where the
        /// admin listener is not on loopback
        admin_token_file: FilePath;
        /// Whether the API shows the answers that are kept
        show_answers: bool = false;
        /// Whether each connection over TCP begins with a PROXY header, version 1 or 2, in which a
        /// load balancer says whose it is; one without it is closed
        proxy_protocol: bool = false;
        /// The networks whose hops are believed what they say of callers and earlier hops, in
        /// `X-Forwarded-*`, `Forwarded`, `X-Real-IP` and PROXY headers; everybody is if there is
        /// none. A Unix socket's peers always are
        trusted_hops: Several<Network> = Several::default();
        /// How many workers to run, each a thread with its own connections [default: one for each
        /// CPU]
        workers: usize;
        /// How long ending in good order may take
        drain_timeout: Duration = seconds(25);
    }
}

section! {
    /// TLS, which every address of `listen` speaks that is no Unix socket.
    TlsKeys {
        /// A file with the certificate to show, in PEM, and those that lead from it to an authority
        cert_file: FilePath;
        /// A file with the private key of the certificate, in PEM
        key_file: FilePath;
        /// A file with the certificates of the authorities, in PEM, that sign callers' certificates
        client_ca_file: FilePath;
        /// Whether every caller must show a certificate, where there is a `client_ca_file`
        client_auth: ClientCertificate = ClientCertificate::Required;
    }
}

section! {
    /// The API to stand before.
    UpstreamKeys {
        /// The API to stand before, such as <http://127.0.0.1:3000>, <https://api.example> or
        /// `unix:/PATH`
        url: Endpoint;
        /// Whether it is spoken to in HTTP/2, which it must know: without TLS, nothing is agreed on
        /// before
        http2: bool = false;
        /// How long the API may take for its whole answer; then callers get a 504, and the key is
        /// held until its late answer comes
        timeout: Duration = seconds(5 * 60);
        /// How much longer such a late answer is listened for
        linger: Duration = seconds(10 * 60);
        /// How long making a connection may take
        connect_timeout: Duration = seconds(5);
        /// How long an idle connection is kept; it should be less than the API keeps it
        idle_timeout: Duration = seconds(4);
    }
}

section! {
    /// TLS towards an API whose URL begins with `https`.
    UpstreamTlsKeys {
        /// A file with the certificates of the authorities, in PEM, that sign the API's certificate
        /// [default: those that the system trusts]
        ca_file: FilePath;
        /// The name that is asked for and that the certificate is for [default: the host of the
        /// URL]
        server_name: ServerName;
        /// A file with the certificate to show to the API, in PEM, and those that lead from it to
        /// an authority
        cert_file: FilePath;
        /// A file with the private key of that certificate, in PEM
        key_file: FilePath;
    }
}

section! {
    /// TLS towards Redis, by a URL that begins with `rediss`.
    StoreTlsKeys {
        /// A file with the certificates of the authorities, in PEM, that sign the servers'
        /// certificates [default: those that the system trusts]
        ca_file: FilePath;
        /// A file with the certificate to show to them, in PEM, and those that lead from it to an
        /// authority
        cert_file: FilePath;
        /// A file with the private key of that certificate, in PEM
        key_file: FilePath;
    }
}

section! {
    /// Where answers are kept.
    StoreKeys {
        /// Where answers are kept: `memory:`, a folder as in <file:///var/lib/oncegate>, or servers
        /// that several instances share, as in <redis://redis.example>
        url: StoreUrl = StoreUrl::Memory;
        /// How many bytes kept answers may take in memory
        max_bytes: Bytes = mib(256);
        /// What happens when they would take more, and are nowhere else
        when_full: WhenFull = WhenFull::Evict;
        /// What must be on the disk before anybody is told of it, where answers are in a folder
        durability: Durability = Durability::Claim;
        /// About how many bytes records may take in a folder
        max_disk_bytes: Bytes = Bytes(10 << 30);
        /// How long a call of Redis may take, with all that it waits for
        timeout: Duration = Duration::from_millis(250);
        /// How long an instance that shares a store is believed to be at work without saying so
        lease: Duration = seconds(15);
        /// What tells the records of these instances from others' on the same servers
        namespace: Words;
        /// A file with a password for Redis, which a URL may have, too
        password_file: FilePath;
        /// A file with the keys by which records are encrypted in Redis: lines of `ID:KEY`, with 32
        /// bytes in Base64; the first encrypts, and all decrypt
        seal_key_file: FilePath;
        /// What becomes of a guarded request while records can't be looked up
        on_error: OnStoreError = OnStoreError::Refuse;
        /// A file with at least 32 bytes that nobody else knows: they key all hashes, so that
        /// instances with the same file derive the same keys [default: one that is made in the
        /// folder of the store, or a new one at each start where there is none]
        secret_file: FilePath;
    }
}

section! {
    /// Tokens (RFC 7519) that say who a caller is; needed where a caller is known by `jwt:CLAIM`.
    JwtKeys {
        /// The header that a token is in, alone or after `Bearer`
        header: HeaderName = default_token_header();
        /// Whether somebody before this proxy has verified the token, so that its signature counts
        /// for nothing here
        trusted: bool = false;
        /// A file with the secret that tokens are signed with
        secret_file: FilePath;
        /// A file with the public key, in PEM, that verifies tokens
        public_key_file: FilePath;
        /// A file with a set of keys (RFC 7517) that verify tokens
        jwks_file: FilePath;
        /// How tokens are signed; needed with a secret or a public key, while a set of keys says it
        /// by itself
        algorithm: TokenAlgorithm;
        /// Who must have issued a token
        issuer: Words;
        /// Whom a token must be for
        audience: Words;
    }
}

section! {
    /// How much may happen at a time.
    LimitKeys {
        /// How many connections may be open
        max_connections: usize = 10_000;
        /// How many operations may run at a time
        max_flights: usize = 10_000;
        /// How many repeats may wait for operations
        max_waiters: usize = 20_000;
        /// How many repeats may wait for one operation
        max_waiters_per_key: usize = 4096;
        /// How many bytes bodies may take in memory while they are read and sent
        max_buffered: Bytes = mib(256);
        /// How long a header section may take, and a new connection until its first request
        header_timeout: Duration = seconds(10);
        /// How long a connection may be idle between requests; it should be more than a load
        /// balancer before this proxy keeps it
        keep_alive_timeout: Duration = seconds(75);
        /// How long a guarded request's body may take
        body_timeout: Duration = seconds(60);
        /// How many bytes of it must come each second, after a grace of 5 s
        min_body_rate: Bytes = kib(1);
        /// How long a caller may take nothing of its answer
        write_timeout: Duration = seconds(30);
        /// The largest header section
        max_header_bytes: Bytes = kib(32);
        /// The most header lines
        max_headers: usize = 100;
        /// The longest request target
        max_target_bytes: Bytes = kib(8);
        /// How many requests may run at a time on one HTTP/2 connection; and how many guarded ones
        /// of any connection, those that their callers have left included
        max_streams: usize = 100;
        /// How many bytes of one request's body may be on their way over HTTP/2
        stream_window: Bytes = kib(64);
        /// How many bytes of all bodies of one HTTP/2 connection may be on their way
        connection_window: Bytes = mib(1);
        /// How many requests that were taken back may be left on one HTTP/2 connection before it is
        /// closed
        max_pending_resets: usize = 20;
        /// How long an HTTP/2 connection may be silent before it is asked whether it is still there
        ping_interval: Duration = seconds(30);
        /// How long the answer to that may take
        ping_timeout: Duration = seconds(20);
        /// How long a TLS handshake may take, a PROXY header before it included
        handshake_timeout: Duration = seconds(10);
        /// How many TLS handshakes may run at a time
        max_handshakes: usize = 1000;
    }
}

section! {
    /// What is logged.
    TelemetryKeys {
        /// Which requests are logged, as JSON lines on stdout
        access_log: Selection = Selection::Duplicates;
        /// How the log on stderr is written
        log_format: Format = Format::Text;
        /// The least level that is logged
        log_level: LogLevel = LogLevel::Info;
    }
}

section! {
    /// How requests are guarded where a route does not say otherwise.
    GuardKeys {
        /// The methods that are guarded; in a route also those that it is for, which are all when
        /// it does not say any
        methods: List<Method> =
            default_list([Method::POST, Method::PUT, Method::PATCH, Method::DELETE]);
        /// Where a key may be: the first of these that a request has is its key. A source is
        /// `header:NAME`, `query:NAME`, `path:NAME`, `cookie:NAME`, `json:/POINTER`, several of
        /// these joined with `+`, or `checksum`, which every request has
        key: List<KeySource> = default_keys();
        /// Whether a request that has no key is refused; it passes unprotected otherwise
        require_key: bool = false;
        /// What says whose a request is: all of these that it has, together. A source is
        /// `header:NAME`, `cookie:NAME`, `query:NAME`, `client-cert`, `basic` or `jwt:CLAIM`
        caller: List<CallerSource> = default_callers();
        /// What becomes of requests that say nothing of their caller
        anonymous: Anonymous = Anonymous::Share;
        /// How long an answer is kept, from the first request on
        window: Duration = seconds(24 * 3600);
        /// How long a repeat waits for the first request to end, before it gets a 409
        wait: Duration = seconds(60);
        /// What becomes of a repeat while the first request runs
        in_flight: InFlight = InFlight::Wait;
        /// What becomes of a key when nobody knows whether its request was executed
        on_unknown: OnUnknown = OnUnknown::Hold;
        /// What becomes of a request whose key can't be looked up, where it is to be another than
        /// `store.on_error` says
        on_store_error: OnStoreError;
        /// What becomes of a request that has the key of an earlier one, and asks for something
        /// else
        on_mismatch: OnMismatch = OnMismatch::Refuse;
        /// Whether duplicates are prevented
        mode: Mode = Mode::Enforce;
        /// Places in a JSON body that do not count: two requests that differ only there are the
        /// same; `*` stands for every element of an array
        ignore_json: List<Pointer> = List::new();
        /// Headers that do not count, besides those that change from one attempt to the next
        ignore_headers: List<HeaderName> = List::new();
        /// The headers that count, and no others
        only_headers: List<HeaderName>;
        /// Answers that are final, and kept: statuses such as 404 and classes such as "5xx". A
        /// status goes before its class, and a route before the defaults
        keep: List<StatusRule> = List::new();
        /// Answers after which the key is free again
        release: List<StatusRule> = List::new();
        /// Answers that leave open whether the request was executed
        hold: List<StatusRule> = List::new();
        /// The largest request body that is guarded; with a key, a larger one gets a 413, and
        /// without, it passes unprotected
        max_request: Bytes = mib(8);
        /// The largest answer that is kept; a larger one goes to the first caller only
        max_response: Bytes = mib(1);
        /// What becomes of a request whose body is larger than `max_request`, whether it has a key
        /// or not
        oversize: Oversize;
        /// The header in which the API is sent a key that is derived from the request's, and is
        /// the same for all repeats
        forward_key: HeaderName;
        /// Whether a key counts for one host only
        authority: bool = true;
    }
}

section! {
    /// Requests that are guarded in their own way. The first route that matches a request is its
    /// route; a route that does not set a key takes it from `[defaults]`.
    RouteKeys {
        /// What the route is called in logs and metrics: lower-case letters, digits, `-` and `_`
        name: RouteName;
        /// The paths that it is for, such as `/v1/{name}/x` or `/v1/{*rest}` [default: all]
        path: PathPattern;
        /// The hosts that it is for, such as `api.example`, `api.example:8443` or `*.example`
        /// [default: all]
        host: HostPattern;
    }
}
