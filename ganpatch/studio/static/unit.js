// One unit, live: its images before and after, how much of it is replaced, and above which activation.

import { $, choice, debounced, make, slider } from "./dom.js";
import { Stream, drawCut, get, imagesBody } from "./net.js";
import { ranking, setFlag } from "./review.js";
import { change, entryOf, numberOf, reasonOf, session, subscribe, unsent } from "./session.js";
import { short } from "./units.js";
import { look, onView, view } from "./view.js";

const COUNT = 8;
const before = new Stream(), after = new Stream();
const parts = {};
let trial = { alpha: 1, value: 0, above: null };
let levels = null;
let page = 0;
let shownFor = "";
let touched = false;   // numbers were moved and are not in the session yet

export function openUnit() {
  const panel = $("unit-panel");
  parts.title = make("h2");
  parts.flag = make("button", { type: "button", class: "flag" }, "flag");
  parts.flag.onclick = () => setFlag(view.unit, reasonOf(view.layer, view.unit) === null ? parts.reason.value.trim() : null);
  parts.reason = make("input", { placeholder: "reason", list: "reasons", "aria-label": "reason" });
  parts.reason.onchange = () => reasonOf(view.layer, view.unit) !== null && setFlag(view.unit, parts.reason.value.trim());
  parts.shots = choice("Images", [["top", "top", "The images that activate it most"], ["random", "random", "Random images; press again for others"], ["pinned", "pinned", "The tray"]], view.shots, (name) => {
    if (name === view.shots && name === "random") { page += 1; drawImages(); } else look({ shots: name });
  });
  parts.pairs = make("div", { class: "pairs" });
  parts.alpha = slider("replaced", { value: 1, moved: (alpha) => tried({ alpha }), settled: kept, format: (v) => `${Math.round(v * 100)} %` });
  parts.histogram = make("div", { class: "histogram", "aria-hidden": "true" });
  parts.gated = make("input", { type: "checkbox" });
  parts.gated.onchange = () => { tried({ above: parts.gated.checked ? +parts.above.value : null }); kept(); };
  parts.above = make("input", { type: "range", "aria-label": "only above this activation", step: "any", min: 0, max: 1 });
  parts.above.oninput = () => { parts.gated.checked = true; tried({ above: +parts.above.value }); };
  parts.above.onchange = kept;
  parts.gate = make("output");
  panel.replaceChildren(
    make("div", { class: "line" }, parts.title, make("span", { class: "push" }), parts.flag),
    parts.reason,
    make("div", { class: "line" }, parts.shots.element, make("span", { class: "push" }), make("span", { class: "soft", id: "unit-ms" })),
    parts.pairs,
    parts.alpha.element,
    parts.histogram,
    parts.above,
    make("label", { class: "line check" }, parts.gated, "only where above", parts.gate),
  );
  onView((names) => (names.has("unit") || names.has("layer") || names.has("shots") || names.has("view")) && later());
  subscribe((what) => { if (what === "state" || what === "pending") showNumbers(); if (what === "ranking") { shownFor = ""; later(); } });
  later();
}
const later = debounced(() => { $("unit-panel").hidden || show(); }, 30);

const shapeOf = (layer) => session.model.layers.find((one) => one.name === layer);

function show() {
  const shape = shapeOf(view.layer);
  if (!shape || view.unit >= shape.units) return;
  const what = `${view.layer}/${view.unit}/${view.shots}/${view.shots === "pinned" ? session.now.pins.length : ""}`;
  if (what === shownFor) return;
  shownFor = what;
  parts.title.textContent = `Unit ${view.unit}`;
  parts.title.append(make("small", {}, ` of ${view.layer}`));
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
  askAfter();
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
  if (view.shots === "pinned" && session.now.pins.length) return session.now.pins.slice(-COUNT);
  const ranked = ranking(view.layer);
  if (view.shots !== "random" && ranked) return ranked.data.units[view.unit].slice(0, COUNT).map((seed) => ({ seed }));
  return Array.from({ length: COUNT }, (_, index) => ({ seed: 20_000 + page * COUNT + index }));
}
let now = [];
function drawImages() {
  now = points();
  parts.pairs.replaceChildren(...now.map((point) => {
    const pair = make("figure", { class: "pair" }, make("canvas", { class: "before" }), make("canvas", { class: "after" }));
    const open = make("button", { type: "button", class: "plain", title: `seed ${point.seed}: look into it`, "aria-label": `look into seed ${point.seed}` }, pair);
    open.onclick = () => look({ view: "look", seed: point.seed, to: point.to ?? null, t: point.t ?? 0 });
    return open;
  }));
  const asked = now;
  before.ask("images", imagesBody(asked, { largest: 128, stream: "unit-before" }), (sheet) => sheet && asked === now && draw(".before", sheet, asked.length));
  askAfter();
}
function askAfter() {
  const asked = now;
  const unit = { layer: view.layer, unit: view.unit, ...trial };
  after.ask("images", imagesBody(asked, { largest: 128, unit, stream: "unit-after" }), (sheet, ms) => {
    if (!sheet || asked !== now) return;
    draw(".after", sheet, asked.length);
    $("unit-ms").textContent = `${Math.round(ms)} ms`;
  });
}
const draw = (which, sheet, count) => parts.pairs.querySelectorAll(which).forEach((canvas, index) => drawCut(canvas, sheet, count, index));

// ---- the histogram -----------------------------------------------------------------------------------------

const askLevels = debounced(async (layer, unit) => {
  try { levels = await get(`levels?layer=${encodeURIComponent(layer)}&unit=${unit}`); } catch { levels = null; return; }
  if (layer !== view.layer || unit !== view.unit) { levels = null; return; }
  const [low, high] = [Math.min(0, levels.low), levels.high];
  parts.above.min = low;
  parts.above.max = high;
  showGate();
}, 150);

function showGate() {
  parts.gated.checked = trial.above !== null;
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
  parts.histogram.replaceChildren(...bars);
  const share = counts.reduce((sum, count, index) => sum + (low + (index + 0.5) * span > level ? count : 0), 0) / total;
  parts.gate.textContent = trial.above === null ? "everywhere" : `${short(trial.above)} · ${share < 0.01 ? (share * 100).toPrecision(1) : Math.round(share * 100)} % of its pixels`;
}
