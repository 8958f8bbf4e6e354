// The brush: what it paints with, how much, how strongly, how large; or the concept that it labels.

import { $, button, choice, make, slider } from "./dom.js";
import { download, get } from "./net.js";
import { change, session, subscribe } from "./session.js";
import { look, onView, view } from "./view.js";

export const brush = { tool: "edit", name: "", mode: "remove", count: 10, strength: 1, radius: 0, erase: false, concept: "" };
const listeners = new Set();
export const onBrush = (listener) => listeners.add(listener);
const parts = {};
let brushes = [];

export const brushBody = () => ({ brush: brush.name, mode: brush.mode, count: brush.count, strength: brush.strength });

function set(changes) {
  Object.assign(brush, changes);
  if ("name" in changes) look({ brush: brush.name });
  for (const listener of listeners) listener();
}

export function openBrush() {
  brush.radius = Math.max(1, Math.round(Math.min(...session.model.image) / 10));
  parts.tool = choice("Tool", [["edit", "Edit", "Strokes change images"], ["label", "Label", "Strokes name a concept for dissect"]], brush.tool, (tool) => { set({ tool }); show(); });
  parts.list = make("div", { class: "brushes", role: "radiogroup", "aria-label": "Brush" });
  parts.layer = make("select", { "aria-label": "layer of the unit" });
  parts.unit = make("input", { type: "number", min: 0, step: 1, class: "seed", "aria-label": "number of the unit" });
  parts.layer.onchange = parts.unit.onchange = chooseUnit;
  parts.mode = choice("Mode", [["remove", "remove", "Take away what its units draw (x)"], ["insert", "insert", "Draw it here: units at their high level (x)"]], brush.mode, (mode) => set({ mode }));
  parts.count = choice("Units", [["4", "4"], ["10", "10"], ["20", "20"], ["10000", "all"]], String(brush.count), (count) => set({ count: +count }));
  parts.strength = slider("strength", { value: 1, moved: (strength) => set({ strength }), format: (v) => `${Math.round(v * 100)} %` });
  parts.radius = slider("radius", { min: 0.5, max: Math.max(4, Math.min(...session.model.image) / 2), step: 0.5, value: brush.radius, moved: (radius) => set({ radius }), format: (v) => `${v} px` });
  parts.erase = make("input", { type: "checkbox" });
  parts.erase.onchange = () => set({ erase: parts.erase.checked });
  parts.concept = make("input", { placeholder: "concept, as “tree”", list: "concepts", "aria-label": "concept" });
  parts.concept.oninput = () => set({ concept: parts.concept.value.trim() });
  parts.labels = make("div");
  onView((names) => { if (names.has("view") && view.view === "paint") load(); if (names.has("brush")) { brush.name = view.brush; load(); } });
  subscribe((what) => (what === "state" || what === "model") && view.view === "paint" && load());
  brush.name = view.brush;
  show();
  load();
}

export const resize = (by) => { const radius = Math.max(0.5, Math.min(+parts.radius.input.max, brush.radius + by * Math.max(0.5, brush.radius * 0.15))); set({ radius: Math.round(radius * 2) / 2 }); parts.radius.set(brush.radius); };
export const swapMode = () => { set({ mode: brush.mode === "remove" ? "insert" : "remove" }); parts.mode.set(brush.mode); };
export function nextBrush() {
  const names = brushes.map((one) => one.name);
  if (names.length) { set({ name: names[(names.indexOf(brush.name) + 1) % names.length] }); showList(); }
}

async function load() {
  if (view.view !== "paint") return;
  try { brushes = (await get("brushes")).brushes; } catch { return; }
  if (!brush.name && brushes.length) set({ name: brushes[0].name });
  if (!brush.name) { parts.unit.value = view.unit; fillLayers(); chooseUnit(); }
  show();
}

function show() {
  const label = brush.tool === "label";
  fillLayers();
  $("brush-panel").replaceChildren(
    make("div", { class: "line" }, make("h2", {}, "Brush"), make("span", { class: "push" }), parts.tool.element),
    ...(label ? [parts.concept, make("datalist", { id: "concepts" }, ...conceptNames().map((value) => make("option", { value }))), parts.radius.element, parts.labels]
      : [parts.list, make("div", { class: "line" }, parts.mode.element, make("span", { class: "push" }), make("span", { class: "soft" }, "units"), parts.count.element), parts.strength.element, parts.radius.element,
        make("label", { class: "line check" }, parts.erase, "erase strokes of this edit")]));
  label ? showLabels() : showList();
}
const conceptNames = () => [...new Set([...session.now.concepts, ...session.now.content.labels.map((one) => one.concept), ...brushes.filter((one) => one.source === "concept").map((one) => one.label)])];

function showList() {
  const rows = brushes.map((one) => option(one.name, one.label, `${one.layer}, ${one.units.length} unit${one.units.length > 1 ? "s" : ""}${one.source === "concept" ? "" : ", flagged"}`));
  const own = make("div", { class: "brush" }, radio(isUnit(), chooseUnit, "any unit"), make("span", { class: "what" }, "unit"), parts.unit, "of", parts.layer);
  parts.list.replaceChildren(...rows, own);
}
const isUnit = () => brush.name.startsWith("unit:");
const radio = (checked, chosen, label) => { const one = make("input", { type: "radio", name: "brush", checked, "aria-label": label }); one.onchange = chosen; return one; };
function option(name, label, about) {
  return make("label", { class: "brush" }, radio(brush.name === name, () => { set({ name }); }, label), make("span", { class: "what" }, label), make("small", { class: "soft" }, about));
}
function fillLayers() {
  if (!parts.layer.children.length) {
    parts.layer.append(...session.model.layers.filter((one) => one.size.length === 2).map((one) => make("option", { value: one.name }, one.name)));
    const [, layer, unit] = /^unit:(.+):(\d+)$/.exec(brush.name) ?? [];
    parts.layer.value = layer ?? (view.layer || session.model.default_layer);
    parts.unit.value = unit ?? view.unit;
  }
}
function chooseUnit() {
  const shape = session.model.layers.find((one) => one.name === parts.layer.value);
  parts.unit.max = shape.units - 1;
  parts.unit.value = Math.max(0, Math.min(shape.units - 1, Math.floor(+parts.unit.value || 0)));
  set({ name: `unit:${shape.name}:${parts.unit.value}` });
  showList();
}
export function paintUnit(layer, unit) {
  fillLayers();
  parts.layer.value = layer;
  parts.unit.value = unit;
  chooseUnit();
}

function showLabels() {
  const labels = session.now.content.labels.filter((one) => one.seed === view.seed);
  parts.labels.replaceChildren(
    ...labels.map((one) => make("p", { class: "line tight soft" }, one.concept, make("span", { class: "push" }), button("×", () => change("unlabel", { label: one.id }), { class: "tool", "aria-label": `remove a stroke for ${one.concept}` }))),
    make("p", { class: "line soft" }, `${session.now.content.labels.length} strokes on ${new Set(session.now.content.labels.map((one) => one.seed)).size} images`, make("span", { class: "push" }), button("strokes.json", () => download("strokes"), { disabled: !session.now.content.labels.length })));
}
