//! Every way in leads to one operation, and so does every repeat.

use super::caller::Way;
use crate::authority::Authority;
use crate::front::Setup;
use crate::support::{Origin, assert_executed, assert_problem, assert_replay};

/// Fails unless all these ways lead to one operation, which is executed once.
async fn assert_one_operation(origin: &Origin, ways: &[Way]) {
    let first = ways[0].post("k1", "10").send().await.reply;
    assert_executed(&first);
    for way in ways {
        assert_replay(&first, &way.post("k1", "10").send().await.reply);
        let passed = way.ask("/charges").send().await.reply;
        assert_executed(&passed);
    }
    let posts = origin.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!((posts, origin.hits()), (1, 1 + ways.len()), "{ways:?}");
    let other = ways[0].post("k1", "11").send().await.reply;
    assert_problem(&other, 422, "key-reused");
}

#[tokio::test]
async fn ways_in_without_tls_lead_to_one_operation() {
    let origin = Origin::start().await;
    let front = Setup::before(&origin).at_socket().start().await;
    let ways = [Way::plain(&front), Way::unix(&front)].concat();
    assert_one_operation(&origin, &ways).await;
}

#[tokio::test]
async fn ways_in_with_tls_lead_to_one_operation() {
    let origin = Origin::start().await;
    let authority = Authority::new("Peers");
    let setup = Setup::before(&origin).at_socket().showing(&authority.server());
    let front = setup.start().await;
    let ways = [Way::tls(&front, &authority), Way::unix(&front)].concat();
    assert_one_operation(&origin, &ways).await;
}

#[tokio::test]
async fn ways_in_that_are_announced_lead_to_one_operation() {
    let announced = |ways: Vec<Way>| ways.into_iter().map(Way::announced).collect::<Vec<_>>();
    let origin = Origin::start().await;
    let front = Setup::before(&origin).top("proxy_protocol = true").start().await;
    assert_one_operation(&origin, &announced(Way::plain(&front))).await;
    assert_eq!(origin.last().header("x-forwarded-for"), Some("127.0.0.1"));
    let origin = Origin::start().await;
    let authority = Authority::new("Peers");
    let setup = Setup::before(&origin).top("proxy_protocol = true").showing(&authority.server());
    let front = setup.start().await;
    assert_one_operation(&origin, &announced(Way::tls(&front, &authority))).await;
    assert_eq!(origin.last().header("x-forwarded-proto"), Some("https"));
    let silent = Way::tls(&front, &authority)[0].post("k2", "10").try_send().await;
    silent.expect_err("a connection that is not announced is closed");
    assert_eq!(origin.executions("POST /charges 10"), 1);
}

/// One connection has its repeats, too: curl uses it again, unless it began in HTTP/2 at once.
#[tokio::test]
async fn a_repeat_may_come_by_the_same_connection() {
    let origin = Origin::start().await;
    let authority = Authority::new("Peers");
    let plain = Setup::before(&origin).start().await;
    let secure = Setup::before(&origin).showing(&authority.server()).start().await;
    let ways = [Way::plain(&plain)[0].clone(), Way::plain(&plain)[3].clone()];
    let ways = [&ways[..], &Way::tls(&secure, &authority)].concat();
    for (number, way) in ways.iter().enumerate().filter(|(_, way)| way.version != "1") {
        let url = format!("{}/charges", way.base);
        let again = way.post(&format!("k{number}"), "10").args(["-o", "/dev/null", &url]);
        let sent = again.try_send().await.unwrap_or_else(|ran| panic!("{way:?}: {ran:?}"));
        assert!(sent.reply.is_repeat(), "{way:?}: {sent:?}");
        assert_eq!(sent.interim().last(), Some(&201), "{way:?}: {sent:?}");
        assert_eq!(sent.facts["num_connects"], 0, "{way:?}: {sent:?}");
    }
    assert_eq!(origin.hits(), ways.len() - 1);
}
