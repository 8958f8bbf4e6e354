// The current patch: its edits, on or off, in their order; what becomes of each in weights; files to take away.

import { $, announce, button, debounced, make, slider } from "./dom.js";
import { isText } from "./keys.js";
import { download, remove } from "./net.js";
import { quality } from "./quality.js";
import { begin, change, entries, hurry, isPlain, left, session, subscribe } from "./session.js";
import { short, spans } from "./units.js";
import { versions } from "./versions.js";
import { look } from "./view.js";

const opened = new Set();   // edits whose numbers are unfolded

export function openPatch() {
  subscribe((what) => (what === "state" || what === "jobs" || what === "model" || what === "figures" || what === "versions") && show());
  show();
}

function show() {
  const panel = $("patch-panel");
  if (panel.dataset.dragging || isTyped(panel)) return;
  const focus = document.activeElement?.dataset?.focus;
  const { content, conflicts, path, digest } = session.now;
  const painted = entries().filter((entry) => entry.on && entry.edit.mask);
  const name = make("input", { id: "patch-name", value: content.name, "data-shown": content.name, "aria-label": "name of the patch", "data-focus": "name", spellcheck: "false" });
  name.onchange = () => change("rename", { name: name.value.trim(), description: content.description });
  const parts = [
    make("div", { class: "line" }, make("h2", {}, "Patch"), name),
    make("p", { class: "soft path", title: path }, entries().some((entry) => entry.on) ? `saved in ${path}` : "no edit is on: flag a unit, or paint"),
    make("ol", { class: "edits", "aria-label": "Edits, in the order in which they work" }, ...entries().map(item)),
    ...conflicts.map(conflict),
    offers(),
    make("div", { class: "line" },
      button("Fold or insert?", () => begin("bake"), { disabled: !digest, title: "What becomes of each edit in weights, and the proof", "data-focus": "bake" })),
    proof(digest),
    make("div", { class: "line" },
      button("Patch", () => download("patch"), { disabled: !digest, title: "Download the patch file", "data-focus": "get-patch" }),
      button("Weights", () => file("weights"), { disabled: !digest || !session.model.has_weights || painted.length > 0, title: painted.length ? "Weights cannot hold painted edits" : "Make and download repaired weights", "data-focus": "get-weights" }),
      button("ONNX", () => file("onnx"), { disabled: !digest, title: "Make and download an ONNX graph with the patch inside", "data-focus": "get-onnx" }),
      make("span", { class: "soft" }, "download")),
    painted.length ? make("p", { class: "soft", id: "no-weights" }, `Weights cannot hold ${painted.length > 1 ? "the painted edits" : "the painted edit"}: an edit that works in one place only. Switch ${painted.length > 1 ? "them" : "it"} off, or take the patch or ONNX.`) : null,
    make("div", { id: "jobs" }, ...jobs(digest)),
    quality(digest),
    versions(),
  ];
  panel.replaceChildren(...parts.filter(Boolean));
  if (focus) panel.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}

// Whether text is being typed in the panel: it is drawn again once the field is left, and nothing that was typed is lost.
function isTyped(panel) {
  const field = document.activeElement;
  if (!panel.contains(field) || !isText(field) || field.tagName === "SELECT" || field.value === field.dataset.shown) return false;
  field.addEventListener("blur", () => setTimeout(show, 0), { once: true });
  return true;
}

const titleOf = (id) => entries().find((one) => one.edit.id === id)?.edit.reason || id;
const conflict = ({ layer, units, edits }) => make("p", { class: "warn conflict" }, `Unit${units.length > 1 ? "s" : ""} ${spans(units)} of ${layer} ${units.length > 1 ? "are" : "is"} in ${edits.map((id) => `“${titleOf(id)}”`).join(" and ")}: they work one after the other, in this order.`);
const decisions = (digest) => session.jobs.findLast((job) => job.kind === "bake" && job.state === "done" && job.result.digest === digest)?.result;
function proof(digest) {
  const found = digest && decisions(digest);
  return found ? make("p", { class: "soft" }, found.proof) : null;
}

// Edits that ship with the model and are not in the patch.
function offers() {
  const left = session.model.offered.filter(({ edit }) => !entries().some((entry) => entry.edit.id === edit));
  return left.length ? make("div", { class: "line offers" }, make("span", { class: "soft" }, `ships with ${session.model.name}:`),
    ...left.map(({ edit, reason }) => button(`+ ${edit}`, () => change("adopt", { edit }, "adopt"), { class: "chip", title: `Add the edit against: ${reason}`, "data-focus": `offer-${edit}` }))) : null;
}

// ---- one edit -------------------------------------------------------------------------------------------

