// The chart of requests per second by outcome, and its legend. The outcomes differ in colour, in
// lightness and in pattern, and stand in the same order in both.

const OUTCOMES = ["executed", "replayed", "collapsed", "passed", "observed", "refused", "failed"];
const MEANING = {
  executed: "Sent to the API", replayed: "Repeats that got the kept answer",
  collapsed: "Repeats that waited for the first one's answer", passed: "Not guarded",
  observed: "Sent to the API, and only watched", refused: "Answered by this instance",
  failed: "The API could not be asked, or gave no whole answer",
};
const CHART_SECONDS = 300;
const CHART_HEIGHT = 208;
const GUTTER = { left: 44, right: 6, top: 8, bottom: 22 };

/** What has been measured, oldest first: `{ at, rates }`; no rates stand for a gap. */
let samples = [];

/** The sample that is looked at; null stands for the newest. */
let lookedAt = null;

const drawing = { svg: null, lines: null, layers: {}, cursor: null, rows: {} };

function drawn(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** What fills the outcomes that colour alone would not tell apart. */
function patterns() {
  const marks = {
    collapsed: ["M0 2H6", "M0 5H6"],
    observed: ["M1.5 1.5h.01", "M4.5 4.5h.01"],
    refused: ["M-1 7L7 -1", "M-1 1L1 -1", "M5 7L7 5"],
    failed: ["M-1 7L7 -1", "M-1 -1L7 7"],
  };
  return drawn("defs", {}, ...Object.entries(marks).map(([outcome, paths]) =>
    drawn("pattern", {
      id: `fill-${outcome}`, width: 6, height: 6, patternUnits: "userSpaceOnUse",
    }, drawn("rect", { width: 6, height: 6, class: `of-${outcome}` }),
    drawn("path", { d: paths.join(""), class: `mark mark-${outcome}` }))));
}

/** A shape that is filled like an outcome. */
function filled(tag, outcome, attributes = {}) {
  const element = drawn(tag, { ...attributes, class: `of-${outcome}` });
  if (["collapsed", "observed", "refused", "failed"].includes(outcome)) {
    element.setAttribute("class", `patterned-${outcome}`);
  }
  return element;
}

function startChart() {
  drawing.lines = drawn("g", { class: "lines" });
  drawing.cursor = drawn("line", { class: "cursor", y1: GUTTER.top, visibility: "hidden" });
  const layers = drawn("g");
  for (const outcome of OUTCOMES) {
    drawing.layers[outcome] = filled("path", outcome);
    layers.append(drawing.layers[outcome]);
  }
  drawing.svg = drawn("svg", { height: CHART_HEIGHT, "aria-hidden": "true" },
    patterns(), layers, drawing.lines, drawing.cursor);
  the("chart").append(drawing.svg);
  // The legend stands in the order in which the layers are seen.
  for (const outcome of [...OUTCOMES].reverse()) {
    const swatch = drawn("svg", { width: 14, height: 14, "aria-hidden": "true" },
      filled("rect", outcome, { width: 14, height: 14, rx: 3 }));
    const rate = make("td", { class: "number" }, "–");
    const total = make("td", { class: "number faint" }, "–");
    drawing.rows[outcome] = { rate, total };
    const row = make("tr", { "data-outcome": outcome, title: MEANING[outcome] });
    row.append(make("th", { scope: "row" }, swatch, named(outcome)), rate, total);
    the("legend").append(row);
  }
  const chart = the("chart");
  chart.addEventListener("pointermove", (event) => lookAtPoint(event.offsetX));
  chart.addEventListener("pointerleave", () => lookAt(null));
  chart.addEventListener("blur", () => lookAt(null));
  chart.addEventListener("keydown", moveByKey);
  new ResizeObserver(drawChart).observe(chart);
}

/** Takes up a sample; null says that there is none, for a gap. */
function addSample(at, rates) {
  samples.push({ at, rates });
  const oldest = samples.at(-1).at - CHART_SECONDS * 1000;
  const first = samples.findIndex((sample) => sample.at >= oldest);
  samples = samples.slice(first);
  if (lookedAt !== null) lookedAt = lookedAt < first ? null : lookedAt - first;
  drawChart();
}

function forgetSamples() {
  samples = [];
  lookedAt = null;
  drawChart();
}

const sum = (rates) => OUTCOMES.reduce((total, outcome) => total + rates[outcome], 0);

/** The smallest round number that holds this one. */
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return power * [1, 2, 4, 6, 8, 10].find((step) => step * power >= number * 0.999);
}

/** Where things are: across by time, up by rate. */
function scale() {
  const width = Math.max(the("chart").clientWidth, 120);
  const highest = Math.max(0, ...samples.filter((s) => s.rates).map((s) => sum(s.rates)));
  const top = roundUp(Math.max(highest, 2));
  const newest = samples.at(-1)?.at ?? 0;
  const inner = width - GUTTER.left - GUTTER.right;
  const tall = CHART_HEIGHT - GUTTER.top - GUTTER.bottom;
  return {
    width, top, inner,
    x: (at) => GUTTER.left + inner * (1 - (newest - at) / (CHART_SECONDS * 1000)),
    y: (rate) => GUTTER.top + tall * (1 - rate / top),
  };
}

