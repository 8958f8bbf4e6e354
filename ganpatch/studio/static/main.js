// The studio: opens the session, wires the views, the header and the keys.

import { $, announce, make } from "./dom.js";
import { layerOfBrush, nextBrush, openBrush, resize, swapMode } from "./brush.js";
import { openCompare, others } from "./compare.js";
import { openLook, play } from "./look.js";
import { onRefusal, waitedFor } from "./net.js";
import { newGroup, openPaint, randomSeed, setBefore } from "./paint.js";
import { openPatch } from "./patch.js";
import { anySeed } from "./pictures.js";
import { openQuality } from "./quality.js";
import { giveReason, here, move, moveTo, nextFlagged, openReview, showLayer, toEnd, toggle } from "./review.js";
import { canRedo, canUndo, change, duration, open, session, subscribe, unsent } from "./session.js";
import { openTray, togglePin } from "./tray.js";
import { openUnit } from "./unit.js";
import { openVersions } from "./versions.js";
import { knownLayers, look, onView, point, view } from "./view.js";

const VIEWS = ["review", "paint", "look", "compare"];
const LONG = 700;   // milliseconds after which it is said what is waited for

function showView() {
  if (!VIEWS.includes(view.view)) view.view = "review";
  for (const name of VIEWS) $(name).hidden = name !== view.view;
  for (const one of $("views").querySelectorAll("[data-view]")) one.setAttribute("aria-pressed", one.dataset.view === view.view);
  $("panel").textContent = { paint: "Brush", compare: "Patch" }[view.view] ?? "Unit";
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
  $("lost").textContent = session.alive ? "" : `The studio does not answer. ${waiting ? `${waiting} change${waiting > 1 ? "s are" : " is"} kept here and sent` : "What you flag or paint is kept here and sent"} when it is back: ganpatch studio with the same folder.`;
  $("undo").disabled = !canUndo() || !session.alive;
  $("redo").disabled = !canRedo() || !session.alive;
}
function showWaiting() {
  const long = waitedFor().map(({ what, since }) => [what, performance.now() - since]).filter(([, ms]) => ms > LONG);
  const most = Math.max(...long.map(([, ms]) => ms));
  $("waiting").textContent = long.length && session.alive ? `drawing ${[...new Set(long.map(([what]) => what))].join(", ")} … ${duration(most / 1000)}` : "";
}
function showRefusal(text) {
  $("refused").hidden = !text;
  $("refused").replaceChildren(text, " ", ...(text ? [Object.assign(make("button", { type: "button", class: "tool", "aria-label": "close this message" }, "×"), { onclick: () => showRefusal("") })] : []));
}
function fillLayers() {
  const depth = Math.min(...session.model.layers.map((one) => one.name.split(".").length));
  const flat = session.model.layers.filter((one) => one.size.length === 2 && one.size[0] > 0);
  const groups = [["Layers", flat.filter((one) => one.run || one.name.split(".").length === depth)], ["Inside them", flat.filter((one) => !one.run && one.name.split(".").length !== depth)]];
  $("layer").replaceChildren(...groups.filter(([, list]) => list.length).map(([label, list]) => make("optgroup", { label }, ...list.map((one) => make("option", { value: one.name }, `${one.name} · ${one.units} units, ${one.size.join("×")}${one.run ? "" : " · not ranked"}`)))));
  $("layer").value = view.layer;
}
const undo = () => canUndo() && change("undo", { revision: session.now.revision });
const redo = () => canRedo() && change("redo", { revision: session.now.revision });

const HELP = [["1 2 3 4", "review, paint, look, compare"], ["u, Shift+U", "undo, redo"], ["p", "pin this image"], ["n", "review: next flagged; else another image"], ["b", "before: without the patch"],
  ["j k, ↓ ↑", "next, previous unit"], ["f, space", "flag"], ["r", "reason"], ["h", "heat"], ["/", "show"], ["Enter", "look into the unit's first image"],
  ["[ ]", "smaller, larger brush"], ["x", "remove or insert"], ["c", "next brush"], ["w", "walk between two seeds"], ["Esc", "close; leave a field"]];
function showKeys() {
  $("keys").replaceChildren(make("h2", {}, "Keys"), make("dl", {}, ...HELP.flatMap(([keys, text]) => [make("dt", {}, ...keys.split(/,? /).filter(Boolean).map((key) => make("kbd", {}, key))), make("dd", {}, text)])),
    make("p", { class: "soft" }, "On the painting, arrow keys move the brush and space paints; in Look they move the place that is looked at. On the handle of an edit they move the edit. The address holds what you look at: share it with whoever may open this studio."),
    make("p", { class: "soft" }, make("a", { href: `docs${location.search}`, target: "_blank", rel: "noopener" }, "The routes of this server")),
    make("form", { method: "dialog" }, make("button", { class: "main" }, "Close")));
  $("keys").showModal();
}

const reviewKeys = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1), PageDown: () => move(6), PageUp: () => move(-6), Home: () => moveTo(0), End: toEnd,
  f: () => toggle(), " ": () => toggle(), r: giveReason, h: () => look({ heat: !view.heat }), n: nextFlagged, "/": () => $("filter").select(),
  Enter: () => here() >= 0 && document.querySelector(`.row[data-unit="${view.unit}"] .shot`)?.click(),
};
const paintKeys = { "[": () => resize(-1), "]": () => resize(1), x: swapMode, c: nextBrush, n: randomSeed, Enter: newGroup, b: () => setBefore(true) };
const lookKeys = { f: () => toggle(), n: () => look({ seed: anySeed() }), b: () => look({ patched: !view.patched }), w: play };
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
  if (target.matches("button, summary, input, a") && (event.key === " " || event.key === "Enter" || event.key.startsWith("Arrow"))) return;
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
  const named = view.layer;
  knownLayers(session.model.layers.map((one) => one.name), session.model.default_layer);
  if (!named && layerOfBrush()) look({ layer: layerOfBrush() });
  fillLayers();
  showView();
  for (const openPart of [openTray, openReview, openUnit, openBrush, openPaint, openLook, openCompare, openQuality, openVersions, openPatch]) openPart();
  showLayer();
  onView((names) => {
    if (names.has("view")) { showView(); showPanel(false); announce(view.view); }
    if (names.has("layer")) $("layer").value = view.layer;
  });
  subscribe((what) => { showSaved(); if (what === "model") fillLayers(); });
  onRefusal(showRefusal);
  setInterval(showWaiting, 300);
  showSaved();
  for (const one of $("views").querySelectorAll("[data-view]")) one.onclick = () => look({ view: one.dataset.view });
  $("panel").onclick = () => showPanel(!document.body.classList.contains("panel"));
  $("layer").onchange = (event) => look({ layer: event.target.value, unit: -1 });
  $("undo").onclick = undo;
  $("redo").onclick = redo;
  $("help").onclick = showKeys;
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", (event) => event.key === "b" && setBefore(false));
}
start();
