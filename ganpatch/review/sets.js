// The sets of units that were suggested: what their images share, what the edit gains and harms, and the command.

import { button, counted, make } from "./dom.js";
import { placeShot, zoomOf } from "./thumbnails.js";
import { spans } from "./units.js";

const SHOWN = 12; // images per set

// A section that folds; `copied(name)` copies the command that makes a set a patch, `urlOf(sheet)` is a sheet's address.
export function setsOf({ sets, thumbnails, urlOf, copied }) {
  const title = `${counted(sets.length, "suggested set")} of units that draw a fault together`;
  return make("details", { class: "sets", open: true }, make("summary", {}, title), ...sets.map((one) => rowOf(one, thumbnails, urlOf, copied)));
}

function rowOf(one, thumbnails, urlOf, copied) {
  const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
  const facts = `takes away ${percent(one.gain)} of what these images share; changes others by ${percent(one.harm)}`;
  const from = `${one.layer}, ${counted(one.units.length, "unit")}: ${spans(one.units)}. From ${one.start}.`;
  return make("div", { class: "set" },
    make("div", { class: "about-set" }, make("b", {}, one.name), ` ${facts} `, button("Copy command", () => copied(one.name)), make("div", { class: "soft" }, from)),
    make("div", { class: "set-images" }, ...one.images.filter((seed) => seed in thumbnails.places).slice(0, SHOWN).map((seed) => shotOf(seed, thumbnails, urlOf))));
}

function shotOf(seed, thumbnails, urlOf) {
  const shot = make("div", { class: "shot", title: `seed ${seed}` });
  placeShot(shot, thumbnails, seed, zoomOf("M", thumbnails, SHOWN, 0), urlOf);
  return shot;
}
