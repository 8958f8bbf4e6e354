// The bar above the units: what to do, how they are sorted, filtered and shown, how far one is.

import { shared } from "./alike.js";
import { $, button, choice, counted, make } from "./dom.js";
import { activityOf } from "./rows.js";
import { SIZES, placeShot, zoomOf } from "./thumbnails.js";
import { STATES, short, sorts } from "./units.js";

const TODO = "ganpatch:todo", ENOUGH = 3;

// The bar in `#review-bar`; it shows what `review` shows, and changes it through the host's `look`.
export function openBar(host, review) {
  const { look, state } = host;
  const parts = {
    sort: make("select", { id: "sort", "aria-describedby": "explained" }),
    filter: make("input", { id: "filter", type: "search", placeholder: "unseen, or 3,17-19", list: "states", autocomplete: "off", spellcheck: "false", title: "flagged, fine, seen, unseen, or numbers and ranges (/)" }),
    where: choice("Where a unit is active", [["off", "off"], ["outline", "outline", "A line around where it exceeds its 99 % level (h)"], ["heat", "heat", "Its activation, from nothing to its peak (h)"]], state.where, (where) => look({ where })),
    size: choice("Size of images", Object.keys(SIZES).map((name) => [name, name, name === "Fit" ? "As large as the width allows" : `Size ${name} (+ and -)`]), state.size, (size) => look({ size })),
    grid: choice("View", [["false", "rows", "The top images of each unit (v)"], ["true", "grid", "One image per unit, for a first sweep (v)"]], state.grid, (grid) => look({ grid: grid === "true" })),
    fold: button("fold alike", () => look({ fold: !state.fold }), { id: "fold", title: "Show one row of those that share most of their images (o)" }),
    share: button("what they share", () => share(), { id: "share", title: "What the flagged units share (s)" }),
    counts: make("span", { id: "counts", "aria-live": "polite" }),
    seen: make("progress", { id: "seen", max: 1, value: 0 }),
    seenText: make("span", { id: "seen-text", class: "soft" }),
    explained: make("p", { id: "explained", class: "soft" }),
    todo: make("p", { id: "todo", hidden: true }, make("span", {}, host.todo), button("×", () => done(), { class: "tool", "aria-label": "close this hint" })),
  };
  parts.sort.onchange = () => look({ sort: parts.sort.value });
  parts.filter.oninput = () => look({ show: parts.filter.value });
  const more = button("view", () => more.setAttribute("aria-expanded", bar.classList.toggle("open")), { class: "more", "aria-expanded": "false" });
  const bar = make("div", { class: "bar" }, parts.todo,
    make("label", {}, "Sort ", parts.sort), make("label", {}, "Show ", parts.filter), more,
    make("span", { class: "progress" }, parts.counts, parts.seen, parts.seenText),
    make("span", { class: "views" }, parts.grid.element, make("span", { class: "label" }, "active ", parts.where.element), make("span", { class: "label" }, "size ", parts.size.element), parts.fold, parts.share),
    parts.explained);
  $("review-bar").replaceChildren(bar, make("datalist", { id: "states" }, ...STATES.map((value) => make("option", { value }))), make("dialog", { id: "shared", "aria-label": "What the flagged units share" }));
  $("shared").addEventListener("click", (event) => event.target === $("shared") && $("shared").close());
  try { parts.todo.hidden = localStorage.getItem(TODO) === "done"; } catch { parts.todo.hidden = false; }

  function done() { parts.todo.hidden = true; try { localStorage.setItem(TODO, "done"); } catch { /* private mode: it comes again */ } }
  function share() { if (review.source && host.flags.all().size > 1) showShared(review.source, host.flags.all(), (unit) => { $("shared").close(); look({ unit }); }); }
  function show() {
    parts.where.set(state.where);
    parts.size.set(state.size);
    parts.grid.set(state.grid);
    parts.fold.setAttribute("aria-pressed", state.fold);
    if (document.activeElement !== parts.filter) parts.filter.value = state.show;
    if (!review.source) return;
    parts.sort.value = review.sort;
    parts.explained.replaceChildren(...explained(review, host.command));
  }
  return {
    share, show,
    source(source) {
      const group = (label, known) => make("optgroup", { label }, ...Object.entries(known).map(([name, [text]]) => make("option", { value: name }, text)));
      parts.sort.replaceChildren(...(source?.orders.length ? [group("Found", review.orders())] : []), group("Measured", sorts));
      parts.fold.disabled = !source?.alike.some((others) => others.length);
      show();
    },
    count() {
      const flagged = host.flags.all().size, units = host.units(), source = review.source;
      const fine = source ? host.marks().of(source.layer).fine.size : 0, seen = source ? Array.from({ length: units }, (_, unit) => unit).filter(review.is().seen).length : 0;
      const elsewhere = host.flaggedEverywhere?.() ?? 0;
      const left = source && review.units.length < units ? ` · ${review.units.length} shown` : "";
      parts.counts.textContent = `${flagged} of ${counted(units, "unit")} flagged${elsewhere > flagged ? `, ${elsewhere} in all layers` : ""}${fine ? ` · ${fine} fine` : ""}${left}`;
      [parts.seen.max, parts.seen.value] = [units || 1, seen];
      parts.seenText.textContent = `${seen} seen`;
      parts.seen.setAttribute("aria-label", `${seen} of ${units} units seen`);
      parts.share.disabled = flagged < 2;
      if (flagged >= ENOUGH) done();
      $("reasons").replaceChildren(...host.flags.reasons().map((text) => make("option", { value: text })));
    },
  };
}

