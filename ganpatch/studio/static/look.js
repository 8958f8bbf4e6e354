// Looking into an image: which units are active in it, everywhere or where one points, outlined; before and after, wiped
// over one another; the way between two seeds.

import { outlineCanvas } from "./activity.js";
import { askWalk, openWalk } from "./walk.js";
import { $, button, make, numberInput, slider } from "./dom.js";
import { Stream } from "./net.js";
import { anySeed, imagesBody } from "./pictures.js";
import { reasonOf, session, subscribe } from "./session.js";
import { isPinned, togglePin } from "./tray.js";
import { fromBase64, short } from "./units.js";
import { look, onView, point, view } from "./view.js";

const images = new Stream("look", "the image"), plain = new Stream("look-other", "the other image"), activity = new Stream("activity", "the units");
const parts = {};
let spot = null;       // where was pointed, in image pixels
let walking = 0;

export function openLook() {
  parts.seed = numberInput("seed", (seed) => look({ seed: seed ?? 0 }));
  parts.to = numberInput("seed to walk to", (to) => look({ to }), { placeholder: "walk to" });
  parts.t = slider("walk", { step: 0.01, value: view.t, moved: (t) => look({ t }), format: (v) => `${Math.round(v * 100)} %` });
  parts.play = button("▶", play, { title: "Walk (w)", "aria-label": "walk between the seeds" });
  parts.pin = button("Pin", () => togglePin(point()), { title: "Pin to the tray (p)" });
  parts.patched = button("Patched", () => look({ patched: !view.patched }), { title: "With the patch, or as the model draws it (b)" });
  parts.image = make("canvas", { class: "image" });
  parts.wiped = make("canvas", { class: "wiped", "aria-hidden": "true" });
  parts.edge = make("i", { class: "edge", hidden: true });
  parts.wipe = slider("before", { label: "to see the other one", step: 0.01, value: 0, moved: wipe, format: (v) => `${Math.round(v * 100)} %` });
  parts.heat = make("div", { class: "outline" });
  parts.mark = make("i", { class: "mark", hidden: true });
  parts.stage = make("div", { class: "stage", role: "application", tabindex: 0 }, parts.image, parts.wiped, parts.edge, parts.heat, parts.mark);
  parts.stage.onclick = pointed;
  parts.stage.onkeydown = moved;
  parts.other = make("canvas", { class: "image small", role: "img" });
  parts.caption = make("figcaption", { class: "soft" });
  parts.units = make("div", { class: "tiles" });
  parts.title = make("h2", {}, "Units");
  $("look").replaceChildren(
    make("div", { class: "bar" }, make("label", {}, "Seed ", parts.seed), button("‹", () => look({ seed: Math.max(0, view.seed - 1) }), { "aria-label": "previous seed" }), button("›", () => look({ seed: view.seed + 1 }), { "aria-label": "next seed" }),
      button("Random", () => look({ seed: anySeed() }), { title: "Another image (n)" }), make("label", {}, "to ", parts.to), parts.t.element, parts.play, parts.pin, parts.patched,
      button("Paint", () => look({ view: "paint", to: null }), { title: "Paint on this image" })),
    openWalk(),
    make("div", { class: "looking" }, make("div", { class: "canvas" }, parts.stage, parts.wipe.element), make("figure", {}, parts.other, parts.caption)),
    make("div", { class: "line" }, parts.title, button("whole image", () => { spot = null; show(); }, { id: "whole" })),
    parts.units);
  onView((names) => {
    if (names.has("view") && view.view !== "look") stop();
    if (names.has("seed") || names.has("layer")) spot = names.has("seed") ? null : spot;
    if (["view", "seed", "to", "layer", "patched"].some((name) => names.has(name))) show();
    else if (names.has("t")) show("ask");
    else if (names.has("unit")) { showHere(); outline(); askWalk(); }
  });
  subscribe((what) => (what === "state" || what === "again") && show());
  show();
}

// `how` images are asked for: on a walk each is drawn that can be, else what is drawn for an earlier seed is ended.
function show(how = session.model.seconds > 0.2 ? "turn" : "ask") {
  if (view.view !== "look") { for (const stream of [images, plain, activity]) stream.stop(); return; }
  if (document.activeElement !== parts.seed) parts.seed.value = view.seed;
  if (document.activeElement !== parts.to) parts.to.value = view.to ?? "";
  parts.t.set(view.t);
  parts.t.element.hidden = parts.play.hidden = view.to === null;
  parts.pin.setAttribute("aria-pressed", isPinned(point()));
  parts.patched.setAttribute("aria-pressed", view.patched);
  parts.stage.style.aspectRatio = `${session.model.image[1]} / ${session.model.image[0]}`;
  const name = view.to === null ? `seed ${view.seed}` : `${Math.round(view.t * 100)} % of the way from seed ${view.seed} to ${view.to}`;
  parts.stage.setAttribute("aria-label", `Image of ${name}, ${view.patched ? "with" : "without"} the patch. Click, or arrow keys and then Enter: which units draw this?`);
  parts.caption.textContent = view.patched ? "without the patch" : "with the patch";
  parts.other.setAttribute("aria-label", `the same image ${parts.caption.textContent}`);
  parts.wipe.element.firstChild.textContent = view.patched ? "before" : "after";
  draw(images, how, view.patched, (image) => { drawOn(parts.image, image); drawTiles(); });
  draw(plain, how, !view.patched, (image) => { drawOn(parts.other, image); drawOn(parts.wiped, image); });
  parts.mark.hidden = !spot;
  $("whole").hidden = !spot;
  if (spot) {
    parts.mark.style.left = `${(100 * spot[0]) / session.model.image[1]}%`;
    parts.mark.style.top = `${(100 * spot[1]) / session.model.image[0]}%`;
  }
  askUnits(how);
}
const draw = (stream, how, patch, drawn) => stream[how]("images", imagesBody([point()], { patch, largest: 512 }), drawn);
function drawOn(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
}
// The left share of the image shows the other one: before where the patch is on.
function wipe(share) {
  parts.wiped.style.clipPath = `inset(0 ${100 * (1 - share)}% 0 0)`;
  parts.edge.hidden = share === 0 || share === 1;
  parts.edge.style.left = `${100 * share}%`;
}

