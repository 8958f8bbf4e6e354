// The brush: what it paints with, how much, how strongly, how large; or the concept that it labels.

import { $, button, choice, counted, make, numberInput, slider } from "./dom.js";
import { download, get } from "./net.js";
import { begin, change, left, session, subscribe } from "./session.js";
import { look, onView, view } from "./view.js";

export const brush = { tool: "edit", strength: 1, radius: 0, erase: false, concept: "" };
const listeners = new Set();
export const onBrush = (listener) => listeners.add(listener);
const parts = {};
let brushes = [];

const LEVELS = { mean: ["mean", "Its mean activation where the concept is"], q99: ["99 %", "A level that one pixel in a hundred exceeds"], q999: ["99.9 %", "A level that one pixel in a thousand exceeds"] };
export const brushBody = () => ({ brush: view.brush, mode: view.mode, count: view.count, level: view.level, strength: brush.strength });

function set(changes) {
  Object.assign(brush, changes);
  for (const listener of listeners) listener();
}

export function openBrush() {
  brush.radius = Math.max(1, Math.round(Math.min(...session.model.image) / 10));
  parts.tool = choice("Tool", [["edit", "Edit", "Strokes change images"], ["label", "Label", "Strokes name a concept; its units become a brush"]], brush.tool, (tool) => { set({ tool }); show(); });
  parts.list = make("div", { class: "brushes", role: "radiogroup", "aria-label": "Brush" });
  parts.unit = numberInput("number of the unit", chooseUnit, { value: Math.max(0, view.unit) });
  parts.mode = choice("Mode", [["remove", "remove", "Take away what its units draw (x)"], ["insert", "insert", "Draw it here: units at a high level (x)"]], view.mode, (mode) => look({ mode }));
  parts.level = choice("Level", Object.entries(LEVELS).map(([name, [text, title]]) => [name, text, title]), view.level, (level) => look({ level }));
  parts.count = choice("Units", [["4", "4"], ["10", "10"], ["20", "20"], ["10000", "all"]], String(view.count), (count) => look({ count: +count }));
  parts.strength = slider("strength", { value: 1, moved: (strength) => set({ strength }), format: (v) => `${Math.round(v * 100)} %` });
  parts.radius = slider("radius", { min: 0.5, max: Math.max(4, Math.min(...session.model.image) / 2), step: 0.5, value: brush.radius, moved: (radius) => set({ radius }), format: (v) => `${v} px` });
  parts.erase = make("input", { type: "checkbox" });
  parts.erase.onchange = () => set({ erase: parts.erase.checked });
  parts.concept = make("input", { placeholder: "concept, as “tree”", list: "concepts", "aria-label": "concept" });
  parts.concept.oninput = () => set({ concept: parts.concept.value.trim() });
  parts.labels = make("div", { class: "labels" });
  onView((names) => {
    if (names.has("view") || names.has("layer")) load();
    else if (names.has("brush")) showList();
    if (["mode", "count", "level"].some((name) => names.has(name))) showChoices();
    if (["brush", "mode", "count", "level", "layer"].some((name) => names.has(name))) set({});
    if (names.has("seed") && brush.tool === "label") showLabels();
  });
  subscribe((what) => {
    if (["state", "model", "again"].includes(what)) load();
    if (what === "jobs" && brush.tool === "label" && view.view === "paint") showLabels();
  });
  show();
  load();
}

export const resize = (by) => { const radius = Math.max(0.5, Math.min(+parts.radius.input.max, brush.radius + by * Math.max(0.5, brush.radius * 0.15))); set({ radius: Math.round(radius * 2) / 2 }); parts.radius.set(brush.radius); };
export const swapMode = () => look({ mode: view.mode === "remove" ? "insert" : "remove" });
export function nextBrush() {
  const names = here().map((one) => one.name);
  if (names.length) look({ brush: names[(names.indexOf(view.brush) + 1) % names.length] });
}

const here = () => brushes.filter((one) => one.layer === view.layer);
const isUnit = () => view.brush.startsWith("unit:");
const unitName = (unit) => `unit:${view.layer}:${unit}`;

async function load() {
  if (view.view !== "paint") return;
  try { brushes = (await get("brushes")).brushes; } catch { return; }
  choose();
  show();
}
// The brush of the address, or of this layer the one for the same thing, the first one, or a unit.
function choose() {
  const named = /^unit:(.+):(\d+)$/.exec(view.brush);
  const known = brushes.find((one) => one.name === view.brush);
  const layer = named?.[1] ?? known?.layer;
  if (layer === view.layer) { if (named) parts.unit.value = named[2]; return; }
  const same = known && here().find((one) => one.label === known.label);
  if (named) parts.unit.value = Math.max(0, view.unit);
  look({ brush: (same ?? here()[0])?.name ?? unitName(Math.max(0, view.unit)) });
}
// The address may name a brush of another layer than it names.
export function layerOfBrush() {
  const layer = /^unit:(.+):\d+$/.exec(view.brush)?.[1] ?? /^(?:concept|agrees:[0-9a-f]{16}):(.+):[^:]+$/.exec(view.brush)?.[1];
  return session.model.layers.some((one) => one.name === layer) ? layer : null;
}

