// The studio: opens the session, wires the views, the header and the keys.

import { $, announce, make } from "./dom.js";
import { layerOfBrush, nextBrush, openBrush, resize, swapMode } from "./brush.js";
import { openCompare, others } from "./compare.js";
import { openLook, play } from "./look.js";
import { fillKeys, hearKeys } from "./keys.js";
import { onRefusal, waitedFor } from "./net.js";
import { newGroup, openPaint, randomSeed, setBefore } from "./paint.js";
import { openPatch } from "./patch.js";
import { anySeed } from "./pictures.js";
import { openQuality } from "./quality.js";
import { openReview, reviewActions, showLayer, toggle } from "./review.js";
import { canRedo, canUndo, change, duration, open, session, subscribe, unsent } from "./session.js";
import { openSteps } from "./steps.js";
import { openTray, togglePin } from "./tray.js";
import { openUnit } from "./unit.js";
import { openVersions } from "./versions.js";
import { knownLayers, look, onView, point, view } from "./view.js";

const VIEWS = ["review", "paint", "look", "compare"];
const LONG = 700;   // milliseconds after which the page shows what it waits for

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

// What the keys do, by view; keys.js knows which key is which, and lists those that are here.
const actions = {
  paint: { smaller: () => resize(-1), larger: () => resize(1), mode: swapMode, brush: nextBrush, another: randomSeed, group: newGroup, before: () => setBefore(true) },
  look: { flag: () => toggle(), another: () => look({ seed: anySeed() }), before: () => look({ patched: false }), walk: play },
  compare: { another: others },
  "": { ...Object.fromEntries(VIEWS.map((name) => [name, () => look({ view: name })])), pin: () => togglePin(point()), undo, redo, help: showKeys, close },
};
function close() {
  if (!$("refused").hidden) showRefusal(""); else showPanel(false);
}
function released(event) {
  if (event.key !== "b") return;
  setBefore(false);
  if (view.view === "look") look({ patched: true });
}
function showKeys() {
  fillKeys($("keys"), actions, [
    make("p", { class: "soft" }, "Shift and a click select a range of units: f and g then act on all of it. On the painting, arrow keys move the brush and space paints; in Look they move the place that is looked at; on the handle of an edit they move the edit. The address holds what you look at: share it with whoever may open this studio."),
    make("p", { class: "soft" }, make("a", { href: `docs${location.search}`, target: "_blank", rel: "noopener" }, "The routes of this server"))]);
  $("keys").showModal();
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
  openSteps();
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
  actions.review = reviewActions();
  hearKeys(actions, () => view.view);
  document.addEventListener("keyup", released);
  $("keys").addEventListener("click", (event) => event.target === $("keys") && $("keys").close());
}
start();
