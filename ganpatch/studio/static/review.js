// Review: the units of a layer with their top images, as on the review page; flags are edits of the session's patch.

import { $, button, make } from "./dom.js";
import { Marks } from "./marks.js";
import { Refused, get, sheetAddress } from "./net.js";
import { Reviewing, sourceOf } from "./reviewing.js";
import { begin, change, duration, flaggedIn, left, notify, reasonOf, reasons, session, subscribe } from "./session.js";
import { look, onView, view } from "./view.js";

const rankings = new Map();   // layer -> what is shown of it
const marks = new Map();      // run -> what was seen of it
let review = null;

export const ranking = (layer) => rankings.get(layer) ?? null;
export const reviewActions = () => review.actions();

async function load(layer) {
  const facts = session.model.layers.find((one) => one.name === layer);
  const known = rankings.get(layer);
  if (known && known.run.run === facts?.run) return known;
  if (!facts?.run) return null;
  const { run, layer: data, orders } = await get(`ranking?layer=${encodeURIComponent(layer)}`);
  const sheets = Object.fromEntries(await Promise.all(run.thumbnails.sheets.map(async (name) => [name, await sheetAddress(run.run, name)])));
  const map = run.layers.find((one) => one.name === layer).map_size;
  const found = sourceOf({ run, data, orders, map, layer, urlOf: (name) => sheets[name] });
  rankings.set(layer, found);
  return found;
}

export async function showLayer() {
  const layer = view.layer;
  if (review.source?.layer !== layer) review.show(null);   // keys would flag what is shown in another layer
  let found = null;
  try { found = await load(layer); } catch (fault) { if (!(fault instanceof Refused)) return; }
  if (layer !== view.layer) return;
  $("unranked").hidden = Boolean(found);
  review.show(found);
  if (found) { notify("ranking"); return; }
  showUnranked();
  if (view.unit < 0) look({ unit: 0 });
}

function showUnranked() {
  const running = session.jobs.find((job) => job.kind === "rank" && ["waiting", "running"].includes(job.state) && job.label.startsWith(`ranking ${view.layer} `));
  const n = Math.min(1000, session.model.inputs ?? 1000);
  const start = button(`Rank ${view.layer} over ${n} images`, () => begin("rank", { layer: view.layer, n }), { class: "main" });
  $("unranked").replaceChildren(running
    ? make("div", {}, make("p", {}, `${running.label} …`), make("progress", { max: running.total || 1, value: running.done, "aria-label": running.label }), make("p", { class: "soft" }, `${running.total ? `${running.done} of ${running.total} images${left(running)}` : "starting"}. You can paint and look meanwhile.`))
    : make("div", {}, make("p", {}, `${view.layer} is not ranked yet.`), start, make("p", { class: "soft" }, `This takes about ${duration(1.3 * n * session.model.seconds)}. You can already look at its units and paint with them.`)));
}

const runNow = () => session.model.layers.find((one) => one.name === view.layer)?.run ?? "";
function marksNow() {
  if (!marks.has(runNow())) marks.set(runNow(), new Marks(runNow()));
  return marks.get(runNow());
}
export function setFlag(unit, reason) {
  if (unit < 0 || reasonOf(view.layer, unit) === reason) return;
  if (reason === null) change("unflag", { layer: view.layer, unit });
  else { lastReason = reason; change("flag", { layer: view.layer, unit, reason }); }
}
let lastReason = "";
export const toggle = (unit = view.unit) => setFlag(unit, reasonOf(view.layer, unit) === null ? lastReason : null);

export function openReview() {
  review = new Reviewing({
    state: view, look, marks: marksNow,
    open: (unit, place) => look({ unit, seed: ranking(view.layer).data.units[unit][place], to: null, view: "look" }),
    flags: { reasonOf: (unit) => reasonOf(view.layer, unit), all: () => flaggedIn(view.layer), reasons, set: (changes) => { for (const [unit, reason] of changes) setFlag(unit, reason); } },
    units: () => session.model.layers.find((one) => one.name === view.layer)?.units ?? 0,
    command: () => `ganpatch suggest ${ranking(view.layer).run.folder}`,
    todo: "Look along each row for a fault that its images share, and flag the unit (f). The patch at the side is saved as you flag.",
  });
  onView((names) => {
    if (names.has("layer")) { showLayer(); return; }
    review.changed(names);
    if (names.has("view") && view.view === "review") review.revealed();
  });
  subscribe((what) => {
    if (what === "model") rankings.clear();   // what was learned since are orders
    if (what === "model" || what === "again") showLayer();
    if (what === "jobs" && !review.source) showUnranked();
    if (what === "state" || what === "pending") review.repaint();
  });
}
