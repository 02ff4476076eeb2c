//! Health, as probes and the command line ask for it.

use crate::server::Server;
use crate::support::{Folder, Origin, Proxy, client, eventually, run};
use crate::{looked_after, metric, operator};

#[tokio::test]
async fn an_instance_is_alive_and_ready_until_it_drains() {
    let origin = Origin::start().await;
    let proxy = looked_after(&origin).start().await;
    let admin = proxy.admin().to_string();
    for path in ["/livez", "/readyz"] {
        let reply = operator(&proxy).get(path).send().await;
        assert_eq!((reply.status, reply.text()), (200, "ok\n".to_owned()), "{path}");
    }
    let verbose = operator(&proxy).get("/readyz?verbose").send().await.text();
    assert_eq!(verbose, "[+]store ok\n[+]drain ok\nreadyz check passed\n");
    let health = async |live: bool| {
        let args = ["health", "--admin", &admin, "--live"];
        run(&args[..if live { 4 } else { 3 }], &[]).await
    };
    assert_eq!(health(false).await.status.code(), Some(0));
    operator(&proxy).post("/api/drain").send().await;
    let ended = health(false).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("[-]drain: the instance was told to drain"), "{}", ended.stderr);
    assert_eq!(health(true).await.status.code(), Some(0), "it is alive");
    assert_eq!(operator(&proxy).get("/readyz").send().await.status, 503);
}

#[tokio::test]
async fn nobody_there_is_not_healthy_and_said_so() {
    let nowhere = Origin::nowhere().await.to_string();
    let ended = run(&["health", "--admin", &nowhere], &[]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains(&format!("{nowhere} can't be asked")), "{}", ended.stderr);
    let ended = run(&["health", "--admin", "off"], &[]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("--admin says where one is"), "{}", ended.stderr);
    let ended = run(&["health", "--admin", "localhost"], &[]).await;
    assert_eq!(ended.status.code(), Some(2));
}

#[tokio::test]
async fn a_unix_socket_and_a_config_file_lead_there_too() {
    let origin = Origin::start().await;
    let folder = Folder::new();
    let config = folder.write(
        "oncegate.toml",
        format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"unix:{}\"\nadmin_token_file = \"token\"\n\
             [upstream]\nurl = \"http://{}\"\n",
            folder.path("admin.sock").display(),
            origin.addr
        ),
    );
    folder.write("token", "a-token-of-this-test-alone");
    let proxy = Proxy::told_by(&config).arg("--admin", &admin_of(&folder)).start().await;
    let admin = admin_of(&folder);
    for command in [&["health"][..], &["drain", "--settle", "10ms"]] {
        let args = [command, &["--config", &config, "--admin", &admin]].concat();
        let ended = run(&args, &[]).await;
        assert_eq!(ended.status.code(), Some(0), "{command:?}: {}", ended.stderr);
    }
    drop(proxy);
}

fn admin_of(folder: &Folder) -> String {
    format!("unix:{}", folder.path("admin.sock").display())
}

/// Who would only be refused is not sent here; who is passed on all the same is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_asked_is_readiness_only_where_requests_need_it() {
    for (on_error, ready) in [("refuse", 503), ("pass", 200)] {
        let origin = Origin::start().await;
        let redis = Server::start(&[]);
        let folder = Folder::new();
        let secret = folder.write("secret", "the secret of this test and of no other one");
        let proxy = looked_after(&origin)
            .arg("--store", &format!("redis+unix://{}", redis.socket().display()))
            .arg("--store-secret-file", &secret)
            .arg("--on-store-error", on_error)
            .start()
            .await;
        assert_eq!(operator(&proxy).get("/readyz").send().await.status, 200);
        redis.signal("STOP");
        eventually("trouble with the store", async || {
            client(&proxy).post("/a").key("k").send().await;
            metric(&proxy, "oncegate_store_up").await == 0.0
        })
        .await;
        let reply = operator(&proxy).get("/readyz").send().await;
        assert_eq!(reply.status, ready, "{on_error}: {}", reply.text());
        assert_eq!(reply.text().contains("[-]store"), ready == 503, "{}", reply.text());
        let reply = operator(&proxy).get("/readyz?verbose&exclude=store").send().await;
        assert_eq!(reply.status, 200, "{on_error}: {}", reply.text());
        assert!(reply.text().starts_with("[+]store excluded: ok\n"), "{}", reply.text());
        let status = operator(&proxy).get("/api/status").send().await.json();
        assert!(status["store"]["trouble"].is_string(), "{status}");
        redis.signal("CONT");
        eventually("the store again", async || {
            operator(&proxy).get("/readyz").send().await.status == 200
                && metric(&proxy, "oncegate_store_up").await == 1.0
        })
        .await;
    }
}