/** The samples in runs without a gap, by their numbers. */
function runs() {
  const found = [];
  let run = [];
  samples.forEach((sample, index) => {
    if (sample.rates) run.push(index);
    if (!sample.rates || index === samples.length - 1) {
      if (run.length > 1) found.push(run);
      run = [];
    }
  });
  return found;
}

function drawChart() {
  if (!drawing.svg) return;
  const by = scale();
  drawing.svg.setAttribute("width", by.width);
  drawLines(by);
  const below = samples.map(() => 0);
  const unbroken = runs();
  for (const outcome of OUTCOMES) {
    const above = samples.map((s, index) => below[index] + (s.rates ? s.rates[outcome] : 0));
    const point = (heights) => (index) =>
      `${by.x(samples[index].at).toFixed(1)} ${by.y(heights[index]).toFixed(1)}`;
    const shape = unbroken
      .filter((run) => run.some((index) => above[index] > below[index]))
      .map((run) => `M${run.map(point(above)).join("L")}L${
        [...run].reverse().map(point(below)).join("L")}Z`);
    drawing.layers[outcome].setAttribute("d", shape.join(""));
    above.forEach((height, index) => { below[index] = height; });
  }
  showRates(by);
}

function drawLines(by) {
  const parts = [];
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const y = by.y(by.top * part);
    const label = drawn("text", { x: GUTTER.left - 8, y: y + 4, "text-anchor": "end" });
    label.append(perAxis(by.top * part));
    const ends = { x1: GUTTER.left, x2: by.width - GUTTER.right, y1: y, y2: y };
    parts.push(drawn("line", ends), label);
  }
  const every = by.inner < 330 ? 2 : 1;
  for (let minute = 0; minute <= 5; minute += every) {
    const anchor = minute === 0 ? "end" : "middle";
    const x = GUTTER.left + by.inner * (1 - minute / 5);
    const label = drawn("text", { x, y: CHART_HEIGHT - 4, "text-anchor": anchor });
    label.append(minute === 0 ? "now" : `−${minute} min`);
    parts.push(label);
  }
  drawing.lines.replaceChildren(...parts);
}

function perAxis(rate) {
  if (rate >= 10_000) return `${whole(rate / 1000)}k`;
  return Number.isInteger(rate) ? whole(rate) : TENTHS.format(rate);
}

/** The rates of the sample that is looked at, in the legend and in words. */
function showRates(by) {
  const chart = the("chart");
  const index = lookedAt ?? samples.length - 1;
  const sample = samples[index];
  for (const outcome of OUTCOMES) {
    say(drawing.rows[outcome].rate, sample?.rates ? perSecond(sample.rates[outcome]) : "–");
  }
  drawing.cursor.setAttribute("visibility", lookedAt === null ? "hidden" : "visible");
  if (!sample) return;
  const x = by.x(sample.at);
  drawing.cursor.setAttribute("x1", x);
  drawing.cursor.setAttribute("x2", x);
  drawing.cursor.setAttribute("y2", CHART_HEIGHT - GUTTER.bottom);
  const time = CLOCK.format(new Date(sample.at - ahead));
  say(the("traffic-at"), lookedAt === null ? "last 5 minutes" : `at ${time}`);
  if (document.activeElement !== chart) return;
  const before = Math.round((samples.at(-1).at - sample.at) / 1000);
  const rates = sample.rates && OUTCOMES.filter((outcome) => sample.rates[outcome] > 0)
    .map((outcome) => `${perSecond(sample.rates[outcome])} ${outcome}`);
  chart.setAttribute("aria-valuenow", -before);
  chart.setAttribute("aria-valuetext", `${time}: ${rates
    ? rates.join(", ") || "no requests" : "no figures"}`);
}

function lookAt(index) {
  lookedAt = index;
  showRates(scale());
}

function lookAtPoint(x) {
  if (samples.length === 0) return;
  const by = scale();
  let nearest = 0;
  samples.forEach((sample, index) => {
    if (Math.abs(by.x(sample.at) - x) < Math.abs(by.x(samples[nearest].at) - x)) nearest = index;
  });
  lookAt(nearest);
}

function moveByKey(event) {
  const last = samples.length - 1;
  const now = lookedAt ?? last;
  const to = {
    ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1,
    PageUp: now + 15, PageDown: now - 15, Home: 0, End: last,
  }[event.key];
  if (event.key === "Escape") lookAt(null);
  if (to === undefined || last < 0) return;
  event.preventDefault();
  lookAt(Math.min(Math.max(to, 0), last));
}
