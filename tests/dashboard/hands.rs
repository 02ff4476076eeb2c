//! With a keyboard alone, on a phone, in the dark, and for who hears the page.

use serde_json::{Value, json};

use crate::browser::{Browser, ENTER, ESCAPE, TAB};
use crate::scene::{Scene, key_of};
use crate::support::{Act, How, eventually};

/// Presses Tab until the focus is on what a selector finds; each stop on the way must be seen.
async fn tab_to(browser: &Browser, css: &str) {
    let reached = format!("return document.activeElement.matches({})", Value::from(css));
    let visible = "
        const style = getComputedStyle(document.activeElement);
        return document.activeElement === document.body || style.outlineStyle !== 'none'";
    for _ in 0..80 {
        browser.press(&[TAB]).await;
        let stop = browser.run("return document.activeElement.outerHTML.slice(0, 90)").await;
        assert_eq!(browser.run(visible).await, true, "the focus is not seen at {stop}");
        if browser.run(&reached).await == true {
            return;
        }
    }
    panic!("Tab does not lead to {css}");
}

#[tokio::test]
async fn everything_can_be_done_by_keyboard() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.origin.next(Act::DropAfterExecuting(How::Close));
    let lost = scene.charge("lost").send().await;
    scene.ready().await;
    browser.shows("#unknown-count", "1").await;
    // The first stop leads past the head of the page.
    browser.press(&[TAB]).await;
    browser
        .until("a link that is seen", "document.activeElement.getBoundingClientRect().top >= 0")
        .await;
    browser.press(&[ENTER]).await;
    browser.until("the figures", "document.activeElement.id === 'main'").await;
    tab_to(browser, "#unknown-show").await;
    browser.press(&[ENTER]).await;
    browser.shows("#records-is", "1 record").await;
    browser.until("the records", "document.activeElement.id === 'records'").await;
    tab_to(browser, "[data-decision=ack]").await;
    browser.press(&[ENTER]).await;
    // It begins where nothing happens by accident, and the focus stays in it.
    browser.until("the dialog", "document.activeElement.id === 'decide-no'").await;
    for _ in 0..12 {
        browser.press(&[TAB]).await;
        let inside = "return document.activeElement === document.body
            || document.getElementById('decide').contains(document.activeElement)";
        assert_eq!(browser.run(inside).await, true);
    }
    tab_to(browser, "#decide-note").await;
    browser.press(&["s", "e", "e", "n"]).await;
    browser.press(&[ESCAPE]).await;
    browser.until("no dialog", "!document.querySelector('dialog[open]')").await;
    browser.until("where it was", "document.activeElement.matches('[data-decision=ack]')").await;
    browser.press(&[ENTER]).await;
    tab_to(browser, "#decide-note").await;
    browser.press(&["s", "e", "e", "n", ENTER]).await;
    browser.shows("#said", "Acknowledged").await;
    browser.until("a place", "document.activeElement !== document.body").await;
    let repeat = scene.charge("lost").send().await;
    assert_eq!((repeat.status, &repeat.json()["note"]), (200, &json!("seen")));
    // A key leads to the search from anywhere, and Enter to the record.
    browser.press(&["/"]).await;
    browser.until("the search", "document.activeElement.id === 'search-key'").await;
    browser.fill("#search-key", &key_of(&lost)).await;
    browser.press(&[ENTER]).await;
    browser.shows("#record", "Completed").await;
    browser.press(&[ESCAPE]).await;
    browser.until("the search", "document.activeElement.id === 'search-key'").await;
    scene.end().await;
}

#[tokio::test]
async fn a_phone_shows_everything_without_moving_sideways() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    browser.resize(320, 640).await;
    scene.origin.next(Act::DropAfterExecuting(How::Close));
    scene.charge("lost").send().await;
    for _ in 0..3 {
        scene.charge("a-key-of-a-caller").send().await;
    }
    browser.reload().await;
    scene.ready().await;
    browser.shows("#unknown-count", "1").await;
    let fits =
        "return [...document.querySelectorAll('html, main, dialog[open], .scroll, #record-body')]
        .filter((box) => box.scrollWidth > box.clientWidth)
        .map((box) => box.className || box.id || box.tagName)";
    assert_eq!(browser.run(fits).await, json!([]));
    browser.click("#records-rows [data-decision=ack]").await;
    browser.shows("#decide", "Acknowledge").await;
    assert_eq!(browser.run(fits).await, json!([]));
    browser.click("#decide-no").await;
    browser.click("[data-state=outcome-unknown] .key").await;
    browser.shows("#record", "Outcome unknown").await;
    assert_eq!(browser.run(fits).await, json!([]));
    browser.click("#record-close").await;
    // What is to be touched is large enough for it, and rows are still rows.
    let small = "return [...document.querySelectorAll('button, select, input')]
        .filter((one) => one.offsetParent && one.getBoundingClientRect().height < 24)
        .map((one) => one.outerHTML)";
    assert_eq!(browser.run(small).await, json!([]));
    let roles = "return [...document.querySelectorAll('#records-rows tr, #records-rows td')]
        .filter((one) => !one.getAttribute('role')).length";
    assert_eq!(browser.run(roles).await, json!(0));
    scene.end().await;
}

