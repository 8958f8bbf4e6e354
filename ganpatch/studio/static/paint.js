// Painting on an image: every stroke is at once an edit with a mask, or a label for a concept; the image answers while
// the brush moves.

import { $, announce, button, make, numberInput } from "./dom.js";
import { brush, brushBody, onBrush } from "./brush.js";
import { Stream, newId } from "./net.js";
import { anySeed, imagesBody } from "./pictures.js";
import { change, entries, session, subscribe, unsent } from "./session.js";
import { onStep, ringAt } from "./steps.js";
import { look, onView, point, view } from "./view.js";
import { isPinned, togglePin } from "./tray.js";

const live = new Stream("paint", "the painting");
const parts = {};
let group = null;        // { edit, key, strokes }: the strokes of one edit, painted with one brush on one image
let stroke = null;       // the stroke under the pointer
let cursor = null;       // where the keyboard brush is, in image pixels
let showsBefore = false;
let hues = {};

export function openPaint() {
  parts.seed = numberInput("seed", (seed) => look({ seed: seed ?? 0, to: null }));
  parts.pin = button("Pin", () => togglePin(point()), { title: "Pin to the tray (p)" });
  parts.before = button("Before", () => setBefore(!showsBefore), { title: "Without the patch (b)", "aria-pressed": "false" });
  parts.again = button("New edit", () => { group = null; show(); }, { title: "Let the next stroke begin an edit of its own (Enter)" });
  parts.ms = make("span", { class: "soft", id: "paint-ms" });
  parts.image = make("canvas", { class: "image" });
  parts.over = make("canvas", { class: "over", tabindex: 0, role: "application",
    "aria-label": "Image to paint on. Arrow keys move the brush, space paints a spot, brackets change its size." });
  parts.stage = make("div", { class: "stage" }, parts.image, parts.over);
  parts.hint = make("p", { class: "soft hint" });
  $("paint").replaceChildren(
    make("div", { class: "bar" }, make("label", {}, "Seed ", parts.seed), button("‹", () => step(-1), { "aria-label": "previous seed" }), button("›", () => step(1), { "aria-label": "next seed" }),
      button("Random", randomSeed, { title: "Another image (n)" }), parts.pin, parts.before, parts.again, make("span", { class: "push" }), parts.ms),
    make("div", { class: "canvas" }, parts.stage), parts.hint);
  listen();
  onView((names) => { if (names.has("view") || names.has("seed") || names.has("to")) { group = null; show(); } });
  onBrush(() => { group = sameGroup() ? group : null; showHint(); drawOver(); if (view.view === "paint" && keyNow() !== drawnFor) refresh(); });
  subscribe((what) => (what === "state" || what === "again") && view.view === "paint" && (meet(), refresh()));
  onStep(drawOver);
  new ResizeObserver(() => drawOver()).observe(parts.stage);
  show();
}

const step = (by) => look({ seed: Math.max(0, view.seed + by), to: null });
export const randomSeed = () => look({ seed: anySeed(), to: null });
const size = () => session.model.image;
const isLabel = () => brush.tool === "label";

function show() {
  if (view.view !== "paint") { live.stop(); return; }
  if (document.activeElement !== parts.seed) parts.seed.value = view.seed;
  parts.pin.setAttribute("aria-pressed", isPinned(point()));
  parts.stage.style.aspectRatio = `${size()[1]} / ${size()[0]}`;
  showHint();
  refresh(session.model.seconds > 0.2 ? "turn" : "ask");   // an image of another seed is waited for no longer
}
function showHint() {
  parts.hint.textContent = isLabel()
    ? "Paint where the concept is: its strokes teach dissect a new concept (strokes.json); they change no image."
    : group ? "Strokes with this brush join one edit, saved as you paint." : "Paint: the stroke is an edit with a mask, saved at once. A mask is a place in the frame; it works on every image.";
  parts.again.disabled = !group;
}

// ---- images -----------------------------------------------------------------------------------------------

const keyNow = () => JSON.stringify([point(), brushBody()]);
const sameGroup = () => group !== null && group.key === keyNow();

function body() {
  const more = { patch: !showsBefore, largest: 512 };
  const strokes = isLabel() || showsBefore ? [] : [...(group?.strokes ?? []), ...(stroke ? [plainStroke(stroke)] : [])];
  if (!isLabel() && !showsBefore && view.brush) Object.assign(more, { without: group?.edit ?? null, painting: { ...brushBody(), point: point(), size: size(), strokes } });
  return imagesBody([point()], more);
}
let drawnFor = "";
function refresh(how = "ask") {
  const key = keyNow();
  live[how]("images", body(), (image, ms) => {
    drawnFor = key;
    parts.image.width = image.width;
    parts.image.height = image.height;
    parts.image.getContext("2d").drawImage(image, 0, 0);
    parts.image.dataset.drawn = String(1 + Number(parts.image.dataset.drawn ?? 0));
    parts.ms.textContent = `answered in ${Math.round(ms)} ms`;
  });
  drawOver();
}
export function setBefore(on) {
  if (on === showsBefore || view.view !== "paint") return;
  showsBefore = on;
  parts.before.setAttribute("aria-pressed", on);
  refresh();
}
// The edit of this group may have been undone or taken away in another tab.
function meet() {
  if (!group?.edit || unsent()) return;
  const entry = entries().find((one) => one.edit.id === group.edit);
  if (!entry?.painted) group = null; else group.strokes = entry.painted.strokes;
  showHint();
}

