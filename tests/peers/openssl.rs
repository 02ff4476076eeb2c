//! OpenSSL's client: versions of TLS, what is agreed on, early data, and certificates.

use crate::authority::Authority;
use crate::front::{Front, Setup};
use crate::program::{Program, Ran};
use crate::support::{Folder, Origin};

const GET: &str = "GET /passed HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";
const POST: &str = "POST /charges HTTP/1.1\r\nHost: api.example\r\nIdempotency-Key: k1\r\n\
                    Content-Length: 2\r\nConnection: close\r\n\r\n10";

/// Connects by `openssl s_client`, says something, and reads until the proxy closes.
async fn connect(front: &Front, authority: &Authority, args: &[&str], said: &str) -> Ran {
    let client = Program::new("openssl").args(["s_client", "-ign_eof", "-servername", "localhost"]);
    let client = client.args(["-CAfile", &authority.certificate(), "-verify_return_error"]);
    let client = client.args(["-connect", &front.addr().to_string()]).args(args);
    client.input(said).run().await
}

/// An origin, and a proxy with TLS before it.
async fn secure(authority: &Authority) -> (Origin, Front) {
    let origin = Origin::start().await;
    let front = Setup::before(&origin).showing(&authority.server()).start().await;
    (origin, front)
}

#[tokio::test]
async fn versions_before_tls_1_2_are_refused() {
    let authority = Authority::new("Peers");
    let (origin, front) = secure(&authority).await;
    for version in ["-tls1", "-tls1_1"] {
        // Nobody offers these any more without being told twice.
        let args = [version, "-cipher", "DEFAULT@SECLEVEL=0"];
        let refused = connect(&front, &authority, &args, GET).await;
        assert!(!refused.status.success(), "{refused:?}");
        assert!(refused.stderr.contains("SSL alert number"), "{refused:?}");
    }
    assert_eq!(origin.heads(), 0);
    for (number, (version, name)) in
        [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")].into_iter().enumerate()
    {
        let accepted = connect(&front, &authority, &[version], GET).await.well();
        assert!(accepted.text().contains(&format!("New, {name}, Cipher is")), "{accepted:?}");
        assert!(accepted.text().contains("HTTP/1.1 201"), "{accepted:?}");
        assert_eq!(origin.hits(), number + 1);
    }
}

#[tokio::test]
async fn the_version_of_http_is_agreed_on() {
    let authority = Authority::new("Peers");
    let (origin, front) = secure(&authority).await;
    for (offered, agreed) in [
        ("h2", "h2"),
        ("http/1.1", "http/1.1"),
        ("http/1.1,h2", "h2"),
        ("http/1.0", "http/1.0"),
        ("spdy/3,http/1.1", "http/1.1"),
    ] {
        // What a client of HTTP/2 never says ends the connection.
        let ran = connect(&front, &authority, &["-alpn", offered], GET).await;
        assert!(ran.text().contains(&format!("ALPN protocol: {agreed}\n")), "{ran:?}");
        assert_eq!(ran.text().contains("HTTP/1.1 201"), agreed != "h2", "{ran:?}");
    }
    let hits = origin.hits();
    let refused = connect(&front, &authority, &["-alpn", "spdy/3"], GET).await;
    assert!(refused.stderr.contains("alert no application protocol"), "{refused:?}");
    assert_eq!((hits, origin.hits()), (3, 3));
    let silent = connect(&front, &authority, &[], GET).await.well();
    assert!(silent.text().contains("No ALPN negotiated"), "{silent:?}");
    assert!(silent.text().contains("HTTP/1.1 201"), "{silent:?}");
}

/// Whoever has seen early data could send it again: it is not taken, and the request comes after
/// the handshake, if at all.
#[tokio::test]
async fn early_data_is_not_taken() {
    let authority = Authority::new("Peers");
    let (origin, front) = secure(&authority).await;
    let folder = Folder::new();
    let session = folder.path("session");
    let session = session.to_str().expect("a path that is text");
    let early = folder.write("early", POST);
    let first = ["-tls1_3", "-sess_out", session];
    connect(&front, &authority, &first, GET).await.well();
    assert_eq!(origin.hits(), 1);
    let args = ["-tls1_3", "-sess_in", session, "-early_data", &early];
    let resumed = connect(&front, &authority, &args, GET).await.well();
    assert!(resumed.text().contains("Reused, TLSv1.3"), "{resumed:?}");
    assert!(!resumed.text().contains("Early data was accepted"), "{resumed:?}");
    assert!(resumed.text().contains("HTTP/1.1 201"), "{resumed:?}");
    assert_eq!((origin.executions("POST /charges 10"), origin.hits()), (0, 2));
}

#[tokio::test]
async fn certificates_are_asked_for_where_they_count() {
    let authority = Authority::new("Peers");
    let (_origin, front) = secure(&authority).await;
    let silent = connect(&front, &authority, &[], GET).await.well();
    assert!(silent.text().contains("No client certificate CA names sent"), "{silent:?}");
    for auth in ["required", "optional"] {
        let origin = Origin::start().await;
        let setup = Setup::before(&origin).showing(&authority.server());
        let front = setup.asking(&authority, auth).start().await;
        for version in ["-tls1_2", "-tls1_3"] {
            let nobody = connect(&front, &authority, &[version], GET).await;
            let text = nobody.text();
            assert!(text.contains("Acceptable client certificate CA names\n"), "{nobody:?}");
            assert!(text.contains("CN = Peers"), "{nobody:?}");
            assert_eq!(text.contains("HTTP/1.1 201"), auth == "optional", "{nobody:?}");
            let ada = authority.sign(&["ada.example"]);
            let args = [version, "-cert", &ada.certificate, "-key", &ada.key];
            let known = connect(&front, &authority, &args, GET).await.well();
            assert!(known.text().contains("HTTP/1.1 201"), "{known:?}");
        }
        assert_eq!(origin.hits(), if auth == "optional" { 4 } else { 2 });
    }
}