/// Texts whose contrast with what is behind them is less than people need, as WCAG reckons it.
const FAINT: &str = "
    const parse = (text) => {
        const parts = text.match(/[\\d.]+/g).map(Number);
        return { rgb: parts.slice(0, 3), alpha: parts[3] ?? 1 };
    };
    const light = (rgb) => rgb.map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const ground = parse(getComputedStyle(one).backgroundColor);
            if (ground.alpha === 1) return ground.rgb;
        }
        return [255, 255, 255];
    };
    const faint = [];
    for (const one of document.querySelectorAll('body *')) {
        const shows = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!shows || !one.offsetParent || one.disabled || one.closest('svg')) continue;
        const style = getComputedStyle(one);
        const [up, down] = [light(parse(style.color).rgb), light(behind(one))].sort()
            .reverse();
        const contrast = (up + 0.05) / (down + 0.05);
        if (contrast < 4.5) faint.push([one.textContent.trim(), contrast, style.color]);
    }
    return faint";

#[tokio::test]
async fn colours_follow_the_system_and_the_choice() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.origin.next(Act::DropAfterExecuting(How::Close));
    scene.charge("lost").send().await;
    scene.charge("a").send().await;
    scene.charge("a").send().await;
    scene.ready().await;
    browser.reload().await;
    browser.shows("#unknown-count", "1").await;
    browser.shows("#records-rows", "Outcome unknown").await;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        grounds.push(browser.run(ground).await);
        assert_eq!(browser.run(FAINT).await, json!([]), "{scheme}");
    }
    assert_ne!(grounds[0], grounds[1]);
    // Dark is what the system prefers; the button goes through light, dark, and back.
    for (theme, expected) in [("light", &grounds[0]), ("dark", &grounds[1])] {
        browser.click("#theme").await;
        browser.shows("#theme", theme).await;
        assert_eq!(&browser.run(ground).await, expected);
        browser.reload().await;
        assert_eq!(&browser.run(ground).await, expected, "it is remembered");
    }
    browser.click("#theme").await;
    browser.shows("#theme", "system").await;
    browser.prefer("light").await;
    assert_eq!(browser.run(ground).await, grounds[0]);
    scene.end().await;
}

#[tokio::test]
async fn nothing_moves_while_figures_come_in() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    // All of the page is seen: what is not seen moves unnoticed.
    browser.resize(1280, 2000).await;
    browser.reload().await;
    // What moves up or down by itself, other than rows: those of the feed make room for new ones.
    browser
        .run(
            "window.shifts = [];
            new PerformanceObserver((list) => {
                for (const shift of list.getEntries()) {
                    if (shift.hadRecentInput) continue;
                    for (const { node, previousRect, currentRect } of shift.sources) {
                        const isRow = node?.closest?.('tbody');
                        const jumps = Math.abs(previousRect.y - currentRect.y) > 1;
                        if (jumps && !isRow) window.shifts.push(node.outerHTML ?? node.data);
                    }
                }
            }).observe({ type: 'layout-shift', buffered: true })",
        )
        .await;
    scene.ready().await;
    for key in ["a", "b", "a", "b", "a"] {
        scene.charge(key).send().await;
    }
    scene.origin.next(Act::DropAfterExecuting(How::Close));
    scene.charge("lost").send().await;
    browser.shows("#prevented", "3").await;
    browser.shows("#unknown-count", "1").await;
    browser.shows("#feed-rows", "Replayed").await;
    assert_eq!(browser.run("return window.shifts").await, json!([]));
    scene.end().await;
}

#[tokio::test]
async fn everything_has_a_name_for_who_hears_the_page() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.origin.next(Act::DropAfterExecuting(How::Close));
    scene.charge("lost").send().await;
    scene.charge("a").send().await;
    browser.reload().await;
    scene.ready().await;
    scene.charge("a").send().await;
    browser.shows("#feed-rows", "Replayed").await;
    let controls = browser
        .run(
            "return [...document.querySelectorAll(`button, input, select, a, [tabindex='0'],
                section, [role=meter]`)].filter((one) => one.offsetParent)",
        )
        .await;
    let controls = controls.as_array().unwrap();
    assert!(controls.len() > 20, "{}", controls.len());
    for control in controls {
        let label = browser.label(control).await;
        assert!(!label.trim().is_empty(), "it has no name: {control}");
    }
    let twice = "
        const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
        const named = [...document.querySelectorAll('[aria-labelledby], [aria-describedby]')]
            .flatMap((one) => [one.getAttribute('aria-labelledby'),
                one.getAttribute('aria-describedby')].filter(Boolean));
        return [ids.filter((id, at) => ids.indexOf(id) !== at),
            named.filter((id) => !ids.includes(id))]";
    assert_eq!(browser.run(twice).await, json!([[], []]));
    let headers = "return [...document.querySelectorAll('table')]
        .filter((table) => table.querySelectorAll('thead th[scope=col]').length < 2).length";
    assert_eq!(browser.run(headers).await, json!(0));
    // New duplicates are told, but not each of them.
    eventually("a word about new duplicates", async || {
        browser.text("#feed-said").await.contains("new duplicate")
    })
    .await;
    scene.end().await;
}
