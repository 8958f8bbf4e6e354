// The studio: opens the session, wires the views, the header and the keys.

import { $, announce, make } from "./dom.js";
import { nextBrush, openBrush, resize, swapMode } from "./brush.js";
import { openCompare, others } from "./compare.js";
import { knownLayers, look, onView, point, view } from "./view.js";
import { openLook, play } from "./look.js";
import { newGroup, openPaint, randomSeed, setBefore } from "./paint.js";
import { openPatch } from "./patch.js";
import { giveReason, here, move, moveTo, nextFlagged, openReview, showLayer, toEnd, toggle } from "./review.js";
import { change, open, session, subscribe, unsent } from "./session.js";
import { openTray, togglePin } from "./tray.js";
import { openUnit } from "./unit.js";

const VIEWS = ["review", "paint", "look", "compare"];

function showView() {
  if (!VIEWS.includes(view.view)) view.view = "review";
  for (const name of VIEWS) $(name).hidden = name !== view.view;
  for (const one of $("views").querySelectorAll("[data-view]")) one.setAttribute("aria-pressed", one.dataset.view === view.view);
  $("unit-panel").hidden = view.view !== "review" && view.view !== "look";
  $("brush-panel").hidden = view.view !== "paint";
}
function showPanel(on) {
  document.body.classList.toggle("panel", on);
  $("panel").setAttribute("aria-pressed", on);
}
function showSaved() {
  const waiting = unsent();
  $("saved").textContent = !session.alive ? "" : waiting ? "Saving …" : session.fault || "Saved";
  $("saved").classList.toggle("lost", Boolean(session.fault) && !waiting);
  $("lost").hidden = session.alive;
  $("lost").textContent = session.alive ? "" : `The studio does not answer. ${waiting ? `${waiting} change${waiting > 1 ? "s are" : " is"} kept here and sent` : "What you flag is kept here and sent"} when it is back: ganpatch studio with the same folder.`;
  $("undo").disabled = !session.now.can_undo || !session.alive;
  $("redo").disabled = !session.now.can_redo || !session.alive;
}
function fillLayers() {
  const chosen = view.layer || session.model.default_layer;
  const depth = Math.min(...session.model.layers.map((one) => one.name.split(".").length));
  const flat = session.model.layers.filter((one) => one.size.length === 2 && one.size[0] > 0);
  const groups = [["Layers", flat.filter((one) => one.run || one.name.split(".").length === depth)], ["Inside them", flat.filter((one) => !one.run && one.name.split(".").length !== depth)]];
  $("layer").replaceChildren(...groups.filter(([, list]) => list.length).map(([label, list]) => make("optgroup", { label }, ...list.map((one) => make("option", { value: one.name }, `${one.name} · ${one.units} units, ${one.size.join("×")}${one.run ? "" : " · not ranked"}`)))));
  $("layer").value = chosen;
}
const undo = () => session.now.can_undo && change("undo", { revision: session.now.revision });
const redo = () => session.now.can_redo && change("redo", { revision: session.now.revision });

const HELP = [["1 2 3 4", "review, paint, look, compare"], ["u, Shift+U", "undo, redo"], ["p", "pin this image"], ["n", "review: next flagged; else another image"], ["b", "before: without the patch"],
  ["j k, ↓ ↑", "next, previous unit"], ["f, space", "flag"], ["r", "reason"], ["h", "heat"], ["/", "show"], ["Enter", "look into the unit's first image"],
  ["[ ]", "smaller, larger brush"], ["x", "remove or insert"], ["c", "next brush"], ["w", "walk between two seeds"], ["Esc", "close"]];
function showKeys() {
  $("keys").replaceChildren(make("h2", {}, "Keys"), make("dl", {}, ...HELP.flatMap(([keys, text]) => [make("dt", {}, ...keys.split(/,? /).filter(Boolean).map((key) => make("kbd", {}, key))), make("dd", {}, text)])),
    make("p", { class: "soft" }, "On the painting, arrow keys move the brush and space paints. The address holds what you look at: share it with whoever may open this studio."),
    make("form", { method: "dialog" }, make("button", { class: "main" }, "Close")));
  $("keys").showModal();
}

const reviewKeys = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1), PageDown: () => move(6), PageUp: () => move(-6), Home: () => moveTo(0), End: toEnd,
  f: () => toggle(), " ": () => toggle(), r: giveReason, h: () => look({ heat: !view.heat }), n: nextFlagged, "/": () => $("filter").select(),
  Enter: () => here() >= 0 && document.querySelector(`.row[data-unit="${view.unit}"] .shot`)?.click(),
};
const paintKeys = { "[": () => resize(-1), "]": () => resize(1), x: swapMode, c: nextBrush, n: randomSeed, Enter: newGroup, b: () => setBefore(true) };
const lookKeys = { f: () => toggle(), n: () => look({ seed: Math.floor(Math.random() * 100_000) }), b: () => look({ patched: !view.patched }), w: play };
const compareKeys = { n: others };
const keys = { "?": showKeys, u: undo, U: redo, p: () => togglePin(point()), 1: () => look({ view: "review" }), 2: () => look({ view: "paint" }), 3: () => look({ view: "look" }), 4: () => look({ view: "compare" }), Escape: () => showPanel(false) };
const ofView = { review: reviewKeys, paint: paintKeys, look: lookKeys, compare: compareKeys };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = event.target;
  if (target.matches("input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea")) {
    if (event.key === "Escape" || (event.key === "Enter" && target.matches("input"))) target.blur();
    return;
  }
  if (target.matches("button, summary, input") && (event.key === " " || event.key === "Enter" || event.key.startsWith("Arrow"))) return;
  const act = ofView[view.view][event.key] ?? keys[event.key];
  if (act) { event.preventDefault(); act(); }
}

async function start() {
  try { await open(); } catch (fault) {
    $("lost").hidden = false;
    $("lost").textContent = `The studio cannot be opened: ${fault.message}`;
    return;
  }
  $("model").textContent = session.model.name;
  document.title = `${session.model.name} – ganpatch studio`;
  knownLayers(session.model.layers.map((one) => one.name), session.model.default_layer);
  fillLayers();
  showView();
  openTray();
  openReview();
  openUnit();
  openBrush();
  openPaint();
  openLook();
  openCompare();
  openPatch();
  showLayer();
  onView((names) => {
    if (names.has("view")) { showView(); showPanel(false); announce(view.view); }
    if (names.has("layer")) $("layer").value = view.layer;
  });
  subscribe((what) => { showSaved(); if (what === "model") fillLayers(); });
  showSaved();
  for (const one of $("views").querySelectorAll("[data-view]")) one.onclick = () => look({ view: one.dataset.view });
  $("panel").onclick = () => showPanel(!document.body.classList.contains("panel"));
  $("layer").onchange = (event) => look({ layer: event.target.value, unit: 0 });
  $("undo").onclick = undo;
  $("redo").onclick = redo;
  $("help").onclick = showKeys;
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", (event) => event.key === "b" && setBefore(false));
}
start();
