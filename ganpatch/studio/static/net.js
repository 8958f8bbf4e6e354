// Asking the server: JSON, images, and streams of requests of which only the newest matters.

const token = new URLSearchParams(location.search).get("token") ?? "";
const headers = { "x-ganpatch-token": token };

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

export async function post(path, body, { signal, method = "POST" } = {}) {
  const sent = { method, signal, headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await checked(await fetch(`api/${path}`, sent));
  if (answer.status === 204) return null;
  const kind = answer.headers.get("content-type") ?? "";
  return kind.startsWith("image/") ? createImageBitmap(await answer.blob()) : answer.json();
}

export const remove = async (path) => (await checked(await fetch(`api/${path}`, { method: "DELETE", headers }))).json();

export async function download(path) {
  const answer = await checked(await fetch(`api/download/${path}`, { headers }));
  const name = /filename="?([^";]+)/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? path;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// One request under way and at most one waiting: what is asked meanwhile replaces what waits.
export class Stream {
  #under = false;
  #next = null;
  ask(path, body, then) {
    this.#next = [path, body, then];
    if (!this.#under) this.#run();
  }
  stop() { this.#next = null; }
  async #run() {
    this.#under = true;
    while (this.#next) {
      const [path, body, then] = this.#next;
      this.#next = null;
      try {
        const started = performance.now();
        const found = await post(path, body);
        if (found) then(found, performance.now() - started);
      } catch (fault) {
        if (fault instanceof Refused) then(null, 0, fault);
      }
    }
    this.#under = false;
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

// Images of points, cut from the sheet that the server lays out; `more` says with which edits.
export const imagesBody = (points, more = {}) => ({ points, columns: Math.min(8, points.length), ...more });
export function cut(sheet, count, index) {
  const columns = Math.min(8, count);
  const rows = Math.ceil(count / columns);
  const width = sheet.width / columns, height = sheet.height / rows;
  return [sheet, (index % columns) * width, Math.floor(index / columns) * height, width, height];
}
export function drawCut(canvas, sheet, count, index) {
  const [image, x, y, width, height] = cut(sheet, count, index);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
}
