// Asking the server: JSON, images, and streams of requests of which only the newest matters.

const token = new URLSearchParams(location.search).get("token") ?? "";
const headers = { "x-ganpatch-token": token };
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, "0")).join("").slice(0, 18);
export const page = newId();   // this page, as long as it is open: streams of two tabs are two

// What the server refused, with its reason; a server that does not answer is a TypeError of fetch.
export class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

async function checked(answer) {
  if (answer.ok) return answer;
  const text = await answer.text();
  let detail = text;
  try { detail = JSON.parse(text).detail; } catch { /* plain text */ }
  throw new Refused(answer.status, typeof detail === "string" ? detail : detail?.map?.((one) => one.msg).join("; ") ?? text);
}

export const get = async (path, options) => (await checked(await fetch(`api/${path}`, { headers, ...options }))).json();

export async function post(path, body, { signal } = {}) {
  const sent = { method: "POST", signal, headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await checked(await fetch(`api/${path}`, sent));
  if (answer.status === 204) return null;
  const kind = answer.headers.get("content-type") ?? "";
  return kind.startsWith("image/") ? createImageBitmap(await answer.blob()) : answer.json();
}

export const remove = async (path) => (await checked(await fetch(`api/${path}`, { method: "DELETE", headers }))).json();
export const addressOf = (path) => `api/${path}?token=${encodeURIComponent(token)}`;

export async function download(path) {
  const answer = await checked(await fetch(`api/download/${path}`, { headers }));
  const name = /filename="?([^";]+)/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? path;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// What has been asked and is not answered yet, with the time at which it was asked; and what was refused.
const asked = new Map();
export const waitedFor = () => [...asked.values()];
const refusals = new Set();
export const onRefusal = (listener) => refusals.add(listener);

// One request under way and at most one waiting: what is asked meanwhile replaces what waits. `what` says in words what
// is waited for. An answer comes with the milliseconds since the oldest question that it answers.
export class Stream {
  #name; #what;
  #under = null;
  #next = null;
  #since = 0;
  constructor(name, what) { this.#name = name; this.#what = what; }
  ask(path, body, then) {
    this.#next = [path, body, then];
    this.#since ||= performance.now();
    if (!this.#under) this.#run();
  }
  // Ask something else: what is under way is of no use any more, and ended on the server too.
  turn(path, body, then) { this.stop(); this.ask(path, body, then); }
  stop() { this.#next = null; this.#since = 0; this.#under?.abort(); }
  async #run() {
    while (this.#next) {
      const [path, body, then] = this.#next, since = this.#since, control = new AbortController();
      [this.#next, this.#since, this.#under] = [null, 0, control];
      asked.set(this, { what: this.#what, since });
      try {
        const found = await post(path, { ...body, stream: `${page}/${this.#name}` }, { signal: control.signal });
        if (found && !control.signal.aborted) then(found, performance.now() - since);
      } catch (fault) {
        if (fault instanceof Refused && !control.signal.aborted) for (const listener of refusals) listener(`${this.#what}: ${fault.message}`);
      }
    }
    asked.delete(this);
    this.#under = null;
  }
}

const sheets = new Map();
// The address of a sheet of thumbnails, fetched once.
export async function sheetAddress(run, name) {
  const key = `${run}/${name}`;
  if (!sheets.has(key)) {
    sheets.set(key, fetch(`api/runs/${key}`, { headers }).then(checked).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
  }
  return sheets.get(key);
}
