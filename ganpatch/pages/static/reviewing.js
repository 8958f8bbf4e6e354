// Reviewing the units of a layer: the list, what is selected in it, flags and marks. The review page and the studio
// both use it, each with a host that says where flags are kept and what a click on an image opens.

import { alikeOf, folded } from "./alike.js";
import { $, announce, debounced } from "./dom.js";
import { askFor, isText } from "./keys.js";
import { openBar } from "./review_bar.js";
import { buildRow, buildTile, coverShot, paintRow } from "./rows.js";
import { SIZES, zoomOf } from "./thumbnails.js";
import { showTips } from "./tips.js";
import { UnitList } from "./unit_list.js";
import { arranged, figures, fromBase64, placesOf, sorts } from "./units.js";

const LOOKED = 1500;          // milliseconds in sight after which a row counts as seen
const SIDE = 236, NARROW = 700;
const WHERE = ["off", "outline", "heat"];

// What is looked at; a host keeps it, under these names. Unit -1: the first that is shown.
export const USUAL = { unit: -1, sort: "", show: "", where: "off", size: "Fit", grid: false, fold: false };

// What is shown of a layer: `layer` has its data, `run` its thumbnails, `orders` what was suggested or found.
export function sourceOf({ run, data, orders, map, urlOf, layer }) {
  return { run, data, orders, map, urlOf, layer, bytes: fromBase64(data.maps), places: orders.map(({ scores }) => placesOf(scores)), alike: alikeOf(data.units) };
}

// host: { state, look(changes), flags: { reasonOf(unit), all(), set([[unit, reason or null]]), reasons() }, marks,
//         open(unit, place), command (how units are suggested) }
export class Reviewing {
  #host; #list; #bar;
  #source = null;
  #alike = [];
  #opened = new Set();      // units of groups that are unfolded
  #anchor = -1;             // the other end of a selected range, an index
  #index = 0;
  #lastReason = "";
  #seen = debounced(() => this.#markSeen(), LOOKED);
  #settle = debounced(() => this.#settled(), 120);

