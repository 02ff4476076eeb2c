//! Callers who are known by their certificates.

use super::caller::Way;
use crate::authority::Authority;
use crate::front::Setup;
use crate::support::{Origin, Reply, assert_replay};

/// A certificate says who calls; nobody gets in without one, or with one of another authority.
#[tokio::test]
async fn callers_are_known_by_their_certificates() {
    let origin = Origin::start().await;
    let (authority, stranger) = (Authority::new("Peers"), Authority::new("Stranger"));
    let setup = Setup::before(&origin).showing(&authority.server());
    let front = setup.asking(&authority, "required").start().await;
    let (ada, ben) = (authority.sign(&["ada.example"]), authority.sign(&["ben.example"]));
    let renewed = authority.sign(&["ada.example"]);
    let foreign = stranger.sign(&["ada.example"]);
    for way in Way::tls(&front, &authority) {
        for nobody in [way.clone(), way.clone().showing(&foreign)] {
            nobody.post("k1", "10").try_send().await.expect_err("a handshake that fails");
        }
    }
    assert_eq!(origin.heads(), 0);
    let mut firsts: [Option<Reply>; 2] = [None, None];
    for way in Way::tls(&front, &authority) {
        for (files, first) in [(&ada, 0), (&ben, 1), (&renewed, 0)] {
            let reply = way.clone().showing(files).post("k1", "10").send().await.reply;
            match &firsts[first] {
                Some(first) => assert_replay(first, &reply),
                None => firsts[first] = Some(reply),
            }
        }
    }
    assert_eq!(origin.hits(), 2);
}

/// Where a certificate is optional, whoever has none is somebody else than whoever shows one.
#[tokio::test]
async fn a_certificate_that_is_optional_is_verified_all_the_same() {
    let origin = Origin::start().await;
    let (authority, stranger) = (Authority::new("Peers"), Authority::new("Stranger"));
    let setup = Setup::before(&origin).showing(&authority.server());
    let front = setup.asking(&authority, "optional").start().await;
    let ways = Way::tls(&front, &authority);
    let foreign = ways[0].clone().showing(&stranger.sign(&["ada.example"]));
    foreign.post("k1", "10").try_send().await.expect_err("a handshake that fails");
    assert_eq!(origin.heads(), 0);
    let ada = authority.sign(&["ada.example"]);
    for way in ways {
        way.post("k1", "10").send().await;
        let repeat = way.post("k1", "10").send().await;
        assert!(repeat.reply.is_repeat(), "{way:?}: {repeat:?}");
        way.clone().showing(&ada).post("k1", "10").send().await;
        assert_eq!(origin.hits(), 2, "{way:?}");
    }
}
