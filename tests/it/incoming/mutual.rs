//! Callers that show certificates: who is let in, and who is whom.

use std::sync::Arc;

use rcgen::SanType;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, HandshakeKind};

use super::asked::Asked;
use super::certs::{Authority, BOTH, NAME, Pair, Tls, Wanted, by_tls, shake_hands};
use super::plain::Plain;
use super::raw::Raw;
use crate::support::{
    Origin, Proxy, Reply, Starting, assert_executed, assert_marked, assert_replay, client,
};

/// Who signs for whom.
struct Setup {
    /// Signs the proxy's certificate.
    ours: Authority,
    /// Signs callers' certificates.
    theirs: Authority,
    origin: Origin,
    proxy: Proxy,
}

impl Setup {
    /// A proxy that asks for certificates in this way.
    async fn start(auth: &str) -> Self {
        Self::start_with(auth, |starting| starting).await
    }

    async fn start_with(auth: &str, with: impl FnOnce(Starting) -> Starting) -> Self {
        let (ours, theirs, origin) = (Authority::new(), Authority::new(), Origin::start().await);
        let asks = match auth {
            "none" => String::new(),
            auth => format!("client_ca_file = \"callers.pem\"\nclient_auth = \"{auth}\""),
        };
        let starting = by_tls(&origin, &ours, &asks).file("callers.pem", theirs.pem());
        let proxy = with(starting).start().await;
        Self { ours, theirs, origin, proxy }
    }

    fn tls(&self) -> Tls {
        Tls::trusting(&self.ours)
    }

    /// How the owner of this certificate connects.
    fn showing(&self, pair: &Pair) -> Arc<ClientConfig> {
        self.tls().showing(pair).config()
    }

    /// Sends a charge with this key, over a connection of its own; nothing if there is none.
    async fn charge(
        &self,
        config: &Arc<ClientConfig>,
        key: &str,
    ) -> Option<(Reply, HandshakeKind)> {
        let stream = shake_hands(&self.proxy, Arc::clone(config), NAME).await.ok()?;
        let kind = stream.get_ref().1.handshake_kind().expect("a handshake that is over");
        let request = client(&self.proxy).post("/charges").key(key).body("10");
        let reply = Plain::over(stream).try_send(&request).await.ok()?;
        Some((reply, kind))
    }

    /// Fails unless all these are one caller, who gets its own answer again.
    async fn assert_one(&self, key: &str, pairs: &[Pair]) -> Reply {
        let hits = self.origin.hits();
        let mut first: Option<Reply> = None;
        for pair in pairs {
            let (reply, _) = self.charge(&self.showing(pair), key).await.expect("an answer");
            match &first {
                None => first = Some(reply),
                Some(first) => assert_replay(first, &reply),
            }
        }
        assert_eq!(self.origin.hits(), hits + 1);
        first.expect("a first answer")
    }

    /// Fails unless all these are callers of their own: nobody gets another's answer.
    async fn assert_others(&self, key: &str, pairs: &[Pair]) {
        let hits = self.origin.hits();
        let mut firsts = Vec::new();
        for (number, pair) in pairs.iter().enumerate() {
            let (reply, _) = self.charge(&self.showing(pair), key).await.expect("an answer");
            assert!(!reply.is_repeat(), "caller {number} got another's answer");
            firsts.push(reply);
        }
        assert_eq!(self.origin.hits(), hits + pairs.len());
        for (pair, first) in pairs.iter().zip(&firsts) {
            let (reply, _) = self.charge(&self.showing(pair), key).await.expect("an answer");
            assert_replay(first, &reply);
        }
    }
}

fn email(name: &str) -> SanType {
    SanType::Rfc822Name(name.try_into().expect("an address"))
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().expect("a URI"))
}

fn ip(last: u8) -> SanType {
    SanType::IpAddress([192, 0, 2, last].into())
}