// What the order is; and how units are suggested, where nothing has suggested any.
function explained(review, command) {
  const [name, , , explains] = review.every()[review.sort];
  const line = review.sort.startsWith("by:") ? `${name}: ${explains}` : `Sorted by ${name}: ${explains}.`;
  if (Object.keys(review.orders()).some((one) => one.startsWith("by:suggested"))) return [line];
  return [`${line} `, make("span", { class: "ask" }, "Nothing is suggested yet. To see the most promising units first, run ", make("code", {}, command()), " ",
    button("copy", (event) => navigator.clipboard?.writeText(command()).then(() => { event.target.textContent = "copied"; }), { class: "tool", "aria-label": "copy the command" }))];
}

// A dialog that sums up what the flagged units share: images, with the units that they activate; figures.
function showShared(source, flags, goTo) {
  const { units, seeds, medians } = shared(source.data, flags);
  const zoom = zoomOf("L", source.run.thumbnails);
  const shot = ([seed, count]) => {
    const unit = units.find((one) => source.data.units[one].includes(seed)), place = source.data.units[unit].indexOf(seed);
    const picture = make("div", { class: "shot" });
    placeShot(picture, source.run.thumbnails, seed, zoom, source.urlOf);
    picture.append(activityOf(source, unit, place, "outline", zoom));
    return make("button", { type: "button", class: "plain", onclick: () => goTo(unit), title: `go to unit ${unit}` }, make("figure", {}, picture, make("figcaption", { class: "soft" }, `seed ${seed}: ${count} of ${units.length}`)));
  };
  $("shared").replaceChildren(make("h2", {}, `${units.length} flagged units`),
    seeds.length ? make("p", {}, `${counted(seeds.length, "image")} in the top images of several of them${seeds.length > 12 ? "; the first 12" : ""}:`) : make("p", {}, "No image is in the top images of more than one of them."),
    make("div", { class: "shots wrap" }, ...seeds.slice(0, 12).map(shot)),
    make("table", {}, make("thead", {}, make("tr", {}, ...["median", "flagged", "all units"].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...medians.map(([what, own, every]) => make("tr", {}, make("th", { scope: "row" }, what), make("td", {}, short(own)), make("td", {}, short(every)))))),
    make("form", { method: "dialog" }, make("button", { class: "main" }, "Close")));
  $("shared").showModal();
}
