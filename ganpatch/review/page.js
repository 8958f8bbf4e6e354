// The review page: the units of a run with their top images, readable from disk. Flags are kept in the browser, and on
// the server if one serves the page.

import { $, counted, make } from "./dom.js";
import { fillKeys, hearKeys } from "./keys.js";
import { Marks } from "./marks.js";
import { Reviewing, USUAL, sourceOf } from "./reviewing.js";
import { activityOf } from "./rows.js";
import { setsOf } from "./sets.js";
import { placeShot } from "./thumbnails.js";
import { short, spans } from "./units.js";
import { VerdictStore } from "./verdict_store.js";

const run = window.ganpatchRun;
const token = new URLSearchParams(location.search).get("token");
const layers = run.layers.map((facts) => ({ ...facts, source: null }));
const store = new VerdictStore(run, token, () => { review.repaint(); showOut(); }, say);
const marks = new Marks(run.run);
const state = Object.assign(store.state, { ...USUAL, layer: 0, ...store.state });
const layer = () => layers[state.layer];

const review = new Reviewing({
  state, look, open: lookCloser, marks: () => marks,
  flags: {
    reasonOf: (unit) => store.reasonOf(layer().name, unit), all: () => store.units(layer().name), reasons: () => store.reasons(),
    set: (changes) => store.set(layer().name, changes),
  },
  units: () => layer().units, flaggedEverywhere: () => store.all().length,
  command: () => `ganpatch suggest ${quoted(folder())}`,
  todo: "Look along each row for a fault that its images share, and flag the unit (f). Then copy the command that makes the patch.",
});
function look(changes) {
  const names = new Set(Object.keys(changes).filter((name) => state[name] !== changes[name]));
  if (!names.size) return;
  Object.assign(state, changes);
  store.keep();
  review.changed(names);
}

// ---- data: one script per layer, so that the page also works from disk ---------------------------------------

window.ganpatchLayer = (index, data) => {
  const { name, map_size: map } = layers[index];
  const orders = Object.entries(data.suggested).map(([method, scores]) => ({ name: `suggested: ${method}`, explains: run.suggested[method], scores }));
  layers[index].source = sourceOf({ run: { ...run, k: layers[index].k }, data, orders, map, urlOf: served, layer: name });
  if (index === state.layer) showLayer();
};
function wantLayer(index) {
  if (index !== state.layer) Object.assign(state, { layer: index, unit: -1 });
  store.keep();
  if (layer().source) return showLayer();
  const script = make("script", { src: served(`layer-${index}.js`) });
  script.onerror = () => { $("none").hidden = false; $("none").textContent = `layer-${index}.js is missing in the run folder.`; };
  document.head.append(script);
}
const served = (file) => (token ? `${file}?token=${encodeURIComponent(token)}` : file);
function showLayer() {
  [...$("layers").children].forEach((button, index) => button.setAttribute("aria-pressed", index === state.layer));
  $("none").hidden = true;
  review.show(layer().source);
  showOut();
}

// ---- out -------------------------------------------------------------------------------------------------------

const folder = () => (location.protocol === "file:" ? decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "") : run.folder);
function command() {
  const flags = store.all();
  const alike = new Set(flags.map((flag) => JSON.stringify([flag.layer, flag.reason]))).size === 1;
  if (token) return `ganpatch flag ${quoted(folder())} -o fix.yaml`;
  if (!alike) return `ganpatch flag ${quoted(folder())} --verdicts ${quoted(fileName())} -o fix.yaml`;
  const reason = flags[0].reason ? ` --reason ${quoted(flags[0].reason)}` : "";
  return `ganpatch flag ${quoted(folder())} --layer ${quoted(flags[0].layer)} --units ${spans(flags.map((flag) => flag.unit))}${reason} -o fix.yaml`;
}
const quoted = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const fileName = () => `verdicts-${run.model}.json`;
const copySet = (name) => copy(`ganpatch flag ${quoted(folder())} --suggested ${name} -o fix.yaml`);
async function copy(text = command()) {
  try { await navigator.clipboard.writeText(text); } catch { prompt("Copy this command:", text); return; }
  say(text.includes("--verdicts") ? "Copied. Download the verdicts too: the command reads them" : "Copied");
}
function download() {
  const link = make("a", { download: fileName() });
  link.href = URL.createObjectURL(new Blob([JSON.stringify(store.verdicts(), null, 1) + "\n"], { type: "application/json" }));
  link.click();
  URL.revokeObjectURL(link.href);
}
function say(text, lost = false) {
  $("saved").textContent = text;
  $("saved").classList.toggle("lost", lost);
}
function showOut() {
  $("undo").disabled = !store.canUndo;
  $("copy").disabled = $("download").disabled = !store.all().length;
}
function undo() {
  const last = store.undo();
  if (!last) return;
  const index = layers.findIndex(({ name }) => name === last.layer);
  if (index !== state.layer) { wantLayer(index); state.unit = last.unit; if (layer().source) showLayer(); } else look({ unit: last.unit });
  showOut();
}

// ---- closer look -------------------------------------------------------------------------------------------------

function lookCloser(unit, place) {
  const { source } = layer(), { thumbnails } = run;
  const zoom = Math.max(1, Math.floor(Math.min(420, innerWidth * 0.42) / thumbnails.width));
  const seed = source.data.units[unit][place];
  const where = state.where === "heat" ? "heat" : "outline";
  const figures = [false, true].map((covered) => {
    const shot = make("div", { class: "shot" });
    placeShot(shot, thumbnails, seed, zoom, served);
    if (covered) shot.append(activityOf(source, unit, place, where, zoom));
    const text = covered ? `where unit ${unit} is active${where === "outline" ? ": above its 99 % level" : ""}` : `seed ${seed}, score ${short(source.data.scores[unit][place])}, in ${counted(source.data.rows_by_image[seed], "row")} of ${layers[state.layer].units}`;
    return make("figure", {}, shot, make("figcaption", { class: "soft" }, text));
  });
  $("closer").replaceChildren(make("div", { class: "shots wrap" }, ...figures), make("form", { method: "dialog" }, make("button", {}, "Close")));
  $("closer").showModal();
}

// ---- wiring --------------------------------------------------------------------------------------------------------

const actions = { review: review.actions(), "": { undo, help: showKeys, close: () => {} } };
function showKeys() { fillKeys($("keys"), actions, [make("p", { class: "soft" }, "Shift and a click select a range: f and g then act on all of it.")]); $("keys").showModal(); }
hearKeys(actions, () => "review");
for (const dialog of [$("closer"), $("keys")]) dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
$("undo").onclick = undo;
$("copy").onclick = () => copy();
$("download").onclick = download;
$("help").onclick = showKeys;
$("title").append(run.model, make("small", {}, `${run.n} images, top ${run.k} by ${run.score}`));
document.title = `${run.model} – ganpatch review`;
$("layers").append(...layers.map(({ name, units }, index) => make("button", { type: "button", onclick: () => wantLayer(index) }, `${name} (${units})`)));
if (run.sets.length) $("sets").append(setsOf({ sets: run.sets, thumbnails: run.thumbnails, urlOf: served, copied: copySet }));
if (!layers[state.layer]) state.layer = 0;
wantLayer(state.layer);
store.meet();
