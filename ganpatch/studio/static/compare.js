// The whole patch: images without and with it, the most changed first.

import { $, button, choice, make } from "./dom.js";
import { cut, imagesBody, post } from "./net.js";
import { entries, isPlain, session, subscribe } from "./session.js";
import { ranking } from "./review.js";
import { nameOf, togglePin } from "./tray.js";
import { look, onView, view } from "./view.js";

const COUNT = 32, CHUNK = 8;
const parts = {};
let source = "random";
let page = 0;
let turn = 0;            // a newer turn ends an older one
const befores = new Map();

export function openCompare() {
  parts.source = choice("Images", [["random", "random"], ["top", "top images of flagged units"], ["pinned", "pinned"]], source, (name) => { source = name; draw(); });
  parts.note = make("span", { class: "soft" });
  parts.grid = make("div", { class: "compared" });
  $("compare").replaceChildren(
    make("div", { class: "bar" }, parts.source.element, button("Others", () => { page += 1; draw(); }, { title: "Other random images (n)" }), parts.note),
    parts.grid);
  onView((names) => names.has("view") && draw());
  subscribe((what) => what === "state" && draw());
}
export const others = () => { page += 1; draw(); };

function points() {
  if (source === "pinned") return session.now.pins.slice(-COUNT);
  if (source === "top") {
    const ranked = ranking(view.layer);
    const units = entries().filter((entry) => isPlain(entry) && entry.edit.layer === view.layer).flatMap((entry) => entry.edit.units);
    const seeds = ranked ? Array.from({ length: ranked.run.k }, (_, place) => units.map((unit) => ranked.data.units[unit][place])).flat() : [];
    return [...new Set(seeds)].slice(0, COUNT).map((seed) => ({ seed }));
  }
  return Array.from({ length: COUNT }, (_, index) => ({ seed: 30_000 + page * COUNT + index }));
}

async function draw() {
  if (view.view !== "compare") return;
  const mine = ++turn;
  const all = points();
  const pairs = [];
  parts.note.textContent = all.length ? "drawing …" : source === "pinned" ? "nothing is pinned yet" : "no unit of this layer is flagged, or it is not ranked";
  for (let start = 0; start < all.length; start += CHUNK) {
    const part = all.slice(start, start + CHUNK);
    try {
      const [before, after] = [await plain(part), await post("images", imagesBody(part, { patch: true, largest: 128 }))];
      if (mine !== turn) return;
      part.forEach((point, index) => pairs.push({ point, ...pair(before, after, part.length, index) }));
    } catch { return; }
    show(pairs);
  }
  if (!all.length) show([]);
  const touched = pairs.filter((one) => one.change > 0).length;
  if (all.length) parts.note.textContent = `${touched} of ${pairs.length} change${entries().some((entry) => entry.on) ? "" : "; no edit is on"}`;
}
async function plain(part) {
  const key = JSON.stringify(part);
  if (!befores.has(key)) befores.set(key, await post("images", imagesBody(part, { largest: 128 })));
  if (befores.size > 60) befores.delete(befores.keys().next().value);
  return befores.get(key);
}
function pair(before, after, count, index) {
  const [, , , width, height] = cut(before, count, index);
  const canvas = make("canvas", { width: 2 * width + 2, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  [before, after].forEach((sheet, side) => {
    const [image, x, y] = cut(sheet, count, index);
    pen.drawImage(image, x, y, width, height, side * (width + 2), 0, width, height);
  });
  const [one, other] = [0, width + 2].map((x) => pen.getImageData(x, 0, width, height).data);
  let change = 0;
  for (let i = 0; i < one.length; i++) change += Math.abs(one[i] - other[i]);
  return { canvas, change };
}
function show(pairs) {
  const sorted = [...pairs].sort((a, b) => b.change - a.change);
  parts.grid.replaceChildren(...sorted.map(({ point, canvas }) => {
    const open = make("button", { type: "button", class: "plain", title: `${nameOf(point)}: look into it`, "aria-label": `look into ${nameOf(point)}` }, canvas);
    open.onclick = () => look({ view: "look", seed: point.seed, to: point.to ?? null, t: point.t ?? 0 });
    const pin = button("pin", () => togglePin({ seed: point.seed, to: point.to ?? null, t: point.t ?? 0 }), { class: "tool" });
    return make("figure", { class: "pairing" }, open, make("figcaption", { class: "soft" }, nameOf(point), " ", pin));
  }));
}
