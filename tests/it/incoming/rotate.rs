//! Certificates that are replaced while callers come and go: no request fails, and whoever shakes
//! hands after that sees the new one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::asked::Asked;
use super::certs::{Authority, NAME, Pair, Tls, Wanted, by_tls, shake_hands};
use super::plain::Plain;
use super::raw::{Outcome, Raw};
use crate::support::{Folder, Origin, Proxy, Reply, client, eventually};

const TAKEN: &str = "the settings were read again, and hold for new requests";
const REFUSED: &str = "the settings were not taken; the old ones hold on";

/// A proxy whose certificate is in a folder of the test's.
struct Setup {
    authority: Authority,
    folder: Folder,
    origin: Origin,
    proxy: Proxy,
}

impl Setup {
    /// Its files are where `path` says, in the folder.
    async fn start(path: &str, publish: impl FnOnce(&Folder, &Pair)) -> Self {
        let (authority, folder, origin) = (Authority::new(), Folder::new(), Origin::start().await);
        publish(&folder, &authority.proxy());
        let toml = format!(
            "listen = \"127.0.0.1:0\"\nupstream.url = \"http://{}\"\n\
             [tls]\ncert_file = \"{path}tls.crt\"\nkey_file = \"{path}tls.key\"\n",
            origin.addr
        );
        let proxy = Proxy::told_by(folder.write("oncegate.toml", toml)).start().await;
        Self { authority, folder, origin, proxy }
    }

    /// The certificate that is shown to whoever connects now.
    async fn shown(&self) -> CertificateDer<'static> {
        let stream = Tls::trusting(&self.authority).connect(&self.proxy).await;
        let shown = stream.get_ref().1.peer_certificates().expect("a certificate");
        shown[0].clone().into_owned()
    }

    /// Waits until this certificate is shown by every worker.
    async fn shows(&self, pair: &Pair) {
        eventually("the new certificate", async || self.shown().await == pair.der()).await;
        for _ in 0..20 {
            assert_eq!(self.shown().await, pair.der(), "and it is shown by all from then on");
        }
    }

    /// How often the log has said this.
    fn said(&self, what: &str) -> usize {
        self.proxy.log().lines().filter(|line| line.contains(what)).count()
    }

    /// Asks for the settings to be read again, and waits for the word on it.
    async fn told(&self, what: &str) {
        let before = self.said(what);
        self.proxy.signal("HUP");
        eventually(what, async || self.said(what) > before).await;
    }
}

fn write(folder: &Folder, pair: &Pair) {
    folder.write("tls.crt", &pair.certificate);
    folder.write("tls.key", &pair.key);
}

/// Callers of all kinds, until they are told to stop.
struct Load {
    stops: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    fn on(setup: &Setup) -> Self {
        let mut load =
            Self { stops: Arc::default(), served: Arc::default(), callers: JoinSet::new() };
        let tls = Tls::trusting(&setup.authority);
        let requests = |name: &str, number: usize| {
            client(&setup.proxy).post("/charges").key(format!("{name}-{number}")).body("10")
        };
        for name in ["kept", "new"] {
            let config = tls.config();
            let (stops, served) = (Arc::clone(&load.stops), Arc::clone(&load.served));
            let requests: Vec<_> = (0..20_000).map(|number| requests(name, number / 2)).collect();
            let addr = setup.proxy.addr();
            load.callers.spawn(async move {
                let mut failed = Vec::new();
                let mut kept: Option<Plain> = None;
                for request in requests {
                    if stops.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut caller = match kept.take() {
                        Some(caller) => caller,
                        None => match connect(addr, Arc::clone(&config)).await {
                            Ok(stream) => Plain::over(stream),
                            Err(error) => {
                                failed.push(format!("{name} has not connected: {error}"));
                                continue;
                            }
                        },
                    };
                    match caller.try_send(&request).await {
                        Ok(Reply { status: 201, .. }) => served.fetch_add(1, Ordering::Relaxed),
                        other => {
                            failed.push(format!("{name}: {other:?}"));
                            continue;
                        }
                    };
                    kept = (name == "kept").then_some(caller);
                    sleep(Duration::from_millis(5)).await;
                }
                failed
            });
        }
        load.streams(&tls.speaking(&["h2"]), setup);
        load
    }