/// Who is let in: the certificates that are good, and those that are not, for each way to ask.
#[tokio::test]
async fn only_good_certificates_are_let_in() {
    for (auth, without, bad) in
        [("required", false, false), ("optional", true, false), ("none", true, true)]
    {
        let setup = Setup::start(auth).await;
        let good = setup.theirs.sign(Wanted::dns(&["a.example"]));
        let expired = Wanted { years: Some((2001, 2002)), ..Wanted::dns(&["a.example"]) };
        let future = Wanted { years: Some((2090, 2091)), ..Wanted::dns(&["a.example"]) };
        let wrong = [
            Authority::new().sign(Wanted::dns(&["a.example"])),
            setup.ours.sign(Wanted::dns(&["a.example"])),
            setup.theirs.sign(expired),
            setup.theirs.sign(future),
        ];
        for version in BOTH {
            let tls = setup.tls().version(version);
            assert!(setup.charge(&tls.clone().showing(&good).config(), "k1").await.is_some());
            assert_eq!(setup.charge(&tls.config(), "k1").await.is_some(), without, "{auth}");
            for pair in &wrong {
                let config = tls.clone().showing(pair).config();
                assert_eq!(setup.charge(&config, "k1").await.is_some(), bad, "{auth}");
            }
        }
        let callers = match auth {
            "optional" => 2,
            _ => 1,
        };
        assert_eq!(setup.origin.hits(), callers, "{auth}");
        assert!(setup.charge(&setup.showing(&good), "k1").await.expect("an answer").0.is_repeat());
    }
}

/// C18: the same names are the same caller, in whatever certificate they stand.
#[tokio::test]
async fn a_renewed_certificate_is_the_same_caller() {
    let setup = Setup::start("required").await;
    let sign = |wanted| setup.theirs.sign(wanted);
    for wanted in [
        || Wanted::dns(&["a.example"]),
        || Wanted::dns(&["b.example", "c.example"]),
        || Wanted { subject: Some("d"), ..Wanted::dns(&["d.example"]) },
        || Wanted::default().and(uri("spiffe://example/ns/a/sa/b")),
        || Wanted::subject("a client"),
        || Wanted::subject("another client").and(email("client@a.example")).and(ip(1)),
    ] {
        setup.assert_one("k1", &[sign(wanted()), sign(wanted()), sign(wanted())]).await;
    }
}

/// C18: other names are other callers, and nobody gets another's answer.
#[tokio::test]
async fn other_names_are_other_callers() {
    let setup = Setup::start("required").await;
    let sign = |wanted| setup.theirs.sign(wanted);
    let dns = |names: &[&str]| sign(Wanted::dns(names));
    let names = [
        dns(&["a.example"]),
        dns(&["b.example"]),
        dns(&["a.example", "b.example"]),
        dns(&["*.example"]),
        sign(Wanted::subject("a.example")),
        sign(Wanted::subject("b.example")),
        sign(Wanted::default().and(uri("spiffe://example/a"))),
        sign(Wanted::default().and(uri("spiffe://example/A"))),
        sign(Wanted::dns(&["a.example"]).and(uri("spiffe://example/a"))),
        sign(Wanted { subject: Some("a"), ..Wanted::dns(&["a.example"]) }),
        sign(Wanted { subject: Some("b"), ..Wanted::dns(&["a.example"]) }),
    ];
    setup.assert_others("k1", &names).await;
}

/// C18: names of other kinds tell callers apart, too, where there are no better ones.
#[tokio::test]
async fn callers_with_other_kinds_of_names_are_not_one() {
    let setup = Setup::start("required").await;
    let sign = |wanted| setup.theirs.sign(wanted);
    let by = |subject, name: SanType| sign(Wanted { subject, ..Wanted::default() }.and(name));
    let callers = [
        by(Some("staff"), email("alice@a.example")),
        by(Some("staff"), email("bob@a.example")),
        by(None, email("alice@a.example")),
        by(None, email("bob@a.example")),
        by(Some("staff"), ip(1)),
        by(Some("staff"), ip(2)),
        by(None, ip(1)),
        by(None, ip(2)),
        sign(Wanted::subject("staff")),
    ];
    setup.assert_others("k1", &callers).await;
}

/// C18: certificates that name nobody are not all the same nobody; nor are they whoever shows none.
#[tokio::test]
async fn certificates_without_a_name_are_callers_of_their_own() {
    let setup = Setup::start("optional").await;
    let (nobody, _) = setup.charge(&setup.tls().config(), "k1").await.expect("an answer");
    assert_executed(&nobody);
    let nameless = || setup.theirs.sign(Wanted::default());
    setup.assert_others("k1", &[nameless(), nameless(), nameless()]).await;
}

