// Review: the units of a layer, a row each with its top images; only the rows in sight are in the page.

import { $, announce, button, make } from "./dom.js";
import { Refused, get, sheetAddress } from "./net.js";
import { begin, change, duration, flaggedIn, left, notify, reasonOf, reasons, session, subscribe } from "./session.js";
import { arranged, facts, fromBase64, heatCanvas, placeShot, short, sorts } from "./units.js";
import { look, onView, view } from "./view.js";

const rankings = new Map();   // layer -> { run, data, sheets, bytes }
const shown = new Map();      // index -> row
let current = null;           // the ranking shown
let units = [];               // in the order shown
let height = 78;
let lastReason = "";

export const ranking = (layer) => rankings.get(layer) ?? null;
export const here = () => units.indexOf(view.unit);

async function load(layer) {
  const facts = session.model.layers.find((one) => one.name === layer);
  const known = rankings.get(layer);
  if (known && known.run.run === facts?.run) return known;
  if (!facts?.run) return null;
  const { run, layer: data, orders } = await get(`ranking?layer=${encodeURIComponent(layer)}`);
  const sheets = Object.fromEntries(await Promise.all(run.thumbnails.sheets.map(async (name) => [name, await sheetAddress(run.run, name)])));
  const found = { run, data, orders, places: orders.map(({ scores }) => placesOf(scores)), sheets, bytes: fromBase64(data.maps), map: run.layers.find((one) => one.name === layer).map_size };
  rankings.set(layer, found);
  return found;
}

export async function showLayer() {
  const layer = view.layer;
  let found = null;
  try { found = await load(layer); } catch (fault) { if (!(fault instanceof Refused)) return; }
  if (layer !== view.layer) return;
  current = found;
  $("scroller").hidden = !current;
  $("unranked").hidden = Boolean(current);
  if (!current) {
    units = [];
    showUnranked();
    count();
    if (view.unit < 0) look({ unit: 0 });
    return;
  }
  fillSorts();
  arrange();
  notify("ranking");
  if (view.unit < 0 || view.unit >= current.data.units.length) look({ unit: units[0] ?? 0 });
  if (view.view === "review") scrollTo(here());
}

// Orders that the run's folder and the causes know, by the name that stands in the address; each says what it measures.
const orders = () => Object.fromEntries((current?.orders ?? []).map(({ name, explains, scores }) => [`by:${name}`, [name, () => scores, -1, explains]]));
const every = () => ({ ...orders(), ...sorts });
// What was suggested comes first; without suggestions the units stand in their own order.
const sortNow = () => (view.sort in every() ? view.sort : Object.keys(orders()).find((name) => name.startsWith("by:suggested")) ?? "unit");
function fillSorts() {
  const group = (label, known) => make("optgroup", { label }, ...Object.entries(known).map(([name, [text]]) => make("option", { value: name }, text)));
  $("sort").replaceChildren(...(current.orders.length ? [group("Found out", orders())] : []), group("Measured", sorts));
  showSort();
}
function showSort() {
  $("sort").value = sortNow();
  $("explained").textContent = current ? every()[sortNow()][3] : "";
}
function placesOf(scores) {
  const places = [];
  scores.map((_, unit) => unit).sort((a, b) => scores[b] - scores[a] || a - b).forEach((unit, index) => { places[unit] = index + 1; });
  return places;
}

function showUnranked() {
  const running = session.jobs.find((job) => job.kind === "rank" && ["waiting", "running"].includes(job.state) && job.label.startsWith(`ranking ${view.layer} `));
  const n = Math.min(1000, session.model.inputs ?? 1000);
  const start = button(`Rank ${view.layer} over ${n} images`, () => begin("rank", { layer: view.layer, n }), { class: "main" });
  $("unranked").replaceChildren(running
    ? make("div", {}, make("p", {}, `${running.label} …`), make("progress", { max: running.total || 1, value: running.done, "aria-label": running.label }), make("p", { class: "soft" }, `${running.total ? `${running.done} of ${running.total} images${left(running)}` : "starting"}; paint and look meanwhile.`))
    : make("div", {}, make("p", {}, `${view.layer} is not ranked yet.`), start, make("p", { class: "soft" }, `That takes about ${duration(1.3 * n * session.model.seconds)}. Its units can be looked at and painted with all the same.`)));
}

// ---- rows ------------------------------------------------------------------------------------------------

