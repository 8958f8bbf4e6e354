// One unit, live: its images before and after, alone or with the whole patch; how much of it is replaced, and above
// which activation.

import { $, choice, debounced, make, numberInput, slider } from "./dom.js";
import { Stream, get } from "./net.js";
import { atMost, drawAll, drawCut, drawOn, freshPoints } from "./pictures.js";
import { ranking, setFlag } from "./review.js";
import { change, entryOf, numberOf, reasonOf, session, subscribe, unsent } from "./session.js";
import { short } from "./units.js";
import { look, onView, view } from "./view.js";

const COUNT = 8;
const before = new Stream("unit-before", "images of the unit"), after = new Stream("unit-after", "images without the unit");
const parts = {};
let trial = { alpha: 1, value: 0, above: null };
let levels = null;
let page = 0;
let shownFor = "";
let touched = false;   // numbers were moved and are not in the session yet

export function openUnit() {
  const panel = $("unit-panel");
  parts.unit = numberInput("number of the unit", (unit) => look({ unit: Math.min(unit, shapeOf(view.layer).units - 1) }));
  parts.layer = make("small");
  parts.flag = make("button", { type: "button", class: "flag" }, "flag");
  parts.flag.onclick = () => setFlag(view.unit, reasonOf(view.layer, view.unit) === null ? parts.reason.value.trim() : null);
  parts.reason = make("input", { placeholder: "reason", list: "reasons", "aria-label": "reason" });
  parts.reason.onchange = () => reasonOf(view.layer, view.unit) !== null && setFlag(view.unit, parts.reason.value.trim());
  parts.shots = choice("Images", [["top", "top", "The images that activate it most"], ["random", "random", "Random images; press again for others"], ["pinned", "pinned", "The tray"]], view.shots, (name) => {
    if (name === view.shots && name === "random") { page += 1; drawImages(); } else look({ shots: name });
  });
  parts.after = choice("After", [["unit", "unit", "Below: with this unit alone replaced"], ["patch", "patch", "Below: with the whole current patch"]], view.after, (name) => look({ after: name }));
  parts.pairs = make("div", { class: "pairs" });
  parts.alpha = slider("replaced", { value: 1, moved: (alpha) => tried({ alpha }), settled: kept, format: (v) => `${Math.round(v * 100)} %` });
  parts.histogram = make("div", { class: "histogram", "aria-hidden": "true" });
  parts.gated = make("input", { type: "checkbox" });
  parts.gated.onchange = () => { tried({ above: parts.gated.checked ? +parts.above.value : null }); kept(); };
  parts.above = make("input", { type: "range", "aria-label": "only above this activation", step: "any", min: 0, max: 1 });
  parts.above.oninput = () => tried({ above: +parts.above.value });
  parts.above.onchange = kept;
  parts.gate = make("output");
  panel.replaceChildren(
    make("div", { class: "line" }, make("h2", {}, "Unit ", parts.unit, parts.layer), make("span", { class: "push" }), parts.flag),
    parts.reason,
    make("div", { class: "line" }, parts.shots.element, make("span", { class: "push" }), parts.after.element),
    parts.pairs,
    make("p", { class: "soft", id: "unit-ms" }),
    parts.alpha.element,
    parts.histogram,
    parts.above,
    make("label", { class: "line check" }, parts.gated, "only where above", parts.gate),
  );
  dragLevel();
  onView((names) => {
    if (names.has("after")) { parts.after.set(view.after); askAfter(); }
    if (["unit", "layer", "shots", "view"].some((name) => names.has(name))) later();
  });
  subscribe((what) => {
    if (what === "state" || what === "pending") showNumbers();
    if (what === "state" && view.after === "patch" && !panel.hidden) askAfter();
    if (what === "ranking" || what === "again") { shownFor = ""; later(); }
  });
  later();
}
const later = debounced(() => { if ($("unit-panel").hidden) { before.stop(); after.stop(); } else show(); }, 30);

const shapeOf = (layer) => session.model.layers.find((one) => one.name === layer);

function show() {
  const shape = shapeOf(view.layer);
  if (!shape || view.unit < 0 || view.unit >= shape.units) return;
  const what = `${view.layer}/${view.unit}/${view.shots}/${view.shots === "pinned" ? session.now.pins.length : ""}`;
  if (what === shownFor) { if (!parts.pairs.dataset.drawn) drawImages(); return; }
  shownFor = what;
  parts.unit.max = shape.units - 1;
  if (document.activeElement !== parts.unit) parts.unit.value = view.unit;
  parts.layer.textContent = `of ${view.layer}`;
  parts.shots.set(view.shots);
  levels = null;
  touched = false;
  trial = { alpha: 1, value: 0, above: null };
  showNumbers();
  drawImages();
  askLevels(view.layer, view.unit);
}

function showNumbers() {
  const entry = entryOf(view.layer, view.unit);
  const reason = reasonOf(view.layer, view.unit);
  if (entry && touched) kept();
  else if (entry && !unsent()) trial = Object.fromEntries(["alpha", "value", "above"].map((name) => [name, numberOf(entry.edit, name, view.unit)]));
  parts.flag.setAttribute("aria-pressed", reason !== null);
  parts.flag.textContent = reason === null ? "flag" : "flagged";
  if (document.activeElement !== parts.reason) parts.reason.value = reason ?? "";
  parts.alpha.set(trial.alpha);
  showGate();
}

