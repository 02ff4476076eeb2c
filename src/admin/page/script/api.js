// Asks the instance, and for its token where it wants one.

let token = kept.get(forTab, "token");

/** What an instance says when it refuses. */
class Problem extends Error {
  constructor(status, name, detail) {
    super(detail);
    this.status = status;
    this.problem = name;
  }
}

/** Sends a request to the API; the answer is a good one. */
async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  const shown = token;
  if (shown) headers.Authorization = `Bearer ${shown}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store", redirect: "error",
  });
  if (answer.ok) return answer;
  if (answer.status === 401) askForToken(shown);
  const problem = await answer.json().catch(() => ({}));
  const name = String(problem.type ?? "").replace("urn:oncegate:", "");
  throw new Problem(answer.status, name,
    problem.detail ?? problem.title ?? `The instance answered with status ${answer.status}.`);
}

/** As `ask`, with the answer read. */
async function asked(path, options = {}) {
  const patience = AbortSignal.timeout(10_000);
  const signal = options.signal ? AbortSignal.any([options.signal, patience]) : patience;
  return (await ask(path, { ...options, signal })).json();
}

/** The place of a record; a key can hold slashes. */
const recordAt = (key) => `api/records/${encodeURIComponent(key)}`;

/** What to tell people of an error. */
function reason(error) {
  if (error instanceof Problem) return error.message;
  if (error.name === "TimeoutError") return "The instance did not answer in time.";
  if (error.name === "TypeError") return "The instance can't be reached.";
  return "The instance answered something that this page does not understand.";
}

/** Opens the prompt, unless a newer token has been given since this one was shown. */
function askForToken(shown) {
  the("token-again").hidden = false;
  if (shown !== token || the("token").open || tokenDeclined) return;
  say(the("token-wrong"), shown ? "This token was not accepted." : "");
  the("token").showModal();
}

let tokenDeclined = false;

function startToken() {
  const dialog = the("token");
  the("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token = the("token-value").value.trim();
    kept.set(forTab, "token", token);
    the("token-value").value = "";
    the("token-again").hidden = true;
    dialog.close();
    tokenDeclined = false;
    begin();
  });
  the("token-no").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    tokenDeclined = the("token-again").hidden === false;
  });
  the("token-again").addEventListener("click", () => {
    tokenDeclined = false;
    dialog.showModal();
  });
}
