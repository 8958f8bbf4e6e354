// The keys of the review page and of the studio: one map, of which the pages make what they do and their list of keys.
// Keys act on what is shown and never while text is typed.

import { make } from "./dom.js";

// [view in which it acts or "" for all, action, keys, what it does]
export const KEYS = [
  ["review", "next", ["j", "ArrowDown"], "next unit"],
  ["review", "previous", ["k", "ArrowUp"], "previous unit"],
  ["review", "extendNext", ["J", "Shift+ArrowDown"], "select the next unit too"],
  ["review", "extendPrevious", ["K", "Shift+ArrowUp"], "select the previous unit too"],
  ["review", "right", ["ArrowRight"], "grid: one to the right"],
  ["review", "left", ["ArrowLeft"], "grid: one to the left"],
  ["review", "pageDown", ["PageDown"], "one screen down"],
  ["review", "pageUp", ["PageUp"], "one screen up"],
  ["review", "first", ["Home"], "first unit"],
  ["review", "last", ["End"], "last unit"],
  ["review", "flag", ["f", " "], "flag, or take the flag off"],
  ["review", "fine", ["g"], "mark as fine"],
  ["review", "reason", ["r"], "flag and type a reason"],
  ["review", "nextUnseen", ["e"], "next unit not seen yet"],
  ["review", "nextFlagged", ["n"], "next flagged unit"],
  ["review", "where", ["h"], "where it is active: outline, heat, off"],
  ["review", "grid", ["v"], "rows, or a grid of one image per unit"],
  ["review", "fold", ["o"], "fold rows that share most images"],
  ["review", "larger", ["+", "="], "larger images"],
  ["review", "smaller", ["-"], "smaller images"],
  ["review", "share", ["s"], "what the flagged units share"],
  ["review", "filter", ["/"], "show only some units"],
  ["review", "open", ["Enter"], "look at the unit's first image"],
  ["paint", "smaller", ["["], "smaller brush"],
  ["paint", "larger", ["]"], "larger brush"],
  ["paint", "mode", ["x"], "remove or insert"],
  ["paint", "brush", ["c"], "next brush"],
  ["paint", "another", ["n"], "another image"],
  ["paint", "group", ["Enter"], "begin a new edit"],
  ["paint", "before", ["b"], "hold: without the patch"],
  ["look", "flag", ["f"], "flag the unit"],
  ["look", "another", ["n"], "another image"],
  ["look", "before", ["b"], "hold: without the patch"],
  ["look", "walk", ["w"], "walk between two seeds"],
  ["compare", "another", ["n"], "other images"],
  ["", "review", ["1"], "review"],
  ["", "paint", ["2"], "paint"],
  ["", "look", ["3"], "look"],
  ["", "compare", ["4"], "compare"],
  ["", "pin", ["p"], "pin this image"],
  ["", "undo", ["u"], "undo"],
  ["", "redo", ["U"], "redo"],
  ["", "help", ["?"], "this list"],
  ["", "close", ["Escape"], "close; leave a field"],
];
const NAMES = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", " ": "space", Escape: "Esc" };
const ONCE = new Set(["flag", "fine", "reason", "undo", "redo", "pin", "grid", "fold"]);   // held down, they act once

const TEXT = "input:not([type=range]):not([type=checkbox]):not([type=radio]):not([type=button]), select, textarea, [contenteditable]";
export const isText = (element) => Boolean(element?.matches?.(TEXT));

// ---- a field that is asked for ----------------------------------------------------------------------------

const PATIENCE = 1500;   // milliseconds of silence after which keys act again
let deafUntil = 0;
let field = null;        // the text field that has the keys

// Focus a field. Where it cannot be focused, what is typed for it is dropped and is no command.
export function askFor(wanted) {
  wanted?.focus();
  wanted?.select?.();
  if (wanted && document.activeElement === wanted) return true;
  deafUntil = performance.now() + PATIENCE;
  return false;
}
// Whether a key belongs to text that is being typed for a field that is gone, or never was there.
function isLost(event) {
  if (field && !field.isConnected && performance.now() > deafUntil) deafUntil = performance.now() + PATIENCE;
  if (field && !field.isConnected) field = null;
  if (performance.now() > deafUntil) return false;
  deafUntil = ["Enter", "Escape"].includes(event.key) ? 0 : performance.now() + PATIENCE;
  return true;
}

// ---- hearing --------------------------------------------------------------------------------------------------

const nameOf = (event) => (event.shiftKey && event.key.length > 1 ? `Shift+${event.key}` : event.key);
const entryFor = (view, name, actions) => KEYS.find(([where, action, keys]) => keys.includes(name) && (where === view ? actions[where]?.[action] : !where && actions[""]?.[action]));

// Let keys act: `actions` has the functions of each view, by name; `viewNow()` returns the view that is shown.
export function hearKeys(actions, viewNow) {
  document.addEventListener("focusin", (event) => { if (isText(event.target)) field = event.target; });
  document.addEventListener("pointerdown", () => { field = null; deafUntil = 0; });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    if (isText(target)) return leave(event);
    if (isLost(event)) { event.preventDefault(); return; }
    field = null;
    const own = event.key === " " || event.key === "Enter" || (target.matches("input") && event.key.startsWith("Arrow"));
    if (own && target.matches("button, summary, input, a")) return;
    const found = entryFor(viewNow(), nameOf(event), actions);
    if (!found) return;
    event.preventDefault();
    if (!(event.repeat && ONCE.has(found[1]))) actions[found[0]][found[1]](event);
  });
}
function leave(event) {
  if (event.key === "Tab") field = null;
  if (event.key !== "Escape" && !(event.key === "Enter" && event.target.matches("input"))) return;
  field = null;
  event.target.blur();
}

// ---- the list of keys -------------------------------------------------------------------------------------

const TITLES = { review: "Review", paint: "Paint", look: "Look", compare: "Compare", "": "Everywhere" };

// Fill a dialog with the keys that this page has; `notes` are below them. Esc closes it, as it closes any dialog.
export function fillKeys(dialog, actions, notes = []) {
  const lists = Object.keys(TITLES).filter((where) => actions[where]).map((where) => make("section", {},
    make("h3", {}, TITLES[where]),
    make("dl", {}, ...KEYS.filter(([view, action]) => view === where && actions[view][action]).flatMap(([, , keys, text]) => [
      make("dt", {}, ...keys.map((key) => make("kbd", {}, key.replace(/^(Shift\+)?(.+)$/, (_, shift, name) => `${shift ? "⇧" : ""}${NAMES[name] ?? name}`)))), make("dd", {}, text)]))));
  dialog.replaceChildren(make("h2", {}, "Keys"), make("div", { class: "keys" }, ...lists), ...notes,
    make("form", { method: "dialog" }, make("button", { class: "main" }, "Close")));
}
