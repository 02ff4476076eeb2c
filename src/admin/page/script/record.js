// One record, and the decisions that only people can make: each says first what will happen.

/** What is decided, and about which record. */
let deciding = null;

const FORGET = {
  completed: ["The kept answer is thrown away.",
    "The next request with this key counts as the first one: it runs the operation again."],
  "answer-not-kept": ["The operation has happened, only its answer was not kept.",
    "The next request with this key counts as the first one: it runs the operation again."],
  "outcome-unknown": ["Nobody knows yet whether this operation happened.",
    "The next repeat will run it, for the second time if it did happen. If you know what "
      + "happened, say so instead: acknowledge it, or fail it."],
};

const DECISIONS = {
  ack: {
    button: "It happened…", title: "Acknowledge that it happened?", yes: "It happened",
    method: "POST", at: (key) => `${recordAt(key)}/ack`,
    why: (record) => ["Repeats no longer get 409. Until the window ends, "
      + `${span(Math.max(-ago(record.expires_at), 0))} from now, they get the status below, and a `
      + "short JSON body that says who decided.",
    "The operation will not run again: only if you know that it happened."],
    done: "Acknowledged: repeats get the answer that you gave.",
  },
  fail: {
    button: "It did not…", title: "Let it run again?", yes: "It did not happen",
    method: "POST", at: (key) => `${recordAt(key)}/fail`,
    why: () => ["The next repeat will run the operation again: only if you know that it did not "
      + "happen.", "If it did happen after all, it happens twice."],
    done: "Failed: the next repeat runs the operation.", dangerous: true,
  },
  forget: {
    button: "Forget…", title: "Forget this record?", yes: "Forget it",
    method: "DELETE", at: recordAt, why: (record) => FORGET[record.state],
    done: "Forgotten: the next request with this key runs the operation.", dangerous: true,
  },
  drain: {
    title: "Drain this instance?", yes: "Drain it", method: "POST", at: () => "api/drain",
    why: () => ["It reports that it is not ready, so that balancers send new requests elsewhere, "
      + "and asks callers to close their connections. What runs is finished, and what still "
      + "comes is served.", "This can't be undone: the instance stays so until it is ended."],
    done: "Draining.", dangerous: true,
  },
};

const POSSIBLE = {
  completed: ["forget"], "answer-not-kept": ["forget"], "outcome-unknown": ["ack", "fail"],
};

/** The buttons for what can be decided about a record. */
function decisionButtons(record, more = []) {
  return [...(POSSIBLE[record.state] ?? []), ...more].map((name) => make("button", {
    type: "button", "data-decision": name, class: "small",
    "aria-label": `${DECISIONS[name].button} (record ${record.key.slice(0, 8)})`,
    onclick: () => decide(name, record),
  }, DECISIONS[name].button));
}

function decide(name, record) {
  const decision = DECISIONS[name];
  deciding = { name, decision, record };
  say(the("decide-title"), decision.title);
  the("decide-subject").replaceChildren(...(record
    ? [operation(record), " ", make("code", {}, record.key)] : []));
  the("decide-why").replaceChildren(...decision.why(record).map((text) => make("p", {}, text)));
  the("decide-fields").hidden = name !== "ack";
  // What is hidden must not hold up the form.
  for (const field of the("decide-fields").querySelectorAll("input")) {
    field.disabled = name !== "ack";
  }
  the("decide-by").value = kept.get(forGood, "by") ?? "";
  the("decide-status").value = "200";
  the("decide-note").value = "";
  say(the("decide-wrong"), "");
  say(the("decide-yes"), decision.yes);
  the("decide-yes").disabled = false;
  the("decide-yes").dataset.is = decision.dangerous ? "dangerous" : "usual";
  the("decide").showModal();
  the("decide-no").focus();
}

/** What goes with the decision. */
function decided(name) {
  if (name !== "ack") return undefined;
  const by = the("decide-by").value.trim();
  const note = the("decide-note").value.trim();
  kept.set(forGood, "by", by);
  return {
    status: Number(the("decide-status").value), by: by || undefined, note: note || undefined,
  };
}

