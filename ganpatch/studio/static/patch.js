// The patch as it stands: its edits, on or off, in their order; what becomes of each in weights; files to take away.

import { $, button, debounced, make, slider } from "./dom.js";
import { download, post, remove } from "./net.js";
import { change, entries, hurry, isPlain, session, subscribe } from "./session.js";
import { short, spans } from "./units.js";
import { look } from "./view.js";

const opened = new Set();   // edits whose numbers are unfolded

export function openPatch() {
  subscribe((what) => (what === "state" || what === "jobs" || what === "model") && show());
  show();
}

function show() {
  const panel = $("patch-panel");
  const focus = document.activeElement?.dataset?.focus;
  const { content, conflicts, path, digest } = session.now;
  const name = make("input", { id: "patch-name", value: content.name, "aria-label": "name of the patch", "data-focus": "name", spellcheck: "false" });
  name.onchange = () => change("rename", { name: name.value.trim(), description: content.description });
  const parts = [
    make("div", { class: "line" }, make("h2", {}, "Patch"), name),
    make("p", { class: "soft path", title: path }, entries().some((entry) => entry.on) ? `saved in ${path}` : "no edit is on: flag a unit, or paint"),
    make("ol", { class: "edits" }, ...entries().map(item)),
    ...conflicts.map(({ layer, units, edits }) => make("p", { class: "warn" }, `${layer} unit${units.length > 1 ? "s" : ""} ${spans(units)}: in ${edits.join(" and ")}, applied in this order`)),
    make("div", { class: "line" },
      button("Fold or insert?", () => start("bake"), { disabled: !digest, title: "What becomes of each edit in weights, and the proof", "data-focus": "bake" })),
    proof(digest),
    make("div", { class: "line" },
      button("Patch", () => download("patch"), { disabled: !digest, title: "Download the patch file" }),
      button("Weights", () => start("weights"), { disabled: !digest || !session.model.has_weights, title: "Make and download repaired weights" }),
      button("ONNX", () => start("onnx"), { disabled: !digest, title: "Make and download an ONNX graph with the patch inside" }),
      make("span", { class: "soft" }, "download")),
    make("div", { id: "jobs", "aria-live": "polite" }, ...jobs(digest)),
  ];
  panel.replaceChildren(...parts.filter(Boolean));
  if (focus) panel.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}

const decisions = (digest) => session.jobs.findLast((job) => job.kind === "bake" && job.state === "done" && job.result.digest === digest)?.result;
function proof(digest) {
  const found = digest && decisions(digest);
  return found ? make("p", { class: "soft" }, found.proof) : null;
}

// ---- one edit -------------------------------------------------------------------------------------------

function item(entry, index) {
  const { edit, on, rev, painted } = entry;
  const about = { edit: edit.id, rev };
  const box = make("input", { type: "checkbox", checked: on, "aria-label": `${edit.id} is on`, "data-focus": `on-${edit.id}` });
  box.onchange = () => change("describe", { ...about, on: box.checked });
  const title = make("input", { class: "title", value: edit.reason, placeholder: edit.id, title: edit.reason || edit.id, "aria-label": `reason of ${edit.id}`, "data-focus": `why-${edit.id}` });
  title.onchange = () => change("describe", { ...about, reason: title.value.trim() });
  const decided = decisions(session.now.digest)?.edits.find((one) => one.edit === edit.id);
  const tool = (text, label, act, off = false) => button(text, act, { class: "tool", title: label, "aria-label": `${label}: ${edit.id}`, disabled: off, "data-focus": `${label}-${edit.id}` });
  const unfold = tool(opened.has(edit.id) ? "▾" : "▸", "numbers and units", () => { opened.has(edit.id) ? opened.delete(edit.id) : opened.add(edit.id); show(); });
  unfold.setAttribute("aria-expanded", opened.has(edit.id));
  return make("li", { class: `edit${on ? "" : " off"}`, "data-edit": edit.id },
    make("div", { class: "line tight" }, box, title,
      tool("↑", "earlier", () => change("move", { ...about, place: index - 1 }), index === 0),
      tool("↓", "later", () => change("move", { ...about, place: index + 1 }), index === entries().length - 1),
      tool("×", "remove", () => change("remove", about))),
    make("div", { class: "line tight soft" }, unfold, make("span", { class: "summary" }, summary(entry)), painted && maskOf(entry)),
    decided && make("p", { class: `decision ${decided.outcome}` }, `${decided.outcome}: ${decided["where or why"]}`),
    opened.has(edit.id) && details(entry));
}

