// The whole patch: images without and with it, the most changed first.

import { $, button, choice, make } from "./dom.js";
import { Stream } from "./net.js";
import { atMost, cut, drawAll, freshPoints } from "./pictures.js";
import { ranking } from "./review.js";
import { entries, isPlain, session, subscribe } from "./session.js";
import { isPinned, nameOf, togglePin } from "./tray.js";
import { look, onView, view } from "./view.js";

const COUNT = 32;
const befores = new Stream("compare-before", "images without the patch"), afters = new Stream("compare-after", "images with the patch");
const parts = {};
const plain = new Map(), patched = new Map();   // of a point: its image without and with the patch
let patchedWith = null;
let turn = 0;   // a newer turn ends an older one

export function openCompare() {
  parts.source = choice("Images", [["random", "random"], ["top", "top images of flagged units"], ["pinned", "pinned"]], view.source, (source) => look({ source, page: 0 }));
  parts.note = make("span", { class: "soft", role: "status" });
  parts.grid = make("div", { class: "compared" });
  parts.others = button("Others", others, { title: "Other random images (n)" });
  $("compare").replaceChildren(make("div", { class: "bar" }, parts.source.element, parts.others, parts.note), parts.grid);
  onView((names) => ["view", "source", "page", "layer"].some((name) => names.has(name)) && draw());
  subscribe((what) => (what === "state" || what === "ranking" || what === "again") && draw());
  draw();
}
export const others = () => look({ source: "random", page: view.page + 1 });

function points() {
  const count = atMost(COUNT, 12);
  if (view.source === "pinned") return session.now.pins.slice(-count);
  if (view.source === "top") {
    const ranked = ranking(view.layer);
    const units = entries().filter((entry) => isPlain(entry) && entry.edit.layer === view.layer).flatMap((entry) => entry.edit.units);
    const seeds = ranked ? Array.from({ length: ranked.run.k }, (_, place) => units.map((unit) => ranked.data.units[unit][place])).flat() : [];
    return [...new Set(seeds)].slice(0, count).map((seed) => ({ seed }));
  }
  return freshPoints(count, view.page);
}

function draw() {
  const mine = ++turn;
  if (view.view !== "compare") { befores.stop(); afters.stop(); return; }
  parts.source.set(view.source);
  parts.others.disabled = view.source !== "random";
  if (patchedWith !== session.now.digest) { patched.clear(); patchedWith = session.now.digest; }
  const all = points();
  parts.note.textContent = all.length ? "drawing …" : view.source === "pinned" ? "nothing is pinned yet" : `no unit of ${view.layer} is flagged, or it is not ranked`;
  if (!all.length) return show([], mine);
  const both = () => {
    if (mine !== turn) return;
    const pairs = all.filter((one) => plain.has(nameOf(one)) && patched.has(nameOf(one))).map((one) => ({ point: one, ...pair(plain.get(nameOf(one)), patched.get(nameOf(one))) }));
    show(pairs, mine);
    const touched = pairs.filter((one) => one.change > 0).length;
    const whole = pairs.length === all.length;
    parts.note.textContent = `${touched} of ${pairs.length} change${entries().some((entry) => entry.on) ? "" : "; no edit is on"}${whole ? "" : `; ${all.length - pairs.length} are drawn …`}`;
  };
  const into = (known, list) => (sheet, count, start) => {
    for (let index = 0; index < count; index++) known.set(nameOf(list[start + index]), pixels(sheet, count, index));
    both();
  };
  for (const known of [plain, patched]) for (const old of [...known.keys()].slice(0, Math.max(0, known.size - 500))) known.delete(old);
  for (const [stream, known, patch] of [[befores, plain, false], [afters, patched, true]]) {
    const missing = all.filter((one) => !known.has(nameOf(one)));
    drawAll(stream, missing, { largest: 128, patch }, into(known, missing));
  }
  both();
}
function pixels(sheet, count, index) {
  const [, x, y, width, height] = cut(sheet, count, index);
  const canvas = new OffscreenCanvas(width, height), pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(sheet, x, y, width, height, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height);
}
function pair(before, after) {
  const canvas = make("canvas", { width: 2 * before.width + 2, height: before.height });
  const pen = canvas.getContext("2d");
  pen.putImageData(before, 0, 0);
  pen.putImageData(after, before.width + 2, 0);
  let change = 0;
  for (let i = 0; i < before.data.length; i++) {
    const gap = Math.abs(before.data[i] - after.data[i]);
    if (gap > 1) change += gap;   // a step of rounding is no change
  }
  return { canvas, change };
}
function show(pairs, mine) {
  if (mine !== turn) return;
  const sorted = [...pairs].sort((a, b) => b.change - a.change);
  parts.grid.replaceChildren(...sorted.map(({ point, canvas, change }) => {
    const open = make("button", { type: "button", class: "plain", title: `${nameOf(point)}: look into it`, "aria-label": `look into ${nameOf(point)}${change ? "" : ", not changed"}` }, canvas);
    open.onclick = () => look({ view: "look", seed: point.seed, to: point.to ?? null, t: point.t ?? 0 });
    const pin = button("pin", () => { togglePin({ seed: point.seed, to: point.to ?? null, t: point.t ?? 0 }); }, { class: "tool", "aria-pressed": String(isPinned(point)), "aria-label": `pin ${nameOf(point)}` });
    return make("figure", { class: "pairing" }, open, make("figcaption", { class: "soft" }, `${nameOf(point)}${change ? "" : ", not changed"}`, " ", pin));
  }));
}