function pointed(event) {
  const box = parts.stage.getBoundingClientRect();
  spot = [((event.clientX - box.left) / box.width) * session.model.image[1], ((event.clientY - box.top) / box.height) * session.model.image[0]];
  show();
}
function moved(event) {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const [height, width] = session.model.image;
  if (by) spot = (spot ?? [width / 2, height / 2]).map((place, axis) => Math.min([width, height][axis], Math.max(0, place + (by[axis] * Math.min(height, width)) / 16)));
  else if (event.key === "Escape" && spot) spot = null;
  else return;
  event.preventDefault();
  event.stopPropagation();
  show();
}

// ---- the units ------------------------------------------------------------------------------------------------

function askUnits(how) {
  const asked = { point: point(), layer: view.layer, patch: view.patched, first: 24, ...(spot ? { x: spot[0], y: spot[1], radius: Math.min(...session.model.image) / 24 } : {}) };
  if (session.model.layers.find((one) => one.name === view.layer)?.size.length !== 2) { parts.units.replaceChildren(make("p", { class: "soft" }, `${view.layer} has no maps.`)); return; }
  activity[how]("activity", asked, (found) => {
    if (asked.layer !== view.layer) return;
    if (found.label !== null) parts.caption.textContent = `${view.patched ? "without the patch" : "with the patch"} · class ${found.label}`;
    parts.title.textContent = `Units of ${asked.layer} active ${asked.x === undefined ? "in this image" : "here"}`;
    parts.title.append(make("small", {}, found.units[0]?.relative === null ? " by activation" : " relative to their 99 % level"));
    const focus = document.activeElement?.dataset?.tile;
    active = found;
    parts.units.replaceChildren(...found.units.map(tile));
    if (focus) parts.units.querySelector(`[data-tile="${focus}"]`)?.focus();
    drawTiles();
    showHere();
    outline();
    askWalk();
  });
}
let active = null;   // the units that are shown, and the size of their maps
function tile({ unit, activation, relative }) {
  const flagged = reasonOf(view.layer, unit) !== null;
  const what = `unit ${unit}: activation ${short(activation)}${relative === null ? "" : `, ${short(relative)} times its 99 % level`}${flagged ? ", flagged" : ""}`;
  const one = make("button", { type: "button", class: `tile${flagged ? " flagged" : ""}`, "data-tile": unit, "data-unit": unit, title: what, "aria-label": what },
    make("span", { class: "over-image" }, make("canvas")), make("span", {}, String(unit)), make("small", {}, relative === null ? short(activation) : `×${short(relative)}`));
  one.onmouseenter = one.onfocus = () => outline(unit);
  one.onmouseleave = one.onblur = () => outline();
  one.onclick = () => look({ unit });
  return one;
}
const outlineOf = ({ map, level }, edge) => {
  const [height, width] = active.size, tall = (edge * session.model.image[0]) / session.model.image[1];
  return outlineCanvas(fromBase64(map), 0, height, width, level, tall, edge);
};
// Each tile is the image, with the outline of where its unit is active.
function drawTiles() {
  for (const one of active && parts.image.width ? parts.units.querySelectorAll(".tile") : []) {
    const found = active.units.find(({ unit }) => unit === Number(one.dataset.unit));
    if (!found) continue;
    const canvas = one.querySelector("canvas"), pen = canvas.getContext("2d");
    canvas.width = 96;
    canvas.height = Math.round((96 * parts.image.height) / parts.image.width);
    pen.drawImage(parts.image, 0, 0, canvas.width, canvas.height);
    const lines = outlineOf(found, 96);
    pen.drawImage(lines, 0, 0, canvas.width, canvas.height);
  }
}
// On the image: the unit that is pointed at, else the chosen one, else the most active.
function outline(pointedAt = null) {
  const units = active?.units ?? [];
  const found = units.find(({ unit }) => unit === pointedAt) ?? units.find(({ unit }) => unit === view.unit) ?? units[0];
  parts.heat.replaceChildren(...(found ? [outlineOf(found, parts.stage.clientWidth || 256)] : []));
}
const showHere = () => { for (const one of parts.units.children) one.classList?.toggle("here", Number(one.dataset.unit) === view.unit); };

// ---- walking ----------------------------------------------------------------------------------------------------

export function play() {
  if (walking) return stop();
  if (view.to === null) return;
  parts.play.textContent = "❚❚";
  const start = performance.now() - Math.acos(1 - 2 * view.t) / Math.PI * 4000;
  const frame = (now) => {
    look({ t: Math.round(50 * (1 - Math.cos(((now - start) / 4000) * Math.PI))) / 100 });
    walking = requestAnimationFrame(frame);
  };
  walking = requestAnimationFrame(frame);
}
function stop() { cancelAnimationFrame(walking); walking = 0; parts.play.textContent = "▶"; }