const isFlagged = (flags) => (unit) => flags.has(unit);
function arrange() {
  if (!current) return;
  units = arranged(current.data, every()[sortNow()], view.show, isFlagged(flaggedIn(view.layer)));
  const { height: own } = current.run.thumbnails;
  height = Math.max(Math.round(own * zoom()), narrow() ? 0 : current.orders.length ? 74 : 56) + 14 + (narrow() ? 62 : 0);
  $("rows").style.height = `${units.length * height}px`;
  for (const row of shown.values()) row.remove();
  shown.clear();
  draw();
  count();
}
const narrow = () => innerWidth < 700;
// Thumbnails as they are, large ones smaller and tiny ones larger.
const zoom = () => Math.max(Math.min(1, 96 / current.run.thumbnails.height), Math.min(1, 64 / current.run.thumbnails.width), 48 / current.run.thumbnails.height);

function draw() {
  if (!current) return;
  const box = $("scroller");
  const first = Math.max(0, Math.floor(box.scrollTop / height) - 4);
  const last = Math.min(units.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + 4);
  for (const [index, row] of shown) if (index < first || index >= last) { row.remove(); shown.delete(index); }
  for (let index = first; index < last; index++) {
    if (shown.has(index)) continue;
    const row = buildRow(units[index], index);
    shown.set(index, row);
    $("rows").append(row);
  }
}

function buildRow(unit, index) {
  const [first, second] = facts(current.data, unit);
  const flag = button("flag", () => { look({ unit }); toggle(unit); }, { class: "flag" });
  const reason = make("input", { class: "reason", placeholder: "reason", list: "reasons", "aria-label": `reason for flagging unit ${unit}` });
  reason.onchange = () => setFlag(unit, reason.value.trim());
  const places = current.orders.map(({ name, explains, scores }, index) => [`${current.places[index][unit]}. ${name}`, `${explains}: ${short(scores[unit])}`]);
  const own = current.orders.findIndex(({ name }) => `by:${name}` === sortNow());
  const place = places[own] ?? places[0];
  const lines = make("div", { class: "facts" }, first, make("i", {}, second), place && make("em", { title: places.map((one) => one.join(", ")).join("\n") }, place[0]));
  const side = make("div", { class: "unit" }, make("b", {}, String(unit)), flag, lines, reason);
  const shots = make("div", { class: "shots" }, ...current.data.units[unit].map((seed, place) => buildShot(unit, seed, place)));
  const row = make("div", { class: "row", role: "listitem", "data-unit": unit, "aria-setsize": units.length, "aria-posinset": index + 1 }, side, shots);
  row.style.top = `${index * height}px`;
  row.style.height = `${height}px`;
  row.addEventListener("pointerdown", () => look({ unit }));
  paintRow(row, unit);
  if (view.heat) heatRow(row, unit);
  return row;
}

// A shot is cheap, as there are many: the first of a row can be focused, the others are in the unit's panel too.
function buildShot(unit, seed, place) {
  const what = `seed ${seed}, score ${short(current.data.scores[unit][place])}: look into it`;
  const shot = document.createElement(place ? "div" : "button");
  shot.className = "shot";
  shot.title = what;
  shot.dataset.place = place;
  if (!place) { shot.type = "button"; shot.setAttribute("aria-label", what); }
  placeShot(shot, current.run.thumbnails, seed, zoom(), (name) => current.sheets[name]);
  return shot;
}
const shotOf = (event) => {
  const shot = event.target.closest?.(".shot");
  return shot && [shot, Number(shot.closest(".row").dataset.unit), Number(shot.dataset.place)];
};
function hearShots() {
  const rows = $("rows");
  rows.addEventListener("click", (event) => {
    const [shot, unit, place] = shotOf(event) ?? [];
    if (shot) look({ unit, seed: current.data.units[unit][place], to: null, view: "look" });
  });
  rows.addEventListener("mouseover", (event) => { const found = shotOf(event); if (found) heatShot(...found); });
  rows.addEventListener("mouseout", (event) => { const found = shotOf(event); if (found && !view.heat && !found[0].contains(event.relatedTarget)) found[0].replaceChildren(); });
}
function heatShot(shot, unit, place) {
  if (shot.firstChild) return;
  const [h, w] = current.map;
  shot.append(heatCanvas(current.bytes, (unit * current.run.k + place) * h * w, h, w));
}
const heatRow = (row, unit) => row.querySelectorAll(".shot").forEach((shot, place) => (view.heat ? heatShot(shot, unit, place) : shot.replaceChildren()));