function show() {
  const label = brush.tool === "label";
  $("brush-panel").replaceChildren(
    make("div", { class: "line" }, make("h2", {}, "Brush ", make("small", {}, `of ${view.layer}`)), make("span", { class: "push" }), parts.tool.element),
    ...(label ? [parts.concept, make("datalist", { id: "concepts" }, ...conceptNames().map((value) => make("option", { value }))), parts.radius.element, parts.labels]
      : [parts.list, make("div", { class: "line" }, parts.mode.element, make("span", { class: "push" }), parts.level.element),
        make("div", { class: "line" }, make("span", { class: "soft" }, "units"), parts.count.element), parts.strength.element, parts.radius.element,
        make("label", { class: "line check" }, parts.erase, "erase strokes of this edit")]));
  label ? showLabels() : showList();
  showChoices();
}
const conceptNames = () => [...new Set([...session.now.concepts, ...session.now.content.labels.map((one) => one.concept), ...brushes.filter((one) => one.source !== "flagged").map((one) => one.label), "background"])];

function showList() {
  const focus = document.activeElement?.closest(".brushes input[type=radio]") !== null && parts.list.contains(document.activeElement);
  const rows = here().map((one) => option(one.name, one.label, one.source === "flagged" ? `${one.count} flagged unit${one.count > 1 ? "s" : ""}` : one.source === "causes" ? "causes" : "agrees", `${one.label}: ${one.about}`));
  const own = make("div", { class: "brush" }, radio(isUnit(), chooseUnit, "any unit"), make("span", { class: "what" }, "unit"), parts.unit);
  const none = here().some((one) => one.source !== "flagged") ? null
    : make("p", { class: "soft" }, `No concept of ${view.layer} is known. Open the studio with a folder of ganpatch cause or ganpatch dissect, or label strokes and find their units.`);
  const known = make("div", { class: "known" }, ...rows), at = parts.list.querySelector(".known")?.scrollTop ?? 0;
  parts.list.replaceChildren(known, own, ...(none ? [none] : []));
  known.scrollTop = at;
  const chosen = known.querySelector("label:has(:checked)");
  if (chosen && (chosen.offsetTop < known.scrollTop || chosen.offsetTop + chosen.offsetHeight > known.scrollTop + known.clientHeight)) known.scrollTop = chosen.offsetTop - known.clientHeight / 2;
  if (focus) parts.list.querySelector("input:checked")?.focus();
}
const radio = (checked, chosen, label, title) => { const one = make("input", { type: "radio", name: "brush", checked, "aria-label": label, title }); one.onchange = chosen; return one; };
function option(name, label, about, title) {
  return make("label", { class: "brush", title }, radio(view.brush === name, () => look({ brush: name }), title), make("span", { class: "what" }, label), make("small", { class: "soft" }, about));
}
function chooseUnit() {
  const most = session.model.layers.find((one) => one.name === view.layer).units - 1;
  parts.unit.max = most;
  parts.unit.value = Math.max(0, Math.min(most, Math.floor(+parts.unit.value || 0)));
  look({ brush: unitName(parts.unit.value) });
}

// Modes, and the levels that are known for this brush; those of single units are measured where no ranking has them.
async function showChoices() {
  parts.mode.set(view.mode);
  parts.count.set(String(view.count));
  const levels = isUnit() ? ["q99", "q999"] : brushes.find((one) => one.name === view.brush)?.levels ?? [];
  for (const one of parts.level.element.children) one.hidden = !levels.includes(one.dataset.value);
  parts.level.element.hidden = view.mode !== "insert" || brush.tool === "label";
  parts.level.set(view.level);
  if (view.mode !== "insert" || view.view !== "paint") return;
  if (levels.length && !levels.includes(view.level)) look({ level: levels.includes("q99") ? "q99" : levels[0] });
  const wanted = view.brush;
  if (measured.has(view.layer) || !(isUnit() || !levels.length)) return;
  measured.add(view.layer);
  try { await get(`levels?layer=${encodeURIComponent(view.layer)}&unit=0`); } catch { measured.delete(view.layer); return; }
  if (wanted === view.brush) { await load(); set({}); }
}
const measured = new Set();

// ---- labels --------------------------------------------------------------------------------------------------

function showLabels() {
  const all = session.now.content.labels, mine = all.filter((one) => one.seed === view.seed);
  const concepts = [...new Set(all.map((one) => one.concept))];
  const job = session.jobs.findLast((one) => one.kind === "learn");
  const running = job && ["waiting", "running"].includes(job.state);
  const find = button(`Find units of ${view.layer} for ${concepts.join(", ") || "them"}`, learn, { class: "main", disabled: concepts.length < 2 || running, title: "Which units are active where your strokes are? They become brushes and orders." });
  const told = running ? (job.total ? `${job.done} of ${job.total} images${left(job)}` : "starting …") : job?.state === "failed" ? job.error
    : job?.state === "done" ? `found: ${Object.entries(job.result.concepts).map(([concept, iou]) => `${concept} (IoU up to ${iou.toFixed(2)})`).join(", ")}; they are brushes now` : "";
  parts.labels.replaceChildren(
    ...mine.map((one) => make("p", { class: "line tight soft" }, one.concept, make("span", { class: "push" }), button("×", () => change("unlabel", { label: one.id }), { class: "tool", "aria-label": `remove a stroke for ${one.concept}` }))),
    make("p", { class: "line soft" }, `${counted(all.length, "stroke")} on ${counted(new Set(all.map((one) => one.seed)).size, "image")}`, make("span", { class: "push" }), button("strokes.json", () => download("strokes"), { disabled: !all.length })),
    find,
    make("p", { class: job?.state === "failed" ? "warn" : "soft", role: "status" }, told || (concepts.length < 2 ? "Paint two concepts at least; one may be “background”. A few strokes on two or three images do." : "")));
}
function learn() {
  const n = Math.min(400, session.model.inputs ?? 400);
  begin("learn", { layer: view.layer, n });
}
