//! A folder of records: what a restart finds, and what keeps the proxy from starting.

use std::process::Stdio;

use tokio::process::Command;

use crate::load::charge;
use crate::support::{
    Act, Folder, Gate, Origin, Proxy, assert_executed, assert_replay, client, problem_of, within,
};

fn url(folder: &Folder) -> String {
    format!("file://{}", folder.path("records").display())
}

/// What the program says when it can't start.
async fn refused(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
    command.arg("run").args(["--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9"]);
    command
        .args(args)
        .env_clear()
        .env("ONCEGATE_ADMIN", "off")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = within("the end of the program", command.output()).await.unwrap();
    assert!(!output.status.success(), "it does not start");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same answer, byte for byte, under the same `Duplicate-Key`, whoever asks after a restart.
#[tokio::test]
async fn a_restart_forgets_nothing() {
    let (folder, origin) = (Folder::new(), Origin::start().await);
    let mut proxy = Proxy::before(&origin).arg("--store", &url(&folder)).start().await;
    let first = charge(&client(&proxy), "a").send().await;
    assert_executed(&first);
    let before = charge(&client(&proxy), "a").send().await;
    proxy.terminate();
    assert!(proxy.wait_exit().await.success());
    let proxy = Proxy::before(&origin).arg("--store", &url(&folder)).start().await;
    let after = charge(&client(&proxy), "a").send().await;
    assert_replay(&first, &after);
    assert_eq!(before.header("duplicate-key"), after.header("duplicate-key"));
    // Another request under the key is still another one.
    let other = client(&proxy).post("/charges").key("a").body("{\"op\":\"b\"}").send().await;
    assert_eq!(problem_of(&other).as_deref(), Some("key-reused"));
    assert_eq!(origin.hits(), 1);
}

/// With a secret of its own, a folder is of no use to whoever has another.
#[tokio::test]
async fn a_secret_file_goes_before_that_of_the_folder() {
    let (folder, origin) = (Folder::new(), Origin::start().await);
    let secret = folder.write("secret", "a secret that is long enough for this");
    let told = || {
        let starting = Proxy::before(&origin).arg("--store", &url(&folder));
        starting.arg("--store-secret-file", &secret)
    };
    let mut proxy = told().start().await;
    let first = charge(&client(&proxy), "a").send().await;
    proxy.kill_9().await;
    let mut proxy = told().start().await;
    assert_replay(&first, &charge(&client(&proxy), "a").send().await);
    proxy.kill_9().await;
    let proxy = Proxy::before(&origin).arg("--store", &url(&folder)).start().await;
    assert_executed(&charge(&client(&proxy), "a").send().await);
}

/// An answer that the drain has waited for is kept.
#[tokio::test]
async fn what_ends_while_draining_is_kept() {
    let (folder, origin) = (Folder::new(), Origin::start().await);
    let mut proxy = Proxy::before(&origin).arg("--store", &url(&folder)).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let open = charge(&client(&proxy), "a").open().await;
    origin.wait_for_hits(1).await;
    open.leave(crate::support::How::Close);
    proxy.terminate();
    proxy.wait_for_log("draining", |line| line.contains("draining")).await;
    gate.open();
    assert!(proxy.wait_exit().await.success());
    let proxy = Proxy::before(&origin).arg("--store", &url(&folder)).start().await;
    assert!(charge(&client(&proxy), "a").send().await.is_repeat());
    assert_eq!(origin.hits(), 1);
}

/// Two instances can't share a folder, and the second says so.
#[tokio::test]
async fn a_folder_has_one_instance() {
    let (folder, origin) = (Folder::new(), Origin::start().await);
    let proxy = Proxy::before(&origin).arg("--store", &url(&folder)).start().await;
    let said = refused(&["--store", &url(&folder)]).await;
    assert!(said.contains("is in use by another process"), "{said}");
    assert_executed(&charge(&client(&proxy), "a").send().await);
}

/// A folder that can't be written to is an error at the start.
#[tokio::test]
async fn a_folder_that_cannot_be_is_told() {
    let folder = Folder::new();
    let file = folder.write("records", "this is a file");
    let said = refused(&["--store", &format!("file://{file}")]).await;
    assert!(said.contains(&file) && said.contains("can't be used"), "{said}");
    let said = refused(&["--store", "file:///proc/oncegate"]).await;
    assert!(said.contains("/proc/oncegate"), "{said}");
}