function tried(numbers) {
  Object.assign(trial, numbers);
  touched = true;
  showGate();
  if (view.after !== "unit") look({ after: "unit" }); else askAfter();
}
// Keep the numbers where the unit is flagged, or once it is; till then they are only tried.
function kept() {
  const entry = entryOf(view.layer, view.unit);
  if (!entry || unsent()) return;
  touched = false;
  const fields = { edit: entry.edit.id, rev: entry.rev, unit: view.unit, alpha: trial.alpha };
  const gate = numberOf(entry.edit, "above", view.unit);
  if (trial.above !== gate) { fields.above = trial.above; fields.gated = trial.above !== null; }
  if (trial.alpha !== numberOf(entry.edit, "alpha", view.unit) || "gated" in fields) change("tune", fields);
}

// ---- images ----------------------------------------------------------------------------------------------

function points() {
  const count = atMost(COUNT);
  if (view.shots === "pinned" && session.now.pins.length) return session.now.pins.slice(-count);
  const ranked = ranking(view.layer);
  if (view.shots !== "random" && ranked) return ranked.data.units[view.unit].slice(0, count).map((seed) => ({ seed }));
  return freshPoints(count, page);
}
let now = [];
function drawImages() {
  now = points();
  parts.pairs.replaceChildren(...now.map((point) => {
    const pair = make("figure", { class: "pair" }, make("canvas", { class: "before" }), make("canvas", { class: "after" }));
    const open = make("button", { type: "button", class: "plain", title: `seed ${point.seed}: look into it`, "aria-label": `look into seed ${point.seed}, before and after` }, pair);
    open.onclick = () => look({ view: "look", seed: point.seed, to: point.to ?? null, t: point.t ?? 0 });
    return open;
  }));
  delete parts.pairs.dataset.drawn;
  drawAll(before, now, { largest: 128 }, draw(".before"));
  askAfter(drawAll);
}
function askAfter(drawNow = drawOn) {
  if (view.unit < 0) return;
  const unit = { layer: view.layer, unit: view.unit, ...trial };
  const more = view.after === "patch" ? { patch: true } : { unit };
  const drawn = draw(".after");
  drawNow(after, now, { largest: 128, ...more }, (sheet, count, start, ms) => {
    drawn(sheet, count, start);
    parts.pairs.dataset.drawn = "";
    $("unit-ms").textContent = `below: with ${view.after === "patch" ? "the whole patch" : "this unit replaced"} · ${Math.round(ms)} ms`;
  });
}
const draw = (which) => (sheet, count, start) => [...parts.pairs.querySelectorAll(which)].slice(start, start + count).forEach((canvas, index) => drawCut(canvas, sheet, count, index));

// ---- the histogram -----------------------------------------------------------------------------------------

const askLevels = debounced(async (layer, unit) => {
  let found = null;
  try { found = await get(`levels?layer=${encodeURIComponent(layer)}&unit=${unit}`); } catch { return; }
  if (layer !== view.layer || unit !== view.unit) return;
  levels = found;
  parts.above.min = levels.low;
  parts.above.max = levels.high;
  showGate();
}, 150);

// The level can be drawn over the histogram or moved with its slider.
function dragLevel() {
  const bars = parts.histogram;
  const at = (event) => {
    const box = bars.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    tried({ above: levels.low + share * (levels.high - levels.low) });
  };
  bars.addEventListener("pointerdown", (event) => { if (levels && !event.button) { bars.setPointerCapture(event.pointerId); at(event); event.preventDefault(); } });
  bars.addEventListener("pointermove", (event) => bars.hasPointerCapture(event.pointerId) && at(event));
  bars.addEventListener("pointerup", () => levels && kept());
}

function showGate() {
  parts.gated.checked = trial.above !== null;
  parts.above.disabled = parts.gated.disabled = !levels;
  if (!levels) { parts.gate.textContent = ""; parts.histogram.replaceChildren(make("span", { class: "soft" }, "measuring activations …")); return; }
  parts.above.value = trial.above ?? levels.q99;
  const { low, high, counts } = levels;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const most = Math.max(...counts);
  const span = (high - low) / counts.length;
  const level = trial.above ?? -Infinity;
  const bars = counts.map((count, index) => {
    const bar = make("i", { class: low + (index + 0.5) * span > level ? "above" : "" });
    bar.style.height = `${100 * Math.sqrt(count / most)}%`;
    return bar;
  });
  const mark = make("u", { hidden: trial.above === null });
  mark.style.left = `${(100 * (level - low)) / (high - low)}%`;
  parts.histogram.replaceChildren(...bars, mark);
  const share = counts.reduce((sum, count, index) => sum + (low + (index + 0.5) * span > level ? count : 0), 0) / total;
  parts.gate.textContent = trial.above === null ? "everywhere" : `${short(trial.above)} · ${share < 0.01 ? (share * 100).toPrecision(1) : Math.round(share * 100)} % of its pixels`;
}
