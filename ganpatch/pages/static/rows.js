// One unit in the list: a row with its figures and its top images, or a tile with its first image.

import { heatCanvas, outlineCanvas } from "./activity.js";
import { button, make } from "./dom.js";
import { placeShot } from "./thumbnails.js";
import { figures, short } from "./units.js";

// `shown` says what to draw of: { data, run, map, bytes, urlOf, orders, places, alike, zoom, sort }.
export function buildRow(shown, unit, acts) {
  const { data, orders, places, alike, sort } = shown;
  const figure = ([text, tip]) => make("span", { class: "fact", "data-tip": tip, tabindex: -1 }, text);
  const line = (list, kind) => make("div", { class: kind }, ...list.flatMap((one, index) => [index ? " · " : "", figure(one)]));
  const [first, second] = figures(data, unit);
  const own = Math.max(0, orders.findIndex(({ name }) => `by:${name}` === sort));
  const told = orders.map(({ name, explains, scores }, index) => `${places[index][unit]}. ${name}: ${explains} (${short(scores[unit])})`);
  const order = orders.length ? line([[`${places[own][unit]}. ${orders[own].name}`, told.join("\n")]], "order") : null;
  const reason = make("input", { class: "reason", placeholder: "reason", list: "reasons", "aria-label": `reason for flagging unit ${unit}` });
  reason.onchange = () => acts.reason(unit, reason.value.trim());
  const others = alike[unit].length;
  const same = others ? button(`≈ ${others}`, () => acts.fold(unit), { class: "alike", "data-tip": `Shares more than half of its images with ${others} other units. Press to fold or unfold them.`, "aria-label": `fold ${others} units that share most images` }) : null;
  const side = make("div", { class: "unit" },
    make("div", { class: "head" }, make("b", {}, String(unit)), same, make("span", { class: "push" }), verdictButton("fine", unit, acts), verdictButton("flag", unit, acts)),
    make("div", { class: "facts" }, line(first, "first"), line(second, "second"), order), reason);
  const shots = make("div", { class: "shots" }, ...data.units[unit].map((_, place) => buildShot(shown, unit, place)));
  return make("div", { class: "row", role: "listitem", "data-unit": unit }, side, shots);
}
export function buildTile(shown, unit, acts) {
  const shot = buildShot(shown, unit, 0);
  shot.title = `unit ${unit}: click flags it`;
  shot.setAttribute("aria-label", shot.title);
  return make("div", { class: "row tile", role: "listitem", "data-unit": unit }, shot,
    make("div", { class: "head" }, make("b", {}, String(unit)), make("span", { class: "push" }), verdictButton("flag", unit, acts)));
}
const verdictButton = (what, unit, acts) => button(what, () => acts[what](unit), { class: `verdict ${what}`, tabindex: -1 });

// A shot is cheap, because there are many: the first of a row is a button, the others can be clicked.
function buildShot({ data, run, zoom, urlOf }, unit, place) {
  const seed = data.units[unit][place];
  const what = `seed ${seed}, score ${short(data.scores[unit][place])}: look closer`;
  const shot = document.createElement(place ? "div" : "button");
  shot.className = "shot";
  shot.title = what;
  shot.dataset.place = place;
  if (!place) { shot.type = "button"; shot.tabIndex = -1; shot.setAttribute("aria-label", what); }
  placeShot(shot, run.thumbnails, seed, zoom, urlOf);
  return shot;
}

// Where a unit is active in one of its images: "outline" or "heat", `zoom` times as large as the thumbnail.
export function activityOf({ data, run, map: [h, w], bytes, zoom }, unit, place, where, larger = zoom) {
  const start = (unit * run.k + place) * h * w;
  const { height, inputs } = run.thumbnails, width = run.thumbnails.width / (inputs ? 2 : 1);
  return where === "heat" ? heatCanvas(bytes, start, h, w) : outlineCanvas(bytes, start, h, w, data.levels[unit], height * larger, width * larger);
}
export function coverShot(shot, shown, unit, where) {
  const drawn = where === "off" ? "" : where;
  if ((shot.dataset.where ?? "") === drawn) return;
  shot.dataset.where = drawn;
  shot.replaceChildren(...(drawn ? [activityOf(shown, unit, Number(shot.dataset.place), drawn)] : []));
}

// Show the state of a unit: { reason (null: not flagged), fine, seen, here, chosen }.
export function paintRow(row, unit, state) {
  const flagged = state.reason !== null;
  for (const [name, on] of Object.entries({ flagged, fine: state.fine, unseen: !state.seen && !flagged && !state.fine, here: state.here, chosen: state.chosen })) row.classList.toggle(name, on);
  const words = [flagged ? `flagged${state.reason ? `: ${state.reason}` : ""}` : "", state.fine ? "fine" : "", state.seen ? "" : "not seen yet"].filter(Boolean);
  row.setAttribute("aria-label", [`unit ${unit}`, ...words].join(", "));
  if (state.here) row.setAttribute("aria-current", "true"); else row.removeAttribute("aria-current");
  row.querySelector("b").title = words.join(", ") || "seen";
  for (const [what, on] of [["flag", flagged], ["fine", state.fine]]) {
    const one = row.querySelector(`.${what}.verdict`);
    if (!one) continue;
    one.setAttribute("aria-pressed", on);
    one.setAttribute("aria-label", `${what === "flag" ? (flagged ? "flagged" : "flag") : "fine"}, unit ${unit}`);
    if (what === "flag") one.textContent = flagged && !row.matches(".tile") ? "flagged" : "flag";
  }
  for (const one of row.querySelectorAll(".fact, .verdict, .shot, .alike")) if (one.tagName !== "DIV") one.tabIndex = state.here ? 0 : -1;
  const input = row.querySelector(".reason");
  if (input && document.activeElement !== input) input.value = state.reason ?? "";
}
