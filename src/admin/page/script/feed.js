// Duplicates as they come: a stream of events that is read by fetch, since it carries the token.

const FEED_ROWS = 200;
const FEED_SHOWN_EVERY = 400;
const FEED_SAID_EVERY = 10_000;

/** An instance that has nothing to tell says so more often than this. */
const FEED_SILENT_MAX = 40_000;

const feed = {
  stop: null, heard: 0, waiting: [], missed: 0, paused: false, unsaid: 0, retry: 1000,
};

function startFeed() {
  feed.stop?.abort();
  feed.heard = Date.now();
  feed.stop = new AbortController();
  follow(feed.stop.signal);
}

/** Follows the stream, and follows it anew when it ends. */
async function follow(signal) {
  while (!signal.aborted) {
    try {
      const answer = await ask("api/duplicates", { signal });
      say(the("feed-is"), "live");
      the("feed").dataset.is = "live";
      feed.retry = 1000;
      await readEvents(answer.body.getReader());
    } catch (error) {
      if (signal.aborted || (error instanceof Problem && error.status === 401)) return;
    }
    say(the("feed-is"), "interrupted, trying again");
    the("feed").dataset.is = "gone";
    await new Promise((resume) => setTimeout(resume, feed.retry));
    feed.retry = Math.min(feed.retry * 2, 10_000);
  }
}

async function readEvents(reader) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    feed.heard = Date.now();
    text += decoder.decode(value, { stream: true });
    const events = text.split("\n\n");
    text = events.pop();
    events.forEach(takeEvent);
  }
}

/** One event: lines of fields; a line that begins with a colon only keeps the connection open. */
function takeEvent(lines) {
  let name = "message";
  let data = "";
  for (const line of lines.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data += line.slice(5);
  }
  if (!data) return;
  let event;
  try {
    event = JSON.parse(data);
  } catch {
    return;
  }
  if (name === "missed") feed.missed += event.count;
  else feed.waiting.push(event);
  // What nobody would get to see any more is not kept for later.
  if (feed.waiting.length > FEED_ROWS) feed.missed += feed.waiting.splice(0, 1).length;
}

function feedRow(event) {
  const time = new Date(event.time);
  return make("tr", {},
    make("td", {}, make("time", { datetime: event.time, title: event.time }, CLOCK.format(time))),
    make("td", {}, operation(event)),
    make("td", { class: "wide" }, event.route ?? "–"),
    make("td", {}, badge(event.outcome),
      event.problem ? make("span", { class: "faint" }, ` ${event.problem}`) : null),
    make("td", { class: "number" }, String(event.status ?? "–")),
    make("td", {}, event.key ? keyButton(event.key) : "–"));
}

const missedRow = (count) => make("tr", { class: "missed" },
  make("td", { colspan: 6 }, `${counted(count, "duplicate", "duplicates")} not shown`));

/** Shows what has come; what a pointer or the focus is on stays where it is. */
function showFeed() {
  if (the("feed").dataset.is === "live" && Date.now() - feed.heard > FEED_SILENT_MAX) startFeed();
  const held = feed.paused || the("feed-rows").matches(":hover, :focus-within");
  say(the("feed-pause"), feed.paused && feed.waiting.length
    ? `Resume (${feed.waiting.length} new)` : feed.paused ? "Resume" : "Pause");
  if (the("feed").dataset.is === "live") {
    say(the("feed-is"), feed.paused ? "paused" : held ? "held while you point at it" : "live");
  }
  if (held || (feed.waiting.length === 0 && feed.missed === 0)) return;
  const rows = feed.waiting.map(feedRow);
  if (feed.missed) rows.unshift(missedRow(feed.missed));
  feed.unsaid += feed.waiting.length;
  feed.waiting = [];
  feed.missed = 0;
  the("feed-rows").prepend(...rows.reverse());
  while (the("feed-rows").children.length > FEED_ROWS) the("feed-rows").lastChild.remove();
  the("feed-empty").hidden = true;
}

/** Who can't see the feed hears how it goes on, but not each row. */
function sayFeed() {
  if (feed.unsaid === 0) return;
  say(the("feed-said"), `${counted(feed.unsaid, "new duplicate", "new duplicates")}.`);
  feed.unsaid = 0;
}

function startFeedControls() {
  the("feed-pause").addEventListener("click", () => {
    feed.paused = !feed.paused;
    the("feed-pause").setAttribute("aria-pressed", String(feed.paused));
    showFeed();
  });
  setInterval(showFeed, FEED_SHOWN_EVERY);
  setInterval(sayFeed, FEED_SAID_EVERY);
}