async function carryOut(event) {
  event.preventDefault();
  const { name, decision, record } = deciding;
  the("decide-yes").disabled = true;
  try {
    await asked(decision.at(record?.key), { method: decision.method, body: decided(name) });
  } catch (error) {
    say(the("decide-wrong"), reason(error));
    the("decide-yes").disabled = false;
    return;
  }
  the("decide").close();
  the("record").close();
  tell(decision.done);
  unknown.again = true;
  startStatus();
  if (!record) return;
  await loadRecords();
  // What had the focus may be gone with its row.
  if (document.activeElement === document.body) the("records").focus({ preventScroll: true });
}

/** Shows the record with this key. */
async function openRecord(key) {
  let record;
  try {
    record = await asked(recordAt(key));
  } catch (error) {
    tell(error.status === 404 ? "No record has this key: its window may have ended."
      : reason(error));
    return;
  }
  showRecord(record);
  if (!the("record").open) the("record").showModal();
  history.replaceState(null, "", `#key=${encodeURIComponent(record.key)}`);
}

function showRecord(record) {
  const facts = [
    ["Key", [make("code", { id: "record-key" }, record.key), " ", make("button", {
      type: "button", class: "small", onclick: () => copy(record.key),
    }, "Copy")]],
    ["State", [badge(record.state)]],
    ["Operation", [make("span", { class: "whole" }, record.method ?? "–", " ",
      record.path ?? "unknown to this instance")]],
    ["Route", record.route], ["Status", record.status],
    ["Answer", record.answer_bytes == null ? null : bytes(record.answer_bytes)],
    ["Replays", record.replays == null ? null : `${whole(record.replays)} by this process`],
    ["Begun", exact(record.begun_at)], ["Kept", exact(record.kept_at)],
    ["Expires", exact(record.expires_at)], ["Claimed until", exact(record.lease_until)],
    ["Fingerprint", record.fingerprint], ["Trace", record.trace_id],
  ].filter(([, value]) => value != null);
  const terms = make("dl");
  for (const [name, value] of facts) {
    terms.append(make("dt", {}, name),
      make("dd", {}, ...(Array.isArray(value) ? value : [String(value)])));
  }
  the("record-body").replaceChildren(terms, ...shownAnswer(record.answer));
  the("record-actions").replaceChildren(...(record.state === "in-flight"
    ? ["It runs: there is nothing to decide until it has ended."]
    : decisionButtons(record, record.state === "outcome-unknown" ? ["forget"] : [])));
}

/** A moment with its exact time beside it. */
const exact = (time) => (time
  ? [moment(time), " ", make("span", { class: "faint" }, DAY_AND_CLOCK.format(new Date(time)))]
  : null);

/** The kept answer, if the instance shows it. */
function shownAnswer(answer) {
  if (!answer) return [];
  const head = answer.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  const body = answer.body ?? (answer.body_base64 ? `base64: ${answer.body_base64}` : "");
  return [make("h3", {}, "Kept answer"),
    make("pre", { tabindex: 0, "aria-label": "Kept answer" },
      `${answer.status}\n${head}\n\n${body}${answer.truncated ? "\n… cut here" : ""}`)];
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied.");
  } catch {
    getSelection().selectAllChildren(the("record-key"));
    tell("Selected: your browser lets this page copy nothing.");
  }
}

/** Opens the record that the address names. */
function openNamed() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key && !the("record").open) openRecord(key.replaceAll(" ", "+"));
}

function startDecisions() {
  the("decide-form").addEventListener("submit", carryOut);
  the("decide-no").addEventListener("click", () => the("decide").close());
  the("record-close").addEventListener("click", () => the("record").close());
  the("record").addEventListener("close", () => {
    history.replaceState(null, "", location.pathname + location.search);
  });
  // A click beside the sheet closes it.
  the("record").addEventListener("click", (event) => {
    if (event.target === the("record")) the("record").close();
  });
  the("drain").addEventListener("click", () => decide("drain", null));
  addEventListener("hashchange", openNamed);
}
