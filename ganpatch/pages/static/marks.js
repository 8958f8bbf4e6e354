// Which units of a run were seen, and which were found fine: kept in this browser.

import { fromSpans, spans } from "./units.js";

const empty = () => ({ seen: new Set(), fine: new Set() });

export class Marks {
  #key; #layers = Object.create(null);
  constructor(run) {
    this.#key = `ganpatch:marks:${run}`;
    try { this.take(JSON.parse(localStorage.getItem(this.#key)) ?? {}); } catch { /* private mode, or not ours */ }
  }
  of(layer) { return (this.#layers[layer] ??= empty()); }
  // Add what another browser marked.
  take(kept) {
    for (const [layer, marks] of Object.entries(kept)) {
      for (const what of ["seen", "fine"]) for (const unit of fromSpans(marks[what] ?? "")) this.of(layer)[what].add(unit);
    }
  }
  set(layer, what, units, on = true) {
    const marks = this.of(layer)[what];
    for (const unit of units) on ? marks.add(unit) : marks.delete(unit);
    try { localStorage.setItem(this.#key, JSON.stringify(this.kept())); } catch { /* private mode: while the page is open */ }
  }
  kept() {
    return Object.fromEntries(Object.entries(this.#layers).map(([layer, { seen, fine }]) =>
      [layer, { seen: spans([...seen].sort((a, b) => a - b)), fine: spans([...fine].sort((a, b) => a - b)) }]));
  }
}
