// What every part of the page uses: finding and making elements, and writing figures for people.
"use strict";

/** The element with this id. */
const the = (id) => document.getElementById(id);

/** What tables are made of; said aloud, since rows that are shown as lines lose it otherwise. */
const ROLES = {
  table: "table", thead: "rowgroup", tbody: "rowgroup", tr: "row", th: "columnheader", td: "cell",
};

/** An element with attributes and children; what is text stays text, whatever it says. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (tag in ROLES && attributes.scope !== "row") element.setAttribute("role", ROLES[tag]);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Writes text, and leaves alone what says it already. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", {
  minimumFractionDigits: 1, maximumFractionDigits: 1,
});
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DAY_AND_CLOCK = new Intl.DateTimeFormat("en-GB", {
  dateStyle: "medium", timeStyle: "medium",
});

const whole = (number) => WHOLE.format(number);

/** So many a second: with a tenth as long as that says something. */
const perSecond = (rate) => (rate >= 100 || rate === 0 ? WHOLE : TENTHS).format(rate);

const percent = (part, of) => (of > 0 ? `${TENTHS.format((100 * part) / of)} %` : "–");

const counted = (number, one, many) => `${whole(number)} ${number === 1 ? one : many}`;

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${(unit && number < 100 ? TENTHS : WHOLE).format(number)} ${units[unit]}`;
}

/** A span of time, by its two largest units. */
function span(seconds) {
  if (seconds < 10) return `${TENTHS.format(Math.max(seconds, 0))} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const from = units.findIndex(([name, size]) => seconds >= (name === "d" ? 2 * size : size));
  const [name, size] = units[from];
  const first = Math.floor(seconds / size);
  const next = units[from + 1];
  const second = next ? Math.floor((seconds - first * size) / next[1]) : 0;
  return `${first} ${name}${second ? ` ${second} ${next[0]}` : ""}`;
}

/** By how much the instance's clock is before that of this browser, in milliseconds. */
let ahead = 0;

/** How many seconds ago something was, by the clock of the instance. */
const ago = (time) => (Date.now() + ahead - Date.parse(time)) / 1000;

/** A moment, as a span from now; the exact time shows at the pointer and is read out. */
function moment(time) {
  if (!time) return "–";
  const seconds = ago(time);
  const text = seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  return make("time", { datetime: time, title: DAY_AND_CLOCK.format(new Date(time)) }, text);
}

const NAMES = {
  executed: "Executed", replayed: "Replayed", collapsed: "Collapsed", refused: "Refused",
  passed: "Passed", observed: "Observed", failed: "Failed", "in-flight": "In flight",
  completed: "Completed", "answer-not-kept": "Answer not kept",
  "outcome-unknown": "Outcome unknown",
};

const named = (name) => NAMES[name] ?? name;

/** A word with a shape and a colour of its own. */
const badge = (name) => make("span", { class: "badge", "data-is": name }, named(name));

/** An operation, as its caller asked for it. */
const operation = (of) => make("span", { class: "operation", title: of.path ?? "" },
  make("b", {}, of.method ?? "–"), " ", of.path ?? "unknown to this instance");

/** The beginning of a key, which opens its record. */
const keyButton = (key) => make("button", {
  class: "key", type: "button", title: key, "data-key": key,
  "aria-label": `Record ${key.slice(0, 8)}`, onclick: () => openRecord(key),
}, key.slice(0, 8));

let sayingEnds;

/** Tells what has been done, for a while. */
function tell(text) {
  say(the("said"), text);
  clearTimeout(sayingEnds);
  sayingEnds = setTimeout(() => say(the("said"), ""), 8000);
}

/** What is kept in this browser; some of them keep nothing. */
const kept = {
  get(where, name) {
    try {
      return where().getItem(name);
    } catch {
      return null;
    }
  },
  set(where, name, value) {
    try {
      where().setItem(name, value);
    } catch {
      // It holds as long as this page then.
    }
  },
};
const forTab = () => sessionStorage;
const forGood = () => localStorage;

const THEMES = { system: "light", light: "dark", dark: "system" };

/** Shows the page in the colours that were chosen; it is called before anything is drawn. */
function showTheme() {
  const stored = kept.get(forGood, "theme");
  const theme = stored in THEMES ? stored : "system";
  document.documentElement.dataset.theme = theme;
  const button = the("theme");
  if (button) say(button, `Theme: ${theme}`);
  return theme;
}
showTheme();
