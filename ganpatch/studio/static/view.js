// What is looked at, in the address: a view is shared by its URL.

import { USUAL } from "./reviewing.js";

const usual = {
  view: "review", layer: "", ...USUAL, seed: 0, to: null, t: 0, shots: "top", after: "unit", patched: true,
  brush: "", mode: "remove", count: 10, level: "q99", source: "random", page: 0,
};
export const view = { ...usual };
const listeners = new Set();
export const onView = (listener) => listeners.add(listener);

// The layer that is meant where the address names none; `known` are those there are.
let layers = [];
export function knownLayers(names, usually) {
  layers = names;
  usual.layer = usually;
  if (!layers.includes(view.layer)) view.layer = usually;
}

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(usual)) {
    const text = given.get(name);
    if (text === null) { view[name] = value; continue; }
    if (typeof value === "number") view[name] = Number.isFinite(+text) ? Math.max(0, name === "t" ? Math.min(1, +text) : Math.floor(+text)) : value;
    else if (typeof value === "boolean") view[name] = text === "1";
    else if (name === "to") view.to = /^\d+$/.test(text) ? +text : null;
    else view[name] = text;
  }
  if (layers.length && !layers.includes(view.layer)) view.layer = usual.layer;
}

// Change what is looked at; listeners get the names of what has changed.
export function look(changes) {
  const names = Object.keys(changes).filter((name) => view[name] !== changes[name]);
  if (!names.length) return;
  Object.assign(view, changes);
  write();
  for (const listener of listeners) listener(new Set(names));
}
function write() {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(usual)) {
    if (view[name] !== value && view[name] !== null) parts.set(name, typeof value === "boolean" ? (view[name] ? "1" : "0") : view[name]);
  }
  history.replaceState(null, "", `${location.pathname}${location.search}#${parts}`);
}
export const point = () => (view.to === null ? { seed: view.seed } : { seed: view.seed, to: view.to, t: view.t });

addEventListener("hashchange", () => {
  read();
  for (const listener of listeners) listener(new Set(Object.keys(usual)));
});
read();
