//! Changed files are found without a signal, however they are changed, and never half.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Setup;
use crate::support::{Folder, Origin, Proxy, assert_replay, client, eventually};

const SMALL: &str = "defaults.max_request = \"10B\"";
const LARGE: &str = "defaults.max_request = \"20B\"";

/// Whether a body of 20 bytes is taken.
async fn is_large(setup: &Setup, key: &str) -> bool {
    let reply = setup.post(key).body("x".repeat(20)).send().await;
    match reply.status {
        201 => true,
        413 => false,
        _ => panic!("{reply:?}"),
    }
}

#[tokio::test]
async fn a_file_that_was_written_or_replaced_is_taken() {
    let setup = Setup::start(SMALL).await;
    let first = setup.post("k1").send().await;
    assert!(!is_large(&setup, "a").await);
    setup.write(LARGE);
    setup.hears_taken().await;
    assert!(is_large(&setup, "b").await);
    setup.folder.replace("oncegate.toml", setup.text(SMALL));
    setup.hears_taken().await;
    assert!(!is_large(&setup, "c").await);
    // gone for a moment, as with editors that move the old file away
    fs::rename(setup.folder.path("oncegate.toml"), setup.folder.path("old")).expect("moving");
    setup.write(LARGE);
    setup.hears_taken().await;
    assert!(is_large(&setup, "d").await);
    assert_replay(&first, &setup.post("k1").send().await);
    assert!(setup.said().iter().all(|said| said.cause == "changed files"), "{:?}", setup.said());
}

/// A volume of Kubernetes: the file is a link through `..data`, which is a link that is replaced.
#[tokio::test]
async fn a_mounted_volume_is_followed() {
    let setup = Setup::start(SMALL).await;
    let path = |name: &str| setup.folder.path(name);
    let publish = |version: &str, more: &str| {
        fs::create_dir(path(version)).expect("a folder for the version");
        fs::write(path(version).join("oncegate.toml"), setup.text(more)).expect("writing");
        symlink(version, path("..data_tmp")).expect("a link");
        fs::rename(path("..data_tmp"), path("..data")).expect("replacing the link");
    };
    publish("..2026_1", SMALL);
    fs::remove_file(path("oncegate.toml")).expect("removing");
    symlink("..data/oncegate.toml", path("oncegate.toml")).expect("a link");
    assert!(!is_large(&setup, "a").await);
    publish("..2026_2", LARGE);
    fs::remove_dir_all(path("..2026_1")).expect("removing the old version");
    eventually("the new version", async || is_large(&setup, "b").await).await;
    publish("..2026_3", SMALL);
    fs::remove_dir_all(path("..2026_2")).expect("removing the old version");
    eventually("the third version", async || !is_large(&setup, "c").await).await;
    assert!(setup.said().iter().all(|said| said.refused.is_none()), "{:?}", setup.said());
}

/// What stands there for less than a second is never believed.
#[tokio::test]
async fn a_file_that_is_half_written_is_not_applied() {
    let setup = Setup::start(LARGE).await;
    for round in 0..4 {
        // the first half alone would be taken for a config, too
        let whole = setup.text(&format!("{LARGE}\ndefaults.wait = \"{}s\"", round + 1));
        let (half, _) = whole.split_once("defaults").expect("two halves");
        let began = Instant::now();
        setup.folder.write("oncegate.toml", format!("{half}{SMALL}"));
        let mut is_half = false;
        for step in 0..5 {
            sleep(Duration::from_millis(80)).await;
            is_half |= !is_large(&setup, &format!("k{round}-{step}")).await;
        }
        setup.folder.write("oncegate.toml", &whole);
        // a machine that stands still for a second proves nothing
        assert!(!is_half || began.elapsed() > Duration::from_millis(900));
        sleep(Duration::from_millis(2500)).await;
        assert!(is_large(&setup, &format!("k{round}")).await);
    }
    assert!(setup.said().len() >= 4, "each whole file was taken: {:?}", setup.said());
}

/// Nor by an instance that was stopped, and looks more often to make up for it.
#[tokio::test]
async fn a_half_written_file_is_not_applied_after_a_pause_either() {
    let setup = Setup::start(LARGE).await;
    setup.proxy.signal("STOP");
    sleep(Duration::from_secs(4)).await;
    setup.write(SMALL);
    let began = Instant::now();
    setup.proxy.signal("CONT");
    let mut is_half = false;
    for step in 0..5 {
        sleep(Duration::from_millis(80)).await;
        is_half |= !is_large(&setup, &format!("k{step}")).await;
    }
    assert!(!is_half || began.elapsed() > Duration::from_millis(900));
}

/// A file that changes and changes is taken once it stands still.
#[tokio::test]
async fn a_file_that_goes_on_changing_is_taken_when_it_rests() {
    let setup = Setup::start(SMALL).await;
    for step in 0..30 {
        setup.write(&format!("{SMALL} # {step}"));
        sleep(Duration::from_millis(100)).await;
    }
    setup.write(LARGE);
    eventually("the last change", async || is_large(&setup, "a").await).await;
}

