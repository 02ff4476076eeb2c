//! Who may see what: tokens, the page's own policy, and what hostile callers put into figures.

use serde_json::json;

use crate::scene::{Scene, key_of};
use crate::support::{Act, Answer, client};

#[tokio::test]
async fn the_token_is_asked_for_and_kept_in_its_tab() {
    let scene = Scene::told(|proxy| {
        let proxy = proxy.file("token", "open-sesame-0123456789-abcdefghij\n");
        proxy.toml("admin_token_file = \"token\"\n")
    })
    .await;
    let browser = &scene.browser;
    browser.shows("#token", "asks for its token").await;
    browser.shows("#health", "Token needed").await;
    assert_eq!(browser.text("#kept").await, "–");
    browser.fill("#token-value", "guessed-wrong-0123456789-abcdefgh").await;
    browser.click("#token .strong").await;
    browser.shows("#token-wrong", "not accepted").await;
    browser.fill("#token-value", "open-sesame-0123456789-abcdefghij").await;
    browser.click("#token .strong").await;
    scene.ready().await;
    browser.shows("#kept", "0").await;
    scene.charge("a").send().await;
    scene.charge("a").send().await;
    browser.shows("#feed-rows", "Replayed").await;
    let kept = browser
        .run("return [sessionStorage.token, Object.keys(localStorage), document.cookie]")
        .await;
    assert_eq!(kept, json!(["open-sesame-0123456789-abcdefghij", [], ""]));
    browser.reload().await;
    scene.ready().await;
    assert!(!browser.run("return document.getElementById('token').open").await.as_bool().unwrap());
    scene.end_but(&["401"]).await;
}

#[tokio::test]
async fn the_page_may_load_nothing_else() {
    let scene = Scene::open().await;
    scene.ready().await;
    for path in ["/", "/style.css", "/script.js"] {
        let reply = scene.ask(path).await;
        assert_eq!(reply.status, 200);
        let policy = reply.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    // The browser holds to it.
    let script = "
        const script = document.createElement('script');
        try { script.textContent = 'window.ran = 1'; } catch { return 'typed'; }
        document.head.append(script);
        return window.ran ?? 'blocked'";
    assert_ne!(scene.browser.run(script).await, json!(1));
    scene.end_but(&["Content Security Policy", "TrustedScript", "trusted"]).await;
}

#[tokio::test]
async fn what_callers_send_is_text_and_nothing_else() {
    const MARKUP: &str = "<img src=x onerror=window.ran=1>\"'><script>window.ran=1</script>";
    let scene = Scene::told(|proxy| proxy.toml("show_answers = true\n")).await;
    let browser = &scene.browser;
    scene.ready().await;
    let path = "/v1/%3Cimg%20src=x%20onerror=window.ran=1%3E'\"&lt;b&gt;";
    let answer =
        Answer::new(201).header("Content-Type", "text/html").header("X-Said", MARKUP).body(MARKUP);
    scene.origin.always(Act::Answer(answer));
    let request = client(&scene.proxy).post(path).key(MARKUP.replace(' ', "+")).body("1");
    assert_eq!(request.clone().send().await.status, 201);
    let key = key_of(&request.send().await);
    browser.shows("#feed-rows tr", path).await;
    browser.click("#refresh").await;
    browser.shows("#records-rows", path).await;
    browser.click(&format!("#records-rows [data-key='{key}'].key")).await;
    browser.shows("#record", path).await;
    browser.shows("#record pre", MARKUP).await;
    browser.shows("#record pre", &format!("x-said: {MARKUP}")).await;
    browser.click("#record [data-decision=forget]").await;
    browser.shows("#decide", path).await;
    let strange = "return [window.ran ?? 0, document.images.length,
        document.querySelectorAll('main b b, main script, #record img').length]";
    assert_eq!(browser.run(strange).await, json!([0, 0, 0]));
    scene.end().await;
}

#[tokio::test]
async fn an_address_leads_to_a_record() {
    let scene = Scene::open().await;
    scene.charge("kept").send().await;
    let key = key_of(&scene.charge("kept").send().await);
    scene.browser.go("about:blank").await;
    let coded = key.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    scene.browser.go(&format!("http://{}/#key={coded}", scene.admin)).await;
    scene.browser.shows("#record-key", &key).await;
    scene.browser.click("#record-close").await;
    assert_eq!(scene.browser.run("return location.hash").await, json!(""));
    scene.end().await;
}
