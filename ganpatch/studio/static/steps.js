// The first minute on a generator that ships: a line of things to try, each one action away. What was done goes from the
// line, and so does the line once all was done.

import { $, announce, button, make } from "./dom.js";
import { change, entries, session, subscribe } from "./session.js";
import { look, onView, view } from "./view.js";

const listeners = new Set();
export const onStep = (listener) => listeners.add(listener);
let current = null, done = new Set();
const bare = !location.hash.slice(1);   // nothing was asked for by the address

const first = () => session.model.first;
const brushOf = (concept) => `concept:${first().layer}:${concept}`;
const painted = (label, mode) => entries().some((entry) => entry.painted?.label === label && entry.painted.mode === mode);
const paintWith = (concept, mode) => look({ view: "paint", layer: first().layer, seed: first().seed, to: null, brush: brushOf(concept), mode, count: 20 });

const STEPS = {
  tree: { text: "Take a tree away", hint: "paint over the ringed tree", act: () => paintWith("tree", "remove"), at: () => first().tree, isDone: () => painted("tree", "remove") },
  door: { text: "Put a door on a wall", hint: "paint where the ring is", act: () => paintWith("door", "insert"), at: () => first().wall, isDone: () => painted("door", "insert") },
  fault: { text: "Switch off the date stamps", hint: "an edit that ships with the model is on now: before and after, side by side", act: switchOff, isDone: () => entries().some((entry) => entry.edit.id === first().fault) },
  many: { text: "See it on 30 images", hint: "the whole patch, the most changed images first", act: () => look({ view: "compare", source: "random" }), isDone: () => false },
};
function switchOff() {
  change("adopt", { edit: first().fault }, "adopt");
  look({ view: "look", seed: first().faulty, to: null, patched: true });
}

export function openSteps() {
  if (!first()) return;
  try { done = new Set(JSON.parse(localStorage[key()] ?? "[]")); } catch { /* private mode */ }
  onView((names) => { if (names.has("view") || names.has("seed") || names.has("brush")) { if (view.view === "compare") finish("many"); show(); } });
  subscribe((what) => { if (what === "state") { for (const name of Object.keys(STEPS)) if (STEPS[name].isDone()) finish(name); show(); } });
  if (bare && !entries().length && !done.size) begin("tree");
  show();
}
const key = () => `ganpatch-steps:${session.now.studio}`;
function finish(name) {
  if (done.has(name)) return;
  done.add(name);
  try { localStorage[key()] = JSON.stringify([...done]); } catch { /* private mode: the line comes back */ }
  for (const listener of listeners) listener();
}
function begin(name) {
  current = name;
  STEPS[name].act();
  if (name === "many") finish(name);
  announce(`${STEPS[name].text}: ${STEPS[name].hint}`);
  show();
  for (const listener of listeners) listener();
}
// Where to paint now, as shares of the image, or null.
export function ringAt() {
  const step = first() && STEPS[current];
  const here = step?.at && !done.has(current) && view.view === "paint" && view.seed === first().seed && view.to === null;
  return here && view.brush === brushOf(current) ? step.at() : null;
}

function show() {
  const left = Object.keys(STEPS).filter((name) => !done.has(name));
  $("steps").hidden = !left.length;
  const hint = current && (!done.has(current) || !STEPS[current].at) ? STEPS[current].hint : "";
  $("steps").replaceChildren(make("b", {}, "Try it:"),
    ...left.map((name) => button(STEPS[name].text, () => begin(name), { "aria-pressed": String(name === current) })),
    make("span", { class: "soft" }, hint), make("span", { class: "push" }),
    button("×", () => { for (const name of left) finish(name); show(); }, { class: "tool", title: "Hide this line", "aria-label": "hide the first steps" }));
}