function summary({ edit, painted }) {
  const few = edit.units.length > 8 ? `${edit.units.length} units` : `${edit.units.length > 1 ? "units" : "unit"} ${spans(edit.units)}`;
  const parts = [`${edit.layer}, ${few}`];
  if (edit.alpha.some((alpha) => alpha !== 1)) parts.push(range(edit.alpha.map((alpha) => `${Math.round(alpha * 100)} %`)));
  if (edit.value.some((value) => value !== 0)) parts.push(`to ${range(edit.value.map(short))}`);
  if (edit.above) parts.push(`above ${range(edit.above.map(short))}`);
  if (edit.mask) parts.push(painted ? `painted on seed ${painted.seed}` : `mask ${edit.mask.size.join("×")}`);
  return parts.join(" · ");
}
const range = (texts) => (new Set(texts).size === 1 ? texts[0] : `${texts[0]} …`);

// The strokes of a painted edit as a small picture; it opens the image that they were painted on.
function maskOf({ painted }) {
  const [height, width] = painted.size;
  const canvas = make("canvas", { width: 28, height: Math.round((28 * height) / width) });
  const pen = canvas.getContext("2d");
  pen.scale(28 / width, 28 / width);
  pen.lineCap = pen.lineJoin = "round";
  for (const { points, radius, erase } of painted.strokes) {
    pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
    pen.strokeStyle = "#e8590c";
    pen.lineWidth = 2 * radius;
    pen.beginPath();
    points.forEach(([x, y], place) => (place ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    if (points.length === 1) pen.lineTo(points[0][0] + 0.01, points[0][1]);
    pen.stroke();
  }
  const open = button("", () => look({ view: "paint", seed: painted.seed, to: null }), { class: "plain mask", title: `the mask; works on every image. Open seed ${painted.seed}`, "aria-label": `open seed ${painted.seed}, where it was painted` });
  open.append(canvas);
  return open;
}

function details(entry) {
  const { edit, rev } = entry;
  const one = slider("replaced", { value: Math.max(...edit.alpha), settled: (alpha) => change("tune", { edit: edit.id, rev, alpha }), format: (v) => `${Math.round(v * 100)} %` });
  const chips = edit.units.map((unit) => button(String(unit), () => look({ view: "review", layer: edit.layer, unit, show: "" }), { class: "chip", title: `look at unit ${unit}` }));
  return make("div", { class: "details" }, one.element, make("div", { class: "chips" }, ...chips), isPlain(entry) || make("p", { class: "soft" }, "The mask is a place in the frame: it works there on every image."));
}

// ---- long work -------------------------------------------------------------------------------------------

async function start(kind) {
  try {
    const job = await post("jobs", { kind });
    if (kind !== "bake") wanted.add(job.id);
  } catch (fault) { told = fault.message; show(); }
  hurry();
}
const wanted = new Set();   // files to download as soon as they are there
let told = "";
const fetched = debounced(() => {
  for (const job of session.jobs) {
    if (wanted.has(job.id) && job.state === "done") { wanted.delete(job.id); download(job.result.file); }
  }
}, 10);

function jobs(digest) {
  fetched();
  const rows = session.jobs.filter((job) => ["waiting", "running", "failed"].includes(job.state) || (job.state === "done" && job.result.file && job.result.digest === digest)).slice(-6);
  return [told && make("p", { class: "warn" }, told), ...rows.map((job) => {
    if (job.state === "failed") return make("p", { class: "warn" }, `${job.label}: ${job.error}`);
    if (job.state === "done") return make("p", { class: "soft" }, `${job.result.file}, ${job.label} `, button("download", () => download(job.result.file)));
    const bar = job.total ? make("progress", { max: job.total, value: job.done, "aria-label": job.label }) : null;
    return make("p", { class: "soft line" }, `${job.label} …`, bar, make("span", { class: "push" }), button("×", () => remove(`jobs/${job.id}`).then(hurry), { class: "tool", "aria-label": `cancel ${job.label}` }));
  })].filter(Boolean);
}
