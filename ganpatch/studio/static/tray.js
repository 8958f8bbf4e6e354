// The tray: pinned images, with the patch as it stands.

import { $, make } from "./dom.js";
import { Stream, drawCut, imagesBody } from "./net.js";
import { change, session, subscribe } from "./session.js";
import { look, onView, point, view } from "./view.js";

const stream = new Stream();
const same = (a, b) => a.seed === b.seed && (a.to ?? null) === (b.to ?? null) && (a.t ?? 0) === (b.t ?? 0);
export const isPinned = (one) => session.now.pins.some((pin) => same(pin, one));
export const togglePin = (one = point()) => change("pin", { point: one, on: !isPinned(one) });
export const nameOf = ({ seed, to, t }) => (to === null || to === undefined ? `seed ${seed}` : `${seed} → ${to}, ${Math.round(t * 100)} %`);

const canvases = new Map();   // kept, so that an image stays until its next one is drawn
function canvasOf(pin) {
  if (!canvases.has(nameOf(pin))) canvases.set(nameOf(pin), make("canvas"));
  return canvases.get(nameOf(pin));
}

export function openTray() {
  subscribe((what) => what === "state" && show());
  onView((names) => (names.has("seed") || names.has("to") || names.has("t")) && mark());
  show();
}
function show() {
  const pins = session.now.pins;
  $("tray").hidden = !pins.length;
  $("tray").replaceChildren(...pins.map((pin) => {
    const open = make("button", { type: "button", class: "plain", title: nameOf(pin), "aria-label": `open ${nameOf(pin)}` }, canvasOf(pin));
    open.onclick = () => look({ view: view.view === "paint" && pin.to === null ? "paint" : "look", seed: pin.seed, to: pin.to, t: pin.t });
    const off = make("button", { type: "button", class: "off", title: "take off", "aria-label": `unpin ${nameOf(pin)}` }, "×");
    off.onclick = () => togglePin(pin);
    return make("figure", {}, open, off, make("figcaption", {}, pin.to === null ? String(pin.seed) : `${pin.seed}→${pin.to}`));
  }));
  mark();
  const shown = pins.slice(-64);
  if (shown.length) stream.ask("images", imagesBody(shown, { patch: true, largest: 96, stream: "tray", calm: true }), (sheet) => sheet && draw(sheet, shown.length));
}
const draw = (sheet, count) => [...$("tray").querySelectorAll("canvas")].slice(-count).forEach((canvas, index) => drawCut(canvas, sheet, count, index));
const mark = () => [...$("tray").children].forEach((figure, index) => figure.classList.toggle("here", same(session.now.pins[index], point())));