/// C18: a certificate and other credentials count together; one alone is somebody else.
#[tokio::test]
async fn a_certificate_counts_beside_other_credentials() {
    let setup = Setup::start("optional").await;
    let pairs = ["a.example", "b.example"].map(|name| setup.theirs.sign(Wanted::dns(&[name])));
    let configs = [setup.tls().config(), setup.showing(&pairs[0]), setup.showing(&pairs[1])];
    let mut hits = 0;
    for config in configs {
        for token in [None, Some("alice"), Some("bob")] {
            let mut replies = Vec::new();
            for _ in 0..2 {
                let stream = shake_hands(&setup.proxy, Arc::clone(&config), NAME).await;
                let request = client(&setup.proxy).post("/charges").key("k1").body("10");
                let request = match token {
                    Some(token) => request.caller(token),
                    None => request,
                };
                replies.push(Plain::over(stream.expect("a handshake")).send(&request).await);
            }
            assert_replay(&replies[0], &replies[1]);
            hits += 1;
            assert_eq!(setup.origin.hits(), hits);
        }
    }
}

/// A certificate is the same over both versions of HTTP and of TLS.
#[tokio::test]
async fn a_certificate_is_the_same_by_every_way() {
    let setup = Setup::start("required").await;
    let pair = setup.theirs.sign(Wanted::dns(&["a.example"]));
    let other = setup.theirs.sign(Wanted::dns(&["b.example"]));
    let mut first = None;
    for version in BOTH {
        let tls = setup.tls().version(version).showing(&pair);
        let request = client(&setup.proxy).post("/charges").key("k1").body("10");
        let reply = Plain::over(tls.connect(&setup.proxy).await).send(&request).await;
        let first = first.get_or_insert_with(|| reply.clone());
        assert_eq!(reply.body, first.body);
        let stream = tls.speaking(&["h2"]).connect(&setup.proxy).await;
        let mut raw = Raw::over(stream).await;
        let repeat = raw.send_request(&Asked::post("k1")).await;
        assert_marked(&repeat);
        assert_eq!(repeat.body, first.body);
    }
    let others = setup.tls().showing(&other).speaking(&["h2"]).connect(&setup.proxy).await;
    assert_executed(&Raw::over(others).await.send_request(&Asked::post("k1")).await);
    assert_eq!(setup.origin.hits(), 2);
}

/// A session that is resumed is still its caller's, who need not show anything again.
#[tokio::test]
async fn a_resumed_session_keeps_its_caller() {
    let setup = Setup::start("required").await;
    for (number, version) in BOTH.into_iter().enumerate() {
        let sign = |name: &str| setup.theirs.sign(Wanted::dns(&[name]));
        let (alice, bob) = (sign("alice.example"), sign("bob.example"));
        let key = format!("k{number}");
        let config = |pair| setup.tls().version(version).showing(pair).config();
        let (alices, bobs) = (config(&alice), config(&bob));
        let (first, kind) = setup.charge(&alices, &key).await.expect("an answer");
        assert_executed(&first);
        assert_eq!(kind, HandshakeKind::Full);
        let (others, _) = setup.charge(&bobs, &key).await.expect("an answer");
        assert_executed(&others);
        for _ in 0..5 {
            for (config, first) in [(&alices, &first), (&bobs, &others)] {
                let (reply, kind) = setup.charge(config, &key).await.expect("an answer");
                assert_eq!(kind, HandshakeKind::Resumed, "{version:?}");
                assert_replay(first, &reply);
            }
        }
        assert_eq!(setup.origin.hits(), 2 * (number + 1));
    }
}

/// Sessions of callers who have shown nothing are nobody's.
#[tokio::test]
async fn a_resumed_session_without_a_certificate_is_nobodys() {
    let setup = Setup::start("optional").await;
    for version in BOTH {
        let nobody = setup.tls().version(version).config();
        let pair = setup.theirs.sign(Wanted::dns(&["a.example"]));
        let shown = setup.tls().version(version).showing(&pair).config();
        for config in [&nobody, &shown] {
            let kinds = [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed];
            for expected in kinds {
                let (_, kind) = setup.charge(config, "k1").await.expect("an answer");
                assert_eq!(kind, expected, "{version:?}");
            }
        }
    }
    assert_eq!(setup.origin.hits(), 2, "nobody, and one caller");
}

/// C22: no session allows early data, which anyone who has seen it could send again.
#[tokio::test]
async fn no_session_allows_early_data() {
    let setup = Setup::start("none").await;
    let mut config = Arc::unwrap_or_clone(setup.tls().version(&TLS13).config());
    config.enable_early_data = true;
    let config = Arc::new(config);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (_, kind) = setup.charge(&config, "k1").await.expect("an answer");
        assert_eq!(kind, expected);
        let name = ServerName::try_from(NAME).expect("a name");
        let next = rustls::ClientConnection::new(Arc::clone(&config), name);
        assert!(next.expect("a connection").early_data().is_none());
    }
}