function paintRow(row, unit) {
  const reason = reasonOf(view.layer, unit);
  const flagged = reason !== null;
  row.classList.toggle("flagged", flagged);
  row.classList.toggle("here", unit === view.unit);
  row.setAttribute("aria-label", `unit ${unit}${flagged ? `, flagged${reason ? `: ${reason}` : ""}` : ""}`);
  const flag = row.querySelector(".flag");
  flag.setAttribute("aria-pressed", flagged);
  flag.textContent = flagged ? "flagged" : "flag";
  const input = row.querySelector(".reason");
  if (document.activeElement !== input) input.value = reason ?? "";
}
const repaint = () => { for (const [index, row] of shown) paintRow(row, units[index]); };

function count() {
  const here = flaggedIn(view.layer).size;
  const whole = session.model.layers.find((one) => one.name === view.layer)?.units ?? 0;
  $("counts").textContent = `${here} of ${whole} units flagged${units.length < whole && current ? ` · ${units.length} shown` : ""}`;
  $("reasons").replaceChildren(...reasons().map((text) => make("option", { value: text })));
}

// ---- moving and flagging ------------------------------------------------------------------------------------

function scrollTo(index) {
  const box = $("scroller");
  if (index < 0) return;
  if (index * height < box.scrollTop) box.scrollTop = index * height;
  else if ((index + 1) * height > box.scrollTop + box.clientHeight) box.scrollTop = (index + 1) * height - box.clientHeight;
  draw();
}
export function moveTo(index) {
  if (!units.length) return;
  const unit = units[Math.max(0, Math.min(index, units.length - 1))];
  look({ unit });
  const reason = reasonOf(view.layer, unit);
  announce(`unit ${unit}, ${current ? facts(current.data, unit)[1] : ""}${reason === null ? "" : `, flagged ${reason}`}`);
}
export const move = (step) => moveTo(here() + step);
export const toEnd = () => moveTo(units.length - 1);

export function nextFlagged() {
  const flags = flaggedIn(view.layer);
  const place = here();
  const later = units.findIndex((unit, index) => index > place && flags.has(unit));
  const first = units.findIndex((unit) => flags.has(unit));
  if (first >= 0) moveTo(later >= 0 ? later : first);
}
export function setFlag(unit, reason) {
  if (unit < 0 || reasonOf(view.layer, unit) === reason) return;
  if (reason === null) change("unflag", { layer: view.layer, unit });
  else { lastReason = reason; change("flag", { layer: view.layer, unit, reason }); }
}
export function toggle(unit = view.unit) { setFlag(unit, reasonOf(view.layer, unit) === null ? lastReason : null); }
export function giveReason() {
  if (reasonOf(view.layer, view.unit) === null) toggle();
  $("rows").querySelector(`.row[data-unit="${view.unit}"] .reason`)?.select();
}

// ---- wiring ---------------------------------------------------------------------------------------------------

export function openReview() {
  hearShots();
  $("scroller").addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(() => current && (narrow() === (height > 110) ? draw() : arrange())).observe($("scroller"));
  $("sort").onchange = (event) => look({ sort: event.target.value });
  $("filter").oninput = (event) => look({ show: event.target.value });
  $("heat").onclick = () => look({ heat: !view.heat });
  onView((names) => {
    if (names.has("layer")) { showLayer(); return; }
    if (names.has("sort")) showSort();
    if (names.has("sort") || names.has("show")) { $("scroller").scrollTop = 0; arrange(); }
    if (names.has("heat")) for (const [index, row] of shown) heatRow(row, units[index]);
    if (names.has("unit")) { repaint(); scrollTo(here()); }
    if (names.has("view") && view.view === "review") { draw(); scrollTo(here()); }
    showControls();
  });
  subscribe((what) => {
    if (what === "model") rankings.clear();   // what was learned since are orders
    if (what === "model" || what === "again") showLayer();
    if (what === "jobs" && !current) showUnranked();
    if (what === "state" || what === "pending") { view.show && "flagged".startsWith(view.show.trim()) ? arrange() : repaint(); count(); }
  });
  showControls();
}
function showControls() {
  $("heat").setAttribute("aria-pressed", view.heat);
  if (document.activeElement !== $("filter")) $("filter").value = view.show;
}
