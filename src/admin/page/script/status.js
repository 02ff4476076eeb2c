// Asks for the figures every two seconds and shows them; says so when nobody answers.

const EVERY = 2000;

let last = null;
let lastHeard = 0;
let asking = null;

/** Whoever asks last goes on asking: there is one round at a time. */
let round = 0;

/** Where the figures of the last five minutes began: totals by time. */
let totals = [];

async function startStatus() {
  clearTimeout(asking);
  round += 1;
  const own = round;
  try {
    const status = await asked("api/status");
    if (own !== round) return;
    lastHeard = Date.now();
    ahead = Date.parse(status.now) - Date.now();
    showHeard(status);
    showStatus(status);
  } catch (error) {
    if (own !== round) return;
    showUnheard(error);
  }
  asking = setTimeout(startStatus, EVERY);
}

/** The figures are old: they stay, but look it. */
function showUnheard(error) {
  document.body.dataset.stale = "";
  const denied = error instanceof Problem && error.status === 401;
  the("health").dataset.is = denied ? "waiting" : "gone";
  say(the("health"), denied ? "Token needed" : "Not reached");
  // Told in steps of ten seconds: a change is read out.
  const tens = Math.floor((Date.now() - lastHeard) / 10_000);
  const old = lastHeard && tens ? ` The figures are ${span(tens * 10)} old.` : "";
  say(the("trouble"), denied ? "" : `${reason(error)}${old} Trying again.`);
  if (samples.length && samples.at(-1).rates) addSample(samples.at(-1).at + 1, null);
}

function showHeard(status) {
  const pill = the("health");
  const failing = status.checks.filter((check) => !check.ok);
  const is = status.draining ? "draining" : status.ready ? "ready" : "failing";
  delete document.body.dataset.stale;
  pill.dataset.is = is;
  say(pill, { draining: "Draining", ready: "Ready", failing: "Not ready" }[is]);
  the("drain").disabled = status.draining;
  const said = failing.filter((check) => check.name !== "drain")
    .map((check) => `${check.name}: ${check.detail ?? "failing"}.`);
  if (status.draining) said.unshift("This instance takes no new connections for long: it drains.");
  say(the("trouble"), said.join(" "));
}

function showStatus(status) {
  if (last && last.started_at !== status.started_at) {
    // Another process answers now.
    last = null;
    totals = [];
    forgetSamples();
  }
  say(the("version"), status.version);
  say(the("uptime"), `up ${span(ago(status.started_at))}`);
  showRate(status);
  showCards(status);
  showFlying(status.in_flight.oldest ?? []);
  showReasons(status);
  showRoutes(status.routes);
  countUnknown(status);
  last = status;
}

function showRate(status) {
  const at = Date.parse(status.now);
  const seconds = last ? (at - Date.parse(last.now)) / 1000 : 0;
  for (const outcome of OUTCOMES) {
    say(drawing.rows[outcome].total, whole(status.requests[outcome]));
  }
  if (seconds > 0) {
    const rates = {};
    for (const outcome of OUTCOMES) {
      rates[outcome] = (status.requests[outcome] - last.requests[outcome]) / seconds;
    }
    addSample(at, rates);
    say(the("rate"), perSecond(sum(rates)));
  }
  say(the("rate-sub"), `${whole(sum(status.requests))} since start`);
  totals.push({ at, requests: status.requests });
  totals = totals.filter((then) => then.at >= at - CHART_SECONDS * 1000);
}

/** How many of the operations that were asked for were answered without being run. */
function ratio(now, then) {
  const of = (outcome) => now[outcome] - (then?.[outcome] ?? 0);
  const repeats = of("replayed") + of("collapsed");
  return percent(repeats, repeats + of("executed"));
}