/// Every mistake is told, once; the old settings hold on until there is none.
#[tokio::test]
async fn a_bad_file_is_told_of_and_not_taken() {
    let setup = Setup::start(SMALL).await;
    let first = setup.post("k1").send().await;
    setup.write("workres = 1\ndefaults.window = 5\ndefaults.max_request = \"20B\"\n[[route]]\n");
    let reason = setup.hears_refused().await;
    for mistake in ["workres", "window", "name: it is missing", "3 mistakes"] {
        assert!(reason.contains(mistake), "{mistake}: {reason}");
    }
    assert!(reason.contains("oncegate.toml:4:1: "), "with their places: {reason}");
    assert!(!is_large(&setup, "a").await, "nothing of it is taken");
    assert_replay(&first, &setup.post("k1").send().await);
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(setup.said().len(), 1, "it is not told again and again");
    setup.write(LARGE);
    setup.hears_taken().await;
    assert!(is_large(&setup, "b").await);
    assert_replay(&first, &setup.post("k1").send().await);
    assert_eq!(setup.origin.hits(), 2);
}

/// Whatever the file has become, or where it has gone.
#[tokio::test]
async fn a_file_that_cannot_be_read_is_not_taken() {
    let setup = Setup::start(SMALL).await;
    let config = setup.folder.path("oncegate.toml");
    let first = setup.post("k1").send().await;
    let good = setup.text(SMALL);
    for (what, told) in [
        (Some(Vec::new()), "upstream.url"),
        (Some(b"\xff\xfe".to_vec()), "UTF-8"),
        (Some(vec![b'#'; 5 << 20]), "4 MiB"),
        (Some(good.as_bytes()[..good.len() - 4].to_vec()), "not TOML"),
        (None, "can't be read"),
    ] {
        match what {
            Some(bytes) => drop(setup.folder.write("oncegate.toml", bytes)),
            None => fs::remove_file(&config).expect("removing the file"),
        }
        let reason = setup.hears_refused().await;
        assert!(reason.contains(told), "{told}: {reason}");
        assert_replay(&first, &setup.post("k1").send().await);
    }
    fs::create_dir(&config).expect("a folder in its place");
    sleep(Duration::from_millis(2500)).await;
    assert_replay(&first, &setup.post("k1").send().await);
    fs::remove_dir(&config).expect("removing the folder");
    let before = setup.said().len();
    setup.folder.write("oncegate.toml", setup.text(LARGE));
    eventually("the new settings", async || is_large(&setup, "a").await).await;
    assert!(setup.said()[before..].iter().any(|said| said.refused.is_none()));
}

/// After a bad file, the one that was there before is as good as a new one.
#[tokio::test]
async fn the_old_file_can_come_back() {
    let setup = Setup::start(SMALL).await;
    setup.write("nonsense");
    setup.hears_refused().await;
    setup.write(SMALL);
    setup.hears_taken().await;
    assert!(!is_large(&setup, "a").await);
}

/// Enough routes for reading them to take a while.
fn many_routes(more: &str) -> String {
    let route = |number| {
        format!(
            "[[route]]\nname = \"r{number}\"\npath = \"/r/{number}/{{id}}\"\n\
             methods = [\"POST\"]\nkey = [\"header:X-{}\"]\n",
            number % 5
        )
    };
    format!("{more}\n{}", (0..200).map(route).collect::<String>())
}

/// What is written while the file is being read is not lost.
#[tokio::test]
async fn a_change_while_the_file_is_being_read_is_taken_too() {
    let setup = Setup::start(&many_routes(SMALL)).await;
    for (number, pause) in [5, 20, 50, 100, 200, 400].into_iter().enumerate() {
        setup.write(&many_routes(&format!("{SMALL} # {number}")));
        setup.proxy.signal("HUP");
        sleep(Duration::from_millis(pause)).await;
        setup.write(&many_routes(&format!("{LARGE} # {number}")));
        eventually("the last change", async || is_large(&setup, "a").await).await;
        setup.write(&many_routes(SMALL));
        setup.proxy.signal("HUP");
        eventually("the first settings", async || !is_large(&setup, "a").await).await;
    }
}

/// Nor is what is written while the instance starts.
#[tokio::test]
async fn a_change_at_the_start_is_taken_too() {
    let origin = Origin::start().await;
    let folder = Folder::new();
    for (number, pause) in [50, 100, 200, 400, 800].into_iter().enumerate() {
        let text = |more: &str| super::text(&origin, &many_routes(more));
        let config = folder.write("oncegate.toml", text(&format!("{SMALL} # {number}")));
        let starting = Proxy::told_by(config).start();
        let (proxy, ()) = tokio::join!(starting, async {
            sleep(Duration::from_millis(pause)).await;
            folder.replace("oncegate.toml", text(LARGE));
        });
        let post = || client(&proxy).post("/a").key("k1").body("x".repeat(20)).send();
        eventually("the last change", async || post().await.status == 201).await;
    }
}