function item(entry, index) {
  const { edit, on, rev, painted } = entry;
  const about = { edit: edit.id, rev };
  const clash = session.now.conflicts.some(({ edits }) => edits.includes(edit.id));
  const box = make("input", { type: "checkbox", checked: on, "aria-label": `${edit.reason || edit.id} is on`, "data-focus": `on-${edit.id}` });
  box.onchange = () => change("describe", { ...about, on: box.checked });
  const title = make("input", { class: "title", value: edit.reason, "data-shown": edit.reason, placeholder: edit.id, title: edit.reason || edit.id, "aria-label": `reason of ${edit.id}`, "data-focus": `why-${edit.id}` });
  title.onchange = () => change("describe", { ...about, reason: title.value.trim() });
  const decided = decisions(session.now.digest)?.edits.find((one) => one.edit === edit.id);
  const tool = (text, label, act, off = false) => button(text, act, { class: "tool", title: label, "aria-label": `${label}: ${edit.reason || edit.id}`, disabled: off, "data-focus": `${label}-${edit.id}` });
  const unfold = tool(opened.has(edit.id) ? "▾" : "▸", "numbers and units", () => { opened.has(edit.id) ? opened.delete(edit.id) : opened.add(edit.id); show(); });
  unfold.setAttribute("aria-expanded", opened.has(edit.id));
  return make("li", { class: `edit${on ? "" : " off"}${clash ? " clash" : ""}`, "data-edit": edit.id },
    make("div", { class: "line tight" }, entries().length > 1 && handle(entry, index), box, title, tool("×", "remove", () => change("remove", about))),
    make("div", { class: "line tight soft" }, unfold, make("span", { class: "summary" }, summary(entry)), painted && maskOf(entry)),
    decided && make("p", { class: `decision ${decided.outcome}` }, `${decided.outcome}: ${decided["where or why"]}`),
    opened.has(edit.id) && details(entry, index));
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

function details(entry, index) {
  const { edit, rev } = entry;
  const one = slider("replaced", { value: Math.max(...edit.alpha), settled: (alpha) => change("tune", { edit: edit.id, rev, alpha }), format: (v) => `${Math.round(v * 100)} %` });
  const chips = edit.units.map((unit) => button(String(unit), () => look({ view: "review", layer: edit.layer, unit, show: "" }), { class: "chip", title: `look at unit ${unit}`, "aria-label": `look at unit ${unit}` }));
  const move = (text, to) => button(text, () => moveTo(edit.id, to), { disabled: to < 0 || to >= entries().length, "data-focus": `${text}-${edit.id}` });
  return make("div", { class: "details" }, one.element, make("div", { class: "chips" }, ...chips), isPlain(entry) || make("p", { class: "soft" }, "The mask is a place in the frame: it works there on every image."),
    entries().length > 1 && make("div", { class: "line" }, move("Earlier", index - 1), move("Later", index + 1)));
}

// ---- the order: dragged by the handle, or moved with its arrow keys -----------------------------------------

function moveTo(id, place) {
  const index = entries().findIndex((one) => one.edit.id === id);
  if (index < 0 || place < 0 || place >= entries().length || place === index) return;
  change("move", { edit: id, rev: entries()[index].rev, place });
  announce(`${titleOf(id)}: ${place + 1} of ${entries().length}`);
}
function handle(entry, index) {
  const { edit } = entry;
  const one = button("⠿", null, { class: "tool handle", title: "drag, or arrow keys: its place in the order", "aria-label": `place of ${edit.reason || edit.id} in the order, ${index + 1} of ${entries().length}; arrow keys move it`, "data-focus": `place-${edit.id}` });
  one.onkeydown = (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    moveTo(edit.id, index + by);
  };
  one.onpointerdown = (event) => { if (!event.button) drag(one, edit.id, index, event); };
  return one;
}
function drag(one, id, index, event) {
  const panel = $("patch-panel"), own = one.closest(".edit");
  const items = [...panel.querySelectorAll(".edit")], boxes = items.map((item) => item.getBoundingClientRect());
  const step = boxes[index].height + 2;
  let place = index;
  panel.dataset.dragging = id;
  own.classList.add("dragged");
  one.setPointerCapture(event.pointerId);
  one.onpointermove = (moved) => {
    const by = moved.clientY - event.clientY, middle = boxes[index].top + boxes[index].height / 2 + by;
    place = boxes.filter((box, other) => other !== index && box.top + box.height / 2 < middle).length;
    own.style.transform = `translateY(${by}px)`;
    items.forEach((item, other) => {
      if (item !== own) item.style.transform = other > index && other <= place ? `translateY(${-step}px)` : other < index && other >= place ? `translateY(${step}px)` : "";
    });
  };
  const end = (dropped) => {
    one.onpointermove = one.onpointerup = one.onpointercancel = null;
    delete panel.dataset.dragging;
    if (dropped && place !== index) moveTo(id, place);
    show();
  };
  one.onpointerup = () => end(true);
  one.onpointercancel = () => end(false);
}

// ---- long work -------------------------------------------------------------------------------------------

async function file(kind) {
  const job = await begin(kind);
  if (job) wanted.add(job.id);
  hurry();
}
const wanted = new Set();   // files to download as soon as they are there
const fetched = debounced(() => {
  for (const job of session.jobs) {
    if (wanted.has(job.id) && job.state === "done") { wanted.delete(job.id); download(job.result.file); }
  }
}, 10);

function jobs(digest) {
  fetched();
  const rows = session.jobs.filter((job) => ["waiting", "running", "failed"].includes(job.state) || (job.state === "done" && job.result.file && job.result.digest === digest)).slice(-6);
  return rows.map((job) => {
    if (job.state === "failed") return make("p", { class: "warn" }, `${job.label}: ${job.error}`);
    if (job.state === "done") return make("p", { class: "soft" }, `${job.result.file}, ${job.label} `, button("download", () => download(job.result.file), { "aria-label": `download ${job.result.file}` }));
    const bar = job.total ? make("progress", { max: job.total, value: job.done, "aria-label": job.label }) : null;
    return make("p", { class: "soft line" }, `${job.label}${job.state === "waiting" ? " waits" : left(job) || " …"}`, make("span", { class: "push" }), bar, button("×", () => remove(`jobs/${job.id}`).then(hurry, hurry), { class: "tool", "aria-label": `cancel ${job.label}`, "data-focus": `cancel-${job.id}` }));
  });
}