    /// One that keeps a connection by HTTP/2, and has several streams on it.
    fn streams(&mut self, tls: &Tls, setup: &Setup) {
        let (stops, served) = (Arc::clone(&self.stops), Arc::clone(&self.served));
        let (addr, config) = (setup.proxy.addr(), tls.config());
        self.callers.spawn(async move {
            let mut failed = Vec::new();
            let mut raw = Raw::over(connect(addr, config).await.expect("a handshake")).await;
            for number in 0..10_000 {
                if stops.load(Ordering::Relaxed) {
                    break;
                }
                let mut streams = Vec::new();
                for _ in 0..3 {
                    streams.push(raw.ask(&Asked::post(&format!("h2-{number}"))).await);
                }
                for stream in streams {
                    match raw.outcome(stream).await {
                        Outcome::Answered(Reply { status: 201, .. }) => {
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        Outcome::Answered(reply) => failed.push(format!("h2: {reply:?}")),
                        Outcome::Reset(code) => failed.push(format!("h2: reset for {code}")),
                        Outcome::Gone => failed.push("h2: the connection has ended".to_owned()),
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
            failed
        });
    }

    /// Stops it: so many were served, and none has failed.
    async fn ends(self) -> usize {
        self.stops.store(true, Ordering::Relaxed);
        let failed: Vec<_> = self.callers.join_all().await.into_iter().flatten().collect();
        assert!(failed.is_empty(), "{} have failed: {failed:#?}", failed.len());
        self.served.load(Ordering::Relaxed)
    }
}

async fn connect(
    addr: std::net::SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(addr).await?;
    let name = rustls::pki_types::ServerName::try_from(NAME).expect("a name");
    tokio_rustls::TlsConnector::from(config).connect(name, stream).await
}

/// Files that are written or replaced, found by looking at them and by SIGHUP.
#[tokio::test]
async fn certificates_are_replaced_under_load() {
    let setup = Setup::start("", write).await;
    let load = Load::on(&setup);
    let pairs: Vec<_> = (0..6).map(|_| setup.authority.proxy()).collect();
    for (number, pair) in pairs.iter().enumerate() {
        match number % 3 {
            0 => write(&setup.folder, pair),
            1 => {
                setup.folder.replace("tls.key", &pair.key);
                setup.folder.replace("tls.crt", &pair.certificate);
            }
            _ => {
                write(&setup.folder, pair);
                setup.told(TAKEN).await;
            }
        }
        setup.shows(pair).await;
    }
    let served = load.ends().await;
    assert!(served > 100, "only {served} were served");
    let posts = setup.origin.hits();
    let keys: std::collections::HashSet<_> = setup
        .origin
        .requests()
        .iter()
        .map(|sent| sent.header("idempotency-key").map(str::to_owned))
        .collect();
    assert_eq!(posts, keys.len(), "each key was executed once");
}

/// A volume of Kubernetes: both files change at once, by a link that is replaced.
#[tokio::test]
async fn mounted_certificates_are_followed_under_load() {
    fn publish(folder: &Path, version: usize, pair: &Pair) {
        let name = format!("..2026_{version}");
        fs::create_dir(folder.join(&name)).expect("a folder for the version");
        fs::write(folder.join(&name).join("tls.crt"), &pair.certificate).expect("writing");
        fs::write(folder.join(&name).join("tls.key"), &pair.key).expect("writing");
        symlink(&name, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("replacing the link");
        if version > 0 {
            fs::remove_dir_all(folder.join(format!("..2026_{}", version - 1))).expect("removing");
        }
    }
    let setup = Setup::start("certs/", |folder, pair| {
        let mount = folder.path("certs");
        fs::create_dir(&mount).expect("a mount");
        publish(&mount, 0, pair);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), mount.join(name)).expect("a link");
        }
    })
    .await;
    let load = Load::on(&setup);
    for version in 1..5 {
        let pair = setup.authority.proxy();
        publish(&setup.folder.path("certs"), version, &pair);
        setup.shows(&pair).await;
    }
    assert!(load.ends().await > 100);
    assert_eq!(setup.said(REFUSED), 0, "{}", setup.proxy.log());
}

/// What can't be used is refused, with the reason and without the key; the old one serves on.
#[tokio::test]
async fn a_broken_pair_is_refused_under_load() {
    let setup = Setup::start("", write).await;
    let good = Pair { certificate: read(&setup, "tls.crt"), key: read(&setup, "tls.key") };
    let other = setup.authority.proxy();
    let load = Load::on(&setup);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (certificate, key) in [
        (&other.certificate[..], &good.key[..]),
        (&good.certificate, &other.key),
        (&other.key, &other.certificate),
        ("", ""),
        (garbage, &other.key),
        (&other.certificate[..300], &other.key),
        (&other.certificate, &other.key[..60]),
    ] {
        setup.folder.replace("tls.crt", certificate);
        setup.folder.replace("tls.key", key);
        setup.told(REFUSED).await;
        assert_eq!(setup.shown().await, good.der());
    }
    fs::remove_file(setup.folder.path("tls.key")).expect("removing");
    setup.told(REFUSED).await;
    assert_eq!(setup.shown().await, good.der());
    for secret in other.key.lines().chain(good.key.lines()).filter(|line| !line.contains("KEY")) {
        assert!(!setup.proxy.log().contains(secret), "keys are not shown");
    }
    write(&setup.folder, &other);
    setup.shows(&other).await;
    assert!(load.ends().await > 100);
}

fn read(setup: &Setup, name: &str) -> String {
    fs::read_to_string(setup.folder.path(name)).expect("reading")
}

/// Whom callers' certificates must be signed by changes for new handshakes, and for sessions.
#[tokio::test]
async fn the_authorities_of_callers_are_replaced() {
    let (ours, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let (origin, folder) = (Origin::start().await, Folder::new());
    let callers = folder.write("callers.pem", old.pem());
    let asks = format!("client_ca_file = \"{callers}\"");
    let proxy = by_tls(&origin, &ours, &asks).start().await;
    let config = |by: &Authority| {
        Tls::trusting(&ours).showing(&by.sign(Wanted::dns(&["a.example"]))).config()
    };
    let (olds, news) = (config(&old), config(&new));
    let served = async |config: &Arc<rustls::ClientConfig>| {
        let Ok(stream) = shake_hands(&proxy, Arc::clone(config), NAME).await else { return false };
        let request = client(&proxy).get("/probe");
        Plain::over(stream).try_send(&request).await.is_ok_and(|reply| reply.status == 201)
    };
    assert!(served(&olds).await && served(&olds).await && !served(&news).await);
    folder.write("callers.pem", new.pem());
    proxy.signal("HUP");
    eventually("the new authority", async || served(&news).await).await;
    for _ in 0..10 {
        assert!(!served(&olds).await, "an old session is no way around");
        assert!(served(&news).await);
    }
}
