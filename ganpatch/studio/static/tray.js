// The tray: pinned images, with the current patch.

import { $, make } from "./dom.js";
import { Stream } from "./net.js";
import { drawCut, imagesBody } from "./pictures.js";
import { change, session, subscribe } from "./session.js";
import { look, onView, point, view } from "./view.js";

const stream = new Stream("tray", "the tray");
const same = (a, b) => a.seed === b.seed && (a.to ?? null) === (b.to ?? null) && (a.t ?? 0) === (b.t ?? 0);
export const isPinned = (one) => session.now.pins.some((pin) => same(pin, one));
export const togglePin = (one = point()) => change("pin", { point: one, on: !isPinned(one) });
export const nameOf = ({ seed, to, t }) => (to === null || to === undefined ? `seed ${seed}` : `${seed} → ${to}, ${Math.round(t * 100)} %`);

const canvases = new Map();   // kept, so that an image stays until its next one is drawn
function canvasOf(pin) {
  if (!canvases.has(nameOf(pin))) canvases.set(nameOf(pin), make("canvas"));
  return canvases.get(nameOf(pin));
}
let drawnFor = "";

export function openTray() {
  subscribe((what) => { if (what === "again") drawnFor = ""; if (what === "state" || what === "again") show(); });
  onView((names) => (names.has("seed") || names.has("to") || names.has("t")) && mark());
  show();
}
function show() {
  const pins = session.now.pins;
  $("tray").hidden = !pins.length;
  const focus = document.activeElement?.closest("#tray figure") && [...$("tray").children].indexOf(document.activeElement.closest("figure"));
  $("tray").replaceChildren(...pins.map((pin) => {
    const open = make("button", { type: "button", class: "plain", title: nameOf(pin), "aria-label": `open ${nameOf(pin)}` }, canvasOf(pin));
    open.onclick = () => look({ view: view.view === "paint" && pin.to === null ? "paint" : "look", seed: pin.seed, to: pin.to, t: pin.t });
    const off = make("button", { type: "button", class: "off", title: "take off", "aria-label": `unpin ${nameOf(pin)}` }, "×");
    off.onclick = () => togglePin(pin);
    return make("figure", {}, open, off, make("figcaption", {}, pin.to === null ? String(pin.seed) : `${pin.seed}→${pin.to}`));
  }));
  if (focus || focus === 0) $("tray").children[Math.min(focus, pins.length - 1)]?.querySelector("button").focus();
  mark();
  const shown = pins.slice(-64), key = JSON.stringify([session.now.digest, shown]);
  if (!shown.length || key === drawnFor) return;
  drawnFor = key;
  stream.ask("images", imagesBody(shown, { patch: true, largest: 96, calm: true }), (sheet) => draw(sheet, shown.length));
}
const draw = (sheet, count) => [...$("tray").querySelectorAll("canvas")].slice(-count).forEach((canvas, index) => drawCut(canvas, sheet, count, index));
const mark = () => [...$("tray").children].forEach((figure, index) => figure.classList.toggle("here", same(session.now.pins[index], point())));
