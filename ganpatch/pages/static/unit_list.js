// A long list of units, of which only what is in sight is in the page: rows, or a grid of tiles.

const SPARE = 4;   // rows beyond the edges that are drawn too

export class UnitList {
  #shown = new Map();   // index -> element
  #units = [];
  #height = 80;
  #columns = 1;
  #across = 0;          // width of a tile
  // `build(unit, index)` makes an element; `scroller` is the box that scrolls, `rows` the tall element in it.
  constructor(scroller, rows, build) {
    Object.assign(this, { scroller, rows, build });
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
  }
  get units() { return this.#units; }
  get columns() { return this.#columns; }
  // Show units again, in this order. An element in which text is typed stays, where its unit does.
  set(units, { height, columns = 1, across = 0 }) {
    Object.assign(this, { typed: this.#typed() });
    this.#units = units;
    [this.#height, this.#columns, this.#across] = [height, columns, across];
    for (const element of this.#shown.values()) if (element !== this.typed?.element || !units.includes(this.typed.unit)) element.remove();
    this.#shown.clear();
    if (this.typed?.element.isConnected) this.#put(units.indexOf(this.typed.unit), this.typed.element);
    this.rows.style.height = `${Math.ceil(units.length / columns) * height}px`;
    this.draw();
  }
  #typed() {
    for (const [index, element] of this.#shown) if (element.contains(document.activeElement) && document.activeElement.matches("input")) return { unit: this.#units[index], element };
    return null;
  }
  #put(index, element) {
    this.#shown.set(index, element);
    element.style.top = `${Math.floor(index / this.#columns) * this.#height}px`;
    if (this.#columns > 1) { element.style.left = `${(index % this.#columns) * this.#across}px`; element.style.width = `${this.#across}px`; }
    element.style.height = `${this.#height}px`;
    element.setAttribute("aria-setsize", this.#units.length);
    element.setAttribute("aria-posinset", index + 1);
    if (element.parentNode !== this.rows) this.rows.append(element);
  }
  draw() {
    const { scrollTop, clientHeight } = this.scroller;
    const first = Math.max(0, (Math.floor(scrollTop / this.#height) - SPARE) * this.#columns);
    const last = Math.min(this.#units.length, (Math.ceil((scrollTop + clientHeight) / this.#height) + SPARE) * this.#columns);
    const typed = this.#typed()?.element;
    for (const [index, element] of this.#shown) if ((index < first || index >= last) && element !== typed) { element.remove(); this.#shown.delete(index); }
    for (let index = first; index < last; index++) if (!this.#shown.has(index)) this.#put(index, this.build(this.#units[index], index));
  }
  #top(index) { return Math.floor(index / this.#columns) * this.#height; }
  // Bring a unit into sight, with its element.
  reveal(index) {
    if (index < 0 || !this.scroller.clientHeight) return;
    const top = this.#top(index), box = this.scroller;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + this.#height > box.scrollTop + box.clientHeight) box.scrollTop = Math.min(top, top + this.#height - box.clientHeight);
    this.draw();
  }
  // Whether at least half of an element is in sight.
  inSight(index) {
    const top = this.#top(index) - this.scroller.scrollTop, half = this.#height / 2;
    return index >= 0 && top + half >= 0 && top + half <= this.scroller.clientHeight;
  }
  // The indexes of all that is entirely in sight; at least that of the first that begins there.
  whole() {
    const { scrollTop, clientHeight } = this.scroller;
    const first = Math.ceil(scrollTop / this.#height), count = Math.max(1, Math.floor((scrollTop + clientHeight) / this.#height) - first);
    const indexes = Array.from({ length: count * this.#columns }, (_, place) => first * this.#columns + place);
    return clientHeight ? indexes.filter((index) => index < this.#units.length) : [];
  }
  get perScreen() { return Math.max(1, Math.floor(this.scroller.clientHeight / this.#height)) * this.#columns; }
  each(work) { for (const [index, element] of this.#shown) work(element, this.#units[index]); }
  elementOf(unit) { return this.#shown.get(this.#units.indexOf(unit)) ?? null; }
}
