//! Bodies: those that wait to be asked for, large ones, and compressed ones.

use super::caller::Way;
use crate::authority::Authority;
use crate::front::Setup;
use crate::support::{Answer, Origin, Reply, assert_executed, assert_problem, assert_replay, gzip};

/// A refusal that needs nothing but the header comes before any of the body is sent.
#[tokio::test]
async fn a_body_is_sent_once_the_proxy_has_asked_for_it() {
    let origin = Origin::start().await;
    let front = Setup::before(&origin).table("[defaults]\nmax_request = \"64KiB\"").start().await;
    let way = &Way::plain(&front)[0];
    let body = vec![b'x'; 60 << 10];
    let expecting = |key: &str, body: &[u8]| {
        let curl = way.ask("/charges").header("Expect: 100-continue").header(key);
        curl.args(["--expect100-timeout", "60"]).data(body, "--data-binary")
    };
    let sent = expecting("Idempotency-Key: k1", &body).send().await;
    assert_eq!((sent.interim(), sent.uploaded()), (vec![100], body.len() as u64), "{sent:?}");
    assert_executed(&sent.reply);
    let again = expecting("Idempotency-Key: k1", &body).send().await;
    assert_replay(&sent.reply, &again.reply);
    let too_large = expecting("Idempotency-Key: k2", &vec![b'x'; 65 << 10]).send().await;
    assert_problem(&too_large.reply, 413, "too-large");
    let malformed = expecting("Idempotency-Key;", &body).send().await;
    assert_problem(&malformed.reply, 400, "key-malformed");
    for refused in [too_large, malformed] {
        assert_eq!((refused.interim(), refused.uploaded()), (vec![], 0), "{refused:?}");
    }
    assert_eq!((origin.hits(), origin.last().body.len()), (1, body.len()));
    assert!(!origin.last().head.has("expect"), "{:?}", origin.last());
}

/// Nobody is told to continue in HTTP/2: curl does so by itself after a while.
#[tokio::test]
async fn an_expectation_does_no_harm_in_http_2() {
    let origin = Origin::start().await;
    let authority = Authority::new("Peers");
    let plain = Setup::before(&origin).start().await;
    let secure = Setup::before(&origin).showing(&authority.server()).start().await;
    for way in [&Way::plain(&plain)[2], &Way::tls(&secure, &authority)[0]] {
        let expecting = || {
            let post = way.post("k1", "10").header("Expect: 100-continue");
            post.args(["--expect100-timeout", "0.05"])
        };
        let first = expecting().send().await.reply;
        assert_executed(&first);
        assert_replay(&first, &expecting().send().await.reply);
        origin.next(Answer::new(200).body("seen"));
        let passed = expecting().args(["-X", "REPORT"]).send().await;
        assert_eq!((passed.reply.text().as_str(), passed.uploaded()), ("seen", 2));
    }
    assert_eq!(origin.hits(), 4);
}

/// What is too large to be protected streams through, whether its length is known or not.
#[tokio::test]
async fn large_uploads_pass_whole() {
    let origin = Origin::start().await;
    let authority = Authority::new("Peers");
    let limit = "[defaults]\nmax_request = \"64KiB\"";
    let plain = Setup::before(&origin).at_socket().table(limit).start().await;
    let secure = Setup::before(&origin).table(limit).showing(&authority.server()).start().await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let ways = [Way::plain(&plain), Way::unix(&plain), Way::tls(&secure, &authority)].concat();
    for way in &ways {
        let upload = || way.ask("/files/1").data(&bytes, "-T");
        origin.next(Answer::new(200).body(&bytes));
        let sent = upload().send().await;
        let mark = sent.reply.header("duplicate-protection");
        assert_eq!(mark, Some("none; reason=\"body-too-large\""), "{sent:?}");
        assert!(sent.reply.body == bytes && origin.last().body == bytes, "{sent:?}");
        if way.version != "1" {
            let open = way.ask("/files/1").piped(&bytes).send().await;
            assert_eq!(open.reply.status, 201, "{open:?}");
            assert!(origin.last().body == bytes, "{open:?}");
            assert!(!origin.last().head.has("content-length"), "{:?}", origin.last());
        }
        // curl 7 sees no answer in HTTP/2 that comes before it has sent all; nghttp does.
        if way.version != "2" {
            let hits = origin.hits();
            let refused = upload().key("k1").send().await;
            assert_problem(&refused.reply, 413, "too-large");
            assert_eq!(origin.hits(), hits, "{way:?}");
        }
    }
}

/// A file that is not too large is guarded by what is in it.
#[tokio::test]
async fn an_upload_without_a_key_is_done_once() {
    let origin = Origin::start().await;
    let authority = Authority::new("Peers");
    let front = Setup::before(&origin).showing(&authority.server()).start().await;
    let bytes = vec![7; 2 << 20];
    origin.always(Answer::new(201).body("stored"));
    let mut first: Option<Reply> = None;
    for way in Way::tls(&front, &authority) {
        for piped in [false, way.version != "1"] {
            let upload = way.ask("/files/1");
            let upload = if piped { upload.piped(&bytes) } else { upload.data(&bytes, "-T") };
            let reply = upload.send().await.reply;
            match &first {
                Some(first) => assert_replay(first, &reply),
                None => first = Some(reply),
            }
        }
    }
    assert_eq!((origin.hits(), origin.last().body.len()), (1, bytes.len()));
}

/// A passed answer comes in the coding that curl asks for; a guarded one in none, unless the
/// upstream does as it likes.
#[tokio::test]
async fn compressed_answers_are_read() {
    let origin = Origin::start().await;
    let authority = Authority::new("Peers");
    let plain = Setup::before(&origin).start().await;
    let secure = Setup::before(&origin).showing(&authority.server()).start().await;
    let text = "a long answer ".repeat(1000);
    let coded = Answer::new(200).header("Content-Encoding", "gzip").body(gzip(text.as_bytes(), 1));
    origin.always(coded);
    let ways = [Way::plain(&plain), Way::tls(&secure, &authority)].concat();
    for (number, way) in ways.iter().enumerate() {
        let passed = way.ask("/report").args(["--compressed"]).send().await.reply;
        assert_eq!(passed.text(), text);
        let accepted = origin.last().header("accept-encoding").map(str::to_owned);
        assert!(accepted.is_some_and(|accepted| accepted.contains("gzip")), "{way:?}");
        let post = || way.post(&format!("k{number}"), "10").args(["--compressed"]);
        let first = post().send().await.reply;
        assert_replay(&first, &post().send().await.reply);
        assert_eq!((first.text(), origin.hits()), (text.clone(), 2 * number + 2));
        assert_eq!(origin.last().header("accept-encoding"), Some("identity"));
    }
}