function showCards(status) {
  const { store, in_flight: flight } = status;
  const minutes = Math.ceil((Date.parse(status.now) - totals[0].at) / 60_000) || 1;
  say(the("ratio"), ratio(status.requests));
  say(the("ratio-sub"), `since start · last ${minutes} min ${
    ratio(status.requests, totals[0].requests)}`);
  say(the("prevented"), whole(status.duplicates_prevented));
  say(the("prevented-sub"), `since start, ${span(ago(status.started_at))} ago`);
  say(the("flying"), whole(flight.operations));
  const oldest = flight.oldest?.[0];
  say(the("flying-sub"), [counted(flight.waiters, "repeat waits", "repeats wait"),
    oldest ? `oldest ${span(oldest.age_seconds)}` : null].filter(Boolean).join(" · "));
  showKept(store);
  say(the("window"), span(status.effective_window_seconds));
  say(the("window-sub"), status.evicted_before_expiry === 0 ? "nothing evicted before its end"
    : `${whole(status.evicted_before_expiry)} evicted before their end`);
  mark("window-card", status.evicted_before_expiry > 0 && "warning");
  say(the("store-is"), store.trouble ? "Trouble" : "Healthy");
  say(the("store-sub"), store.trouble ?? { memory: "in memory", disk: "on disk",
    redis: "on Redis" }[store.kind] ?? store.kind);
  mark("store", store.trouble && "trouble");
}

function showKept(store) {
  say(the("kept"), whole(store.records));
  const meter = the("kept-meter");
  meter.hidden = !store.max_bytes;
  if (store.max_bytes) {
    const part = Math.min((100 * store.bytes) / store.max_bytes, 100);
    meter.firstChild.style.width = `${part}%`;
    meter.setAttribute("aria-valuenow", Math.round(part));
    meter.dataset.is = part > 90 ? "full" : "usual";
  }
  say(the("kept-sub"), store.max_bytes ? `${bytes(store.bytes)} of ${bytes(store.max_bytes)}`
    : `${bytes(store.bytes)}, no limit of its own`);
}

/** Makes a card stand out, or not. */
function mark(id, as) {
  the(id).dataset.is = as || "usual";
}

function showFlying(oldest) {
  the("flying-empty").hidden = oldest.length > 0;
  const rows = the("flying-rows");
  const before = new Map([...rows.children].map((row) => [row.dataset.key, row]));
  const now = oldest.map((flight) => {
    const row = before.get(flight.key) ?? make("tr", { "data-key": flight.key },
      make("td", {}, keyButton(flight.key), " ", operation(flight)),
      make("td", { class: "number" }));
    say(row.lastChild, span(flight.age_seconds));
    return row;
  });
  // What stays in its place keeps the focus.
  if (now.length !== rows.children.length || now.some((row, at) => row !== rows.children[at])) {
    const focused = document.activeElement;
    rows.replaceChildren(...now);
    if (rows.contains(focused)) focused.focus();
  }
}

const EXPLAINED = {
  refusals: "Refused", unprotected: "Let through unprotected", unknown_outcomes: "Outcome unknown",
};

function showReasons(status) {
  const rows = Object.entries(EXPLAINED).flatMap(([group, title]) =>
    Object.entries(status[group]).filter(([, count]) => count > 0)
      .sort((one, other) => other[1] - one[1])
      .map(([name, count]) => ({ title, name, count })));
  the("reasons-empty").hidden = rows.length > 0;
  const body = the("reasons-rows");
  const shape = rows.map(({ title, name }) => `${title} ${name}`).join();
  if (body.dataset.shape !== shape) {
    body.dataset.shape = shape;
    body.replaceChildren(...rows.map(({ title, name }) => make("tr", {},
      make("td", {}, make("span", { class: "faint" }, `${title}: `), name),
      make("td", { class: "number" }))));
  }
  rows.forEach(({ count }, at) => say(body.children[at].lastChild, whole(count)));
}

/** The routes to choose from; they change with a reload. */
function showRoutes(routes) {
  const select = the("filter-route");
  if (select.dataset.of === routes.join()) return;
  select.dataset.of = routes.join();
  const chosen = select.value;
  select.replaceChildren(make("option", { value: "" }, "any"),
    ...routes.map((route) => make("option", { value: route }, route)));
  if (routes.includes(chosen)) select.value = chosen;
}
