// The table of records: filters, pages, the search by key, and how many wait for a decision.

const PAGE_ROWS = 50;
/** The instance looks at a part of its records for each request; a page takes so many at most. */
const PAGE_REQUESTS = 20;
const COUNT_EVERY = 20_000;

/** Where each page that was seen begins; which one is shown; and what stops reading it. */
const list = { cursors: [null], page: 0, next: null, stop: null };

function filters() {
  const query = new URLSearchParams(the("filter-age").value);
  for (const name of ["state", "route"]) {
    const value = the(`filter-${name}`).value;
    if (value) query.set(name, value);
  }
  return query;
}

/** Reads records until a page is full or there are no more. */
async function readPage(query, cursor, rows, signal) {
  const records = [];
  let requests = 0;
  do {
    query.set("limit", rows - records.length);
    if (cursor) query.set("cursor", cursor);
    const part = await asked(`api/records?${query}`, { signal });
    records.push(...part.records);
    cursor = part.next;
    requests += 1;
  } while (cursor && records.length < rows && requests < PAGE_REQUESTS);
  return { records, next: cursor };
}

/** Shows the page again from its beginning. */
async function loadRecords() {
  list.stop?.abort();
  list.stop = new AbortController();
  const { signal } = list.stop;
  say(the("records-is"), "Loading");
  try {
    const page = await readPage(filters(), list.cursors[list.page], PAGE_ROWS, signal);
    showRecords(page);
  } catch (error) {
    if (!signal.aborted) say(the("records-is"), reason(error));
  }
}

/** Shows the first page. */
function loadFirst() {
  list.cursors = [null];
  list.page = 0;
  return loadRecords();
}

function showRecords({ records, next }) {
  records.sort((one, other) => (other.begun_at ?? "").localeCompare(one.begun_at ?? ""));
  the("records-rows").replaceChildren(...records.map(recordRow));
  list.next = next;
  the("newer").disabled = list.page === 0;
  the("older").disabled = !next;
  say(the("page"), `Page ${list.page + 1}`);
  the("records-empty").hidden = records.length > 0;
  say(the("records-empty"), next ? "None so far. There are more to look at on the next page."
    : "No records.");
  say(the("records-is"), counted(records.length, "record", "records"));
}

function recordRow(record) {
  return make("tr", { "data-key": record.key, "data-state": record.state },
    make("td", {}, keyButton(record.key)),
    make("td", {}, badge(record.state)),
    make("td", {}, operation(record)),
    make("td", { class: "wide" }, record.route ?? "–"),
    make("td", { class: "number wide" }, String(record.status ?? "–")),
    make("td", { class: "number wide" },
      record.answer_bytes == null ? "–" : bytes(record.answer_bytes)),
    make("td", { class: "number" }, moment(record.begun_at)),
    make("td", { class: "number wide" }, moment(record.expires_at)),
    make("td", { class: "number wide" }, whole(record.replays ?? 0)),
    make("td", { class: "decide" }, ...decisionButtons(record)));
}

function turnPage(by) {
  if (by > 0) list.cursors[list.page + 1] = list.next;
  list.page += by;
  return loadRecords();
}

/** What was pasted may be the whole header line. */
const cleanKey = (text) => text.trim().replace(/^duplicate-key:\s*/i, "");

async function search(event) {
  event.preventDefault();
  const key = cleanKey(the("search-key").value);
  if (key) openRecord(key);
}

const unknown = { busy: false, again: false, caused: -1, countedAt: 0, took: 0 };

// Counts the records that wait for a decision, when there may be others than before. To count them
// an instance goes through all its records: the longer that takes, the less often it is asked to.
async function countUnknown(status) {
  const caused = Object.values(status.unknown_outcomes).reduce((one, other) => one + other, 0);
  const age = Date.now() - unknown.countedAt;
  const isOld = age > Math.max(COUNT_EVERY, 100 * unknown.took) && !document.hidden;
  const isOther = caused !== unknown.caused && age > 20 * unknown.took;
  say(the("unknown-sub"), `${whole(caused)} since start`);
  if (unknown.busy || !(isOld || isOther || unknown.again)) return;
  const begun = Date.now();
  unknown.busy = true;
  unknown.again = false;
  try {
    const query = new URLSearchParams({ state: "outcome-unknown" });
    const { records, next } = await readPage(query, null, 500, null);
    say(the("unknown-count"), whole(records.length) + (next ? "+" : ""));
    the("unknown-show").hidden = records.length === 0;
    the("unknown-sub").hidden = records.length > 0;
    mark("unknown", records.length > 0 && "warning");
    unknown.caused = caused;
  } catch {
    say(the("unknown-count"), "–");
  }
  unknown.countedAt = Date.now();
  unknown.took = unknown.countedAt - begun;
  unknown.busy = false;
}

/** Leads to what waits for a decision. */
async function showUnknown() {
  the("filters").reset();
  the("filter-state").value = "outcome-unknown";
  the("records").scrollIntoView();
  the("records").focus({ preventScroll: true });
  await loadFirst();
}

function startRecords() {
  the("search").addEventListener("submit", search);
  the("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    loadRecords();
  });
  the("filters").addEventListener("change", loadFirst);
  the("newer").addEventListener("click", () => turnPage(-1));
  the("older").addEventListener("click", () => turnPage(1));
  the("unknown-show").addEventListener("click", showUnknown);
  document.addEventListener("keydown", (event) => {
    const writes = event.target.matches?.("input, select, textarea");
    if (event.key !== "/" || writes || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    event.preventDefault();
    the("search-key").focus();
  });
}
