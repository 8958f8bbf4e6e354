// Looking into an image: which units are active in it, everywhere or where one points; the way between two seeds.

import { $, button, make, slider } from "./dom.js";
import { Stream, imagesBody } from "./net.js";
import { reasonOf, session, subscribe } from "./session.js";
import { isPinned, togglePin } from "./tray.js";
import { fromBase64, heatCanvas, short } from "./units.js";
import { look, onView, point, view } from "./view.js";

const images = new Stream(), plain = new Stream(), activity = new Stream();
const parts = {};
let spot = null;       // where was pointed, in image pixels
let walking = 0;

export function openLook() {
  const number = (label, changed) => { const one = make("input", { type: "number", min: 0, step: 1, class: "seed", "aria-label": label }); one.onchange = changed; return one; };
  parts.seed = number("seed", () => look({ seed: Math.max(0, Math.floor(+parts.seed.value || 0)) }));
  parts.to = number("seed to walk to", () => look({ to: parts.to.value === "" ? null : Math.max(0, Math.floor(+parts.to.value)) }));
  parts.to.placeholder = "walk to";
  parts.t = slider("walk", { step: 0.01, value: view.t, moved: (t) => look({ t }), format: (v) => `${Math.round(v * 100)} %` });
  parts.play = button("▶", play, { title: "Walk (w)", "aria-label": "walk between the seeds" });
  parts.pin = button("Pin", () => togglePin(point()), { title: "Pin to the tray (p)" });
  parts.patched = button("Patched", () => look({ patched: !view.patched }), { title: "With the patch, or as the model draws it (b)" });
  parts.image = make("canvas", { class: "image" });
  parts.heat = make("div", { class: "heat" });
  parts.mark = make("i", { class: "mark", hidden: true });
  parts.stage = make("div", { class: "stage", role: "img" }, parts.image, parts.heat, parts.mark);
  parts.stage.onclick = pointed;
  parts.other = make("canvas", { class: "image small" });
  parts.caption = make("figcaption", { class: "soft" });
  parts.units = make("div", { class: "tiles" });
  parts.title = make("h2");
  $("look").replaceChildren(
    make("div", { class: "bar" }, make("label", {}, "Seed ", parts.seed), button("‹", () => look({ seed: Math.max(0, view.seed - 1) }), { "aria-label": "previous seed" }), button("›", () => look({ seed: view.seed + 1 }), { "aria-label": "next seed" }),
      button("Random", () => look({ seed: Math.floor(Math.random() * 100_000) }), { title: "Another image (n)" }), make("label", {}, "to ", parts.to), parts.t.element, parts.play, parts.pin, parts.patched,
      button("Paint", () => look({ view: "paint", to: null }), { title: "Paint on this image" })),
    make("div", { class: "looking" }, make("div", { class: "canvas" }, parts.stage), make("figure", {}, parts.other, parts.caption)),
    make("div", { class: "line" }, parts.title, button("whole image", () => { spot = null; show(); }, { id: "whole" })),
    parts.units);
  onView((names) => {
    if (names.has("view") && view.view !== "look") stop();
    if (names.has("seed") || names.has("layer")) spot = names.has("seed") ? null : spot;
    if (["view", "seed", "to", "t", "layer", "patched"].some((name) => names.has(name))) show();
    else if (names.has("unit")) showHere();
  });
  subscribe((what) => what === "state" && show());
  show();
}

function show() {
  if (view.view !== "look") return;
  if (document.activeElement !== parts.seed) parts.seed.value = view.seed;
  if (document.activeElement !== parts.to) parts.to.value = view.to ?? "";
  parts.t.set(view.t);
  parts.t.element.hidden = parts.play.hidden = view.to === null;
  parts.pin.setAttribute("aria-pressed", isPinned(point()));
  parts.patched.setAttribute("aria-pressed", view.patched);
  parts.stage.style.aspectRatio = `${session.model.image[1]} / ${session.model.image[0]}`;
  const name = view.to === null ? `seed ${view.seed}` : `${Math.round(view.t * 100)} % of the way from seed ${view.seed} to ${view.to}`;
  parts.stage.setAttribute("aria-label", `${name}, ${view.patched ? "with" : "without"} the patch; click: which units draw this?`);
  parts.caption.textContent = view.patched ? "without the patch" : "with the patch";
  draw(images, parts.image, view.patched, 512);
  draw(plain, parts.other, !view.patched, 512);
  parts.mark.hidden = !spot;
  $("whole").hidden = !spot;
  if (spot) {
    parts.mark.style.left = `${(100 * spot[0]) / session.model.image[1]}%`;
    parts.mark.style.top = `${(100 * spot[1]) / session.model.image[0]}%`;
  }
  askUnits();
}
const draw = (stream, canvas, patch, largest) => stream.ask("images", imagesBody([point()], { patch, largest, stream: patch ? "look" : "look-plain" }), (image) => {
  if (!image) return;
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
});

function pointed(event) {
  const box = parts.stage.getBoundingClientRect();
  spot = [((event.clientX - box.left) / box.width) * session.model.image[1], ((event.clientY - box.top) / box.height) * session.model.image[0]];
  show();
}

// ---- the units ------------------------------------------------------------------------------------------------

function askUnits() {
  const asked = { point: point(), layer: view.layer, patch: view.patched, first: 24, ...(spot ? { x: spot[0], y: spot[1], radius: Math.min(...session.model.image) / 24 } : {}) };
  if (session.model.layers.find((one) => one.name === view.layer)?.size.length !== 2) { parts.units.replaceChildren(make("p", { class: "soft" }, `${view.layer} has no maps.`)); return; }
  activity.ask("activity", asked, (found) => {
    if (!found) return;
    parts.title.textContent = `Units of ${view.layer} active ${spot ? "here" : "in this image"}`;
    parts.title.append(make("small", {}, found.units[0]?.relative === null ? " by activation" : " beside their 99 % level"));
    const focus = document.activeElement?.dataset?.tile;
    parts.units.replaceChildren(...found.units.map((one) => tile(one, found.size)));
    if (focus) parts.units.querySelector(`[data-tile="${focus}"]`)?.focus();
    showHere();
  });
}
function tile({ unit, activation, relative, map }, [height, width]) {
  const heat = () => heatCanvas(fromBase64(map), 0, height, width);
  const flagged = reasonOf(view.layer, unit) !== null;
  const one = make("button", { type: "button", class: `tile${flagged ? " flagged" : ""}`, "data-tile": unit, "data-unit": unit, title: `unit ${unit}: activation ${short(activation)}${flagged ? ", flagged" : ""}` },
    heat(), make("span", {}, String(unit)), make("small", {}, relative === null ? short(activation) : `×${short(relative)}`));
  one.onmouseenter = one.onfocus = () => parts.heat.replaceChildren(heat());
  one.onmouseleave = one.onblur = () => parts.heat.replaceChildren();
  one.onclick = () => look({ unit });
  return one;
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