// ---- strokes -----------------------------------------------------------------------------------------------

const rounded = (value) => Math.round(value * 100) / 100;
const plainStroke = ({ radius, points, erase }) => ({ radius, erase, points });
function begin(x, y) {
  if (!view.brush && !isLabel()) { announce("choose a brush first"); parts.hint.textContent = "Choose a brush at the side first: a flagged edit, a concept, or any unit."; return; }
  if (isLabel() && !brush.concept) { parts.hint.textContent = "Name the concept at the side first."; return; }
  if (!isLabel() && !sameGroup()) group = { key: keyNow(), edit: null, strokes: [] };
  stroke = { radius: rounded(brush.radius), erase: brush.erase && !isLabel(), points: [[rounded(x), rounded(y)]] };
  refreshStroke();
}
function extend(x, y) {
  const [lastX, lastY] = stroke.points.at(-1);
  if (Math.hypot(x - lastX, y - lastY) < Math.max(0.4, brush.radius / 8) || stroke.points.length >= 2000) return;
  stroke.points.push([rounded(x), rounded(y)]);
  refreshStroke();
}
const refreshStroke = () => (isLabel() ? drawOver() : refresh());

function end() {
  if (!stroke) return;
  const done = plainStroke(stroke);
  stroke = null;
  if (isLabel()) {
    change("label", { label: { id: newId(), seed: view.seed, size: size(), concept: brush.concept, stroke: done } });
    announce(`labelled ${brush.concept}`);
    return drawOver();
  }
  const mine = group;
  mine.strokes = [...mine.strokes, done];
  keepGroup(mine);
  showHint();
}
// All strokes of a group are one edit, which the server replaces as it grows.
function keepGroup(mine) {
  mine.edit ??= `painted-${newId().slice(0, 6)}`;
  change("paint", { ...brushBody(), point: point(), size: size(), strokes: mine.strokes, edit: mine.edit }, "paint");
  announce("painted");
}

// ---- pointer and keyboard -------------------------------------------------------------------------------------

function place(event) {
  const box = parts.over.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * size()[1], ((event.clientY - box.top) / box.height) * size()[0]];
}
function listen() {
  const over = parts.over;
  over.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    over.setPointerCapture(event.pointerId);
    cursor = place(event);
    begin(...cursor);
    event.preventDefault();
    over.focus({ preventScroll: true });
  });
  over.addEventListener("pointermove", (event) => {
    cursor = place(event);
    if (stroke) for (const one of event.getCoalescedEvents?.() ?? [event]) extend(...place(one)); else drawOver();
  });
  over.addEventListener("pointerup", end);
  over.addEventListener("pointercancel", end);
  over.addEventListener("pointerleave", () => { if (!stroke) { cursor = null; drawOver(); } });
  over.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (by) {
      const stride = Math.max(1, brush.radius / 2);
      cursor ??= [size()[1] / 2, size()[0] / 2];
      cursor = [0, 1].map((axis) => Math.min(size()[1 - axis], Math.max(0, cursor[axis] + by[axis] * stride)));
      if (event.shiftKey && cursor) { begin(...cursor); end(); }
      drawOver();
    } else if (event.key === " ") {
      cursor ??= [size()[1] / 2, size()[0] / 2];
      begin(...cursor);
      end();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
export function newGroup() { group = null; show(); }

// ---- what lies over the image -----------------------------------------------------------------------------------

const hue = (concept) => (hues[concept] ??= (Object.keys(hues).length * 67 + 20) % 360);
function drawOver() {
  const box = parts.over.getBoundingClientRect();
  if (!box.width) return;
  const scale = devicePixelRatio || 1;
  parts.over.width = box.width * scale;
  parts.over.height = box.height * scale;
  const pen = parts.over.getContext("2d");
  const zoom = (box.width * scale) / size()[1];
  pen.scale(zoom, zoom);
  pen.lineCap = pen.lineJoin = "round";
  if (isLabel()) {
    for (const label of session.now.content.labels.filter((one) => one.seed === view.seed)) trace(pen, label.stroke, `hsl(${hue(label.concept)} 85% 55% / .5)`);
    if (stroke) trace(pen, stroke, `hsl(${hue(brush.concept)} 85% 55% / .5)`);
  } else if (stroke) trace(pen, stroke, "rgb(255 255 255 / .28)");
  const ring = !stroke && ringAt();
  if (ring) circle(pen, [ring[0] * size()[1], ring[1] * size()[0]], brush.radius, zoom / scale, [5, 3]);
  if (cursor) circle(pen, cursor, brush.radius, zoom / scale);
}
// A circle that is seen on any picture; `zoom` is how many screen pixels an image pixel has.
function circle(pen, [x, y], radius, zoom, dash = []) {
  for (const [width, colour] of [[2.5 / zoom, "rgb(0 0 0 / .5)"], [1.2 / zoom, "#fff"]]) {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.setLineDash(dash.map((length) => length / zoom));
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.stroke();
  }
  pen.setLineDash([]);
}
function trace(pen, { points, radius }, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 2 * radius;
  pen.beginPath();
  points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  if (points.length === 1) pen.lineTo(points[0][0] + 0.01, points[0][1]);
  pen.stroke();
}