  constructor(host) {
    this.#host = host;
    this.#list = new UnitList($("scroller"), $("rows"), (unit) => this.#build(unit));
    this.#bar = openBar(host, this);
    $("scroller").addEventListener("scroll", () => { this.#settle(); this.#seen(); }, { passive: true });
    new ResizeObserver(debounced(() => this.#source && this.arrange(), 60)).observe($("scroller"));
    this.#hearRows();
    showTips();
  }
  get source() { return this.#source; }
  get units() { return this.#list.units; }
  get #state() { return this.#host.state; }

  // Show a layer, or nothing.
  show(source) {
    this.#source = source;
    this.#opened.clear();
    this.#anchor = -1;
    this.#index = 0;
    this.#alike = source?.alike ?? [];
    $("scroller").hidden = !source;
    this.#bar.source(source);
    if (source) this.arrange();
    else { this.#list.set([], { height: 80 }); this.#bar.count(); }
  }

  // ---- order -----------------------------------------------------------------------------------------------

  orders() { return Object.fromEntries((this.#source?.orders ?? []).map(({ name, explains, scores }) => [`by:${name}`, [name, () => scores, -1, explains]])); }
  every() { return { ...this.orders(), ...sorts }; }
  // What was suggested comes first; without suggestions the units are in their own order.
  get sort() {
    const known = Object.keys(this.orders());
    return this.#state.sort in this.every() ? this.#state.sort : known.find((name) => name.startsWith("by:suggested")) ?? "unit";
  }
  is() {
    const { flags, marks } = this.#host, all = flags.all(), { seen, fine } = marks().of(this.#source.layer);
    const flagged = (unit) => all.has(unit), wasSeen = (unit) => seen.has(unit) || fine.has(unit) || all.has(unit);
    return { flagged, fine: (unit) => fine.has(unit), seen: wasSeen, unseen: (unit) => !wasSeen(unit) };
  }
  // Show the units in their order. What is selected always is a unit that is shown.
  arrange(at = this.#state.unit) {
    const source = this.#source, is = this.is();
    let units = arranged(source.data, this.every()[this.sort], this.#state.show, is);
    if (this.#state.fold) units = folded(units, this.#alike, this.#opened, is.flagged);
    const same = units.join() === this.units.join();   // a range lasts as long as its rows are where they were
    this.#list.set(units, this.#shape());
    const index = units.indexOf(at);
    this.#select(index >= 0 ? index : Math.min(this.#index, units.length - 1), { keep: same });
    this.#bar.count();
    this.#seen();
  }
  #shape() {
    const source = this.#source, room = $("scroller").clientWidth - 34, narrow = room < NARROW;
    const { thumbnails, k } = source.run;
    if (this.#state.grid) {
      source.zoom = zoomOf(this.#state.size === "Fit" ? "M" : this.#state.size, thumbnails, 1, room);
      const least = Math.max(92, Math.round(thumbnails.width * source.zoom) + 12), columns = Math.max(1, Math.floor((room + 34) / least));
      return { height: Math.round(thumbnails.height * source.zoom) + 40, columns, across: Math.floor((room + 34) / columns) };
    }
    source.zoom = zoomOf(this.#state.size, thumbnails, k, narrow ? room : room - SIDE);
    const own = Math.round(thumbnails.height * source.zoom), side = source.orders.length ? 84 : 66;
    return { height: narrow ? own + side + 20 : Math.max(own, side) + 14 };
  }

  // ---- rows ------------------------------------------------------------------------------------------------

  #build(unit) {
    const acts = { flag: (one) => this.toggle(one), fine: (one) => this.fine(one), reason: (one, text) => this.#setFlags([one], text), fold: (one) => this.unfold(one) };
    const shown = { ...this.#source, sort: this.sort };
    const row = (this.#state.grid ? buildTile : buildRow)(shown, unit, acts);
    row.addEventListener("pointerdown", (event) => this.#pressed(unit, event));
    row.addEventListener("keydown", ({ key, target }) => ["Enter", "Escape"].includes(key) && target.matches(".reason") && this.#list.reveal(this.units.indexOf(unit)));
    row.addEventListener("focusin", () => unit !== this.#state.unit && !this.chosen().includes(unit) && this.#select(this.units.indexOf(unit), { reveal: false }));
    this.#paint(row, unit);
    this.#cover(row, unit);
    return row;
  }
  #pressed(unit, event) {
    const index = this.units.indexOf(unit);
    if (event.shiftKey) { event.preventDefault(); this.#extend(index); }
    else if (!(event.target.closest(".verdict") && this.chosen().includes(unit))) this.#select(index, { reveal: false });
  }
  #paint(row, unit) {
    const { flags, marks } = this.#host, { seen, fine } = marks().of(this.#source.layer);
    const [low, high] = this.range(), index = this.units.indexOf(unit);
    paintRow(row, unit, { reason: flags.reasonOf(unit), fine: fine.has(unit), seen: seen.has(unit), here: unit === this.#state.unit, chosen: high > low && index >= low && index <= high });
  }
  #cover(row, unit) { for (const shot of row.querySelectorAll(".shot")) coverShot(shot, this.#source, unit, this.#state.where); }
  repaint() {
    if (!this.#source) return this.#bar.count();
    const state = this.#state.show.trim().toLowerCase();
    if (state && ["flagged", "fine"].some((one) => one.startsWith(state))) this.arrange();
    else this.#list.each((row, unit) => this.#paint(row, unit));
    this.#bar.count();
  }
  #hearRows() {
    const found = (event) => {
      const shot = event.target.closest?.(".shot");
      return shot && this.#source ? [shot, Number(shot.closest(".row").dataset.unit)] : [];
    };
    const hovered = () => (this.#state.where === "heat" ? "heat" : "outline");
    $("rows").addEventListener("mouseover", (event) => { const [shot, unit] = found(event); if (shot) coverShot(shot, this.#source, unit, hovered()); });
    $("rows").addEventListener("mouseout", (event) => { const [shot, unit] = found(event); if (shot && !shot.contains(event.relatedTarget)) coverShot(shot, this.#source, unit, this.#state.where); });
    $("rows").addEventListener("click", (event) => {
      const [shot, unit] = found(event);
      if (!shot || event.shiftKey) return;
      if (this.#state.grid) this.toggle(unit); else this.#host.open(unit, Number(shot.dataset.place));
    });
  }

  // ---- what is selected ------------------------------------------------------------------------------------

  // The first and the last index that is selected.
  range() { return this.#anchor < 0 ? [this.#index, this.#index] : [Math.min(this.#index, this.#anchor), Math.max(this.#index, this.#anchor)]; }
  chosen() { const [low, high] = this.range(); return this.units.slice(low, high + 1); }
  // Under a pointer nothing scrolls: what was pressed stays where it is.
  #select(index, { keep = false, reveal = true } = {}) {
    if (!keep) this.#anchor = -1;
    this.#index = Math.max(0, index);
    const unit = this.units[this.#index] ?? -1;
    if (unit !== this.#state.unit) this.#host.look({ unit });
    if (reveal) this.#list.reveal(this.units.length ? this.#index : -1);
    this.#list.each((row, one) => this.#paint(row, one));
    this.#bar.count();
    this.#seen();
  }
  // What was scrolled out of sight is not selected any longer: a key would act on what nobody sees.
  #settled() {
    if (!this.#source || !this.units.length || !$("scroller").clientHeight || isText(document.activeElement)) return;
    if (this.#list.inSight(this.#index)) return;
    const whole = this.#list.whole();
    this.#select(this.#list.inSight(whole[0]) && whole[0] > this.#index ? whole[0] : whole.at(-1) ?? 0);
  }
  // The host has other state than before: `names` of what changed.
  changed(names) {
    if (!this.#source) return;
    if (names.has("where")) this.#list.each((row, unit) => this.#cover(row, unit));
    if (names.has("sort")) { this.#index = 0; this.arrange(-1); }
    else if (["show", "size", "grid", "fold"].some((name) => names.has(name))) { if (names.has("show")) this.#index = 0; this.arrange(); }
    else if (names.has("unit") && this.#state.unit !== this.units[this.#index]) this.#goTo(this.#state.unit);
    this.#bar.show();
  }
  // Select a unit that was named elsewhere: a filter or a fold that hides it ends.
  #goTo(unit) {
    if (unit < 0 || unit >= this.#source.data.units.length) return this.#select(this.#index);
    if (!this.units.includes(unit)) {
      for (const other of [unit, ...this.#alike[unit]]) this.#opened.add(other);
      if (this.#state.show) this.#host.look({ show: "" });
      this.arrange(unit);
    } else this.#select(this.units.indexOf(unit));
  }
  revealed() { if (this.#source) { this.#list.draw(); this.#list.reveal(this.#index); } }

  // ---- moving ----------------------------------------------------------------------------------------------

  moveTo(index) {
    if (!this.units.length) return;
    this.#select(Math.max(0, Math.min(index, this.units.length - 1)));
    this.#say();
  }
  move(step) { this.#settled(); this.moveTo(this.#index + step); }
  #extend(index) {
    if (index < 0 || index >= this.units.length) return;
    if (this.#anchor < 0) this.#anchor = this.#index;
    this.#select(index, { keep: true });
    announce(`${this.chosen().length} units selected`);
  }
  #say() {
    const unit = this.#state.unit, reason = this.#host.flags.reasonOf(unit);
    announce(`unit ${unit}, ${figures(this.#source.data, unit)[1].map(([text]) => text).join(", ")}${reason === null ? "" : `, flagged ${reason}`}`);
  }
  #nextThat(wanted) {
    this.#settled();
    const later = this.units.findIndex((unit, index) => index > this.#index && wanted(unit));
    const first = this.units.findIndex(wanted);
    if (first >= 0) this.moveTo(later >= 0 ? later : first);
    else announce("there is none");
  }

  // ---- flags and marks -------------------------------------------------------------------------------------

  #setFlags(units, reason) {
    const { flags } = this.#host, other = units.filter((unit) => unit >= 0 && flags.reasonOf(unit) !== reason);
    if (!other.length) return;
    if (reason !== null) { this.#lastReason = reason; this.#mark("fine", other, false); }
    flags.set(other.map((unit) => [unit, reason]));
  }
  #mark(what, units, on) { this.#host.marks().set(this.#source.layer, what, units, on); this.#host.marked?.(); }
  // Flag a unit, or take its flag off; without one, what is selected.
  toggle(unit) {
    const units = this.#meant(unit);
    if (units.length) this.#setFlags(units, units.every((one) => this.#host.flags.reasonOf(one) !== null) ? null : this.#lastReason);
  }
  fine(unit) {
    const units = this.#meant(unit);
    if (!units.length) return;
    const { fine } = this.#host.marks().of(this.#source.layer), on = !units.every((one) => fine.has(one));
    if (on) this.#setFlags(units, null);
    this.#mark("fine", units, on);
    this.repaint();
  }
  #meant(unit) {
    if (unit !== undefined) return this.chosen().includes(unit) ? this.chosen() : [unit];
    this.#settled();
    return this.#source ? this.chosen() : [];
  }
  // Flag what is selected, and focus the field of its reason, once that is in sight.
  reason() {
    const unit = this.#meant().length ? this.#state.unit : -1;
    if (this.#state.grid && unit >= 0) this.#host.look({ grid: false });
    this.#list.reveal(this.#index);
    const field = () => this.#list.elementOf(unit)?.querySelector(".reason");
    if (!field()) return void askFor(null);
    if (this.#host.flags.reasonOf(unit) === null) this.toggle();
    askFor(field());
  }
  #markSeen() {
    if (!this.#source || this.#state.grid || document.hidden || !$("scroller").clientHeight) return;
    const { seen } = this.#host.marks().of(this.#source.layer);
    const fresh = this.#list.whole().map((index) => this.units[index]).filter((unit) => !seen.has(unit));
    if (!fresh.length) return;
    this.#mark("seen", fresh, true);
    this.#list.each((row, unit) => this.#paint(row, unit));
    this.#bar.count();
  }
  // Fold or unfold the group of a unit.
  unfold(unit) {
    const group = [unit, ...this.#alike[unit]], open = this.#state.fold && !this.#opened.has(unit);
    for (const one of group) open ? this.#opened.add(one) : this.#opened.delete(one);
    if (this.#state.fold) this.arrange(unit); else this.#host.look({ fold: true });
  }

  // ---- keys ------------------------------------------------------------------------------------------------

  actions() {
    const { look } = this.#host, sizes = Object.keys(SIZES), down = () => (this.#state.grid ? this.#list.columns : 1);
    const resize = (by) => look({ size: sizes[Math.max(1, Math.min(sizes.length - 1, (sizes.indexOf(this.#state.size) || 2) + by))] });
    const extend = (step) => { this.#settled(); this.#extend(this.#index + step); };
    return {
      next: ({ key }) => this.move(key === "j" ? 1 : down()), previous: ({ key }) => this.move(key === "k" ? -1 : -down()), extendNext: () => extend(1), extendPrevious: () => extend(-1),
      right: () => this.move(1), left: () => this.move(-1),
      pageDown: () => this.move(this.#list.perScreen), pageUp: () => this.move(-this.#list.perScreen), first: () => this.moveTo(0), last: () => this.moveTo(this.units.length - 1),
      flag: () => this.toggle(), fine: () => this.fine(), reason: () => this.reason(),
      nextUnseen: () => { this.#markSeen(); this.#nextThat((unit) => this.is().unseen(unit)); }, nextFlagged: () => this.#nextThat((unit) => this.is().flagged(unit)),
      where: () => look({ where: WHERE[(WHERE.indexOf(this.#state.where) + 1) % WHERE.length] }), grid: () => look({ grid: !this.#state.grid }), fold: () => look({ fold: !this.#state.fold }),
      larger: () => resize(1), smaller: () => resize(-1), share: () => this.#bar.share(), filter: () => askFor($("filter")),
      open: () => { this.#settled(); if (this.units.length) this.#host.open(this.#state.unit, 0); },
    };
  }
}
