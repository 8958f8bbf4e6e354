// How units are sorted, filtered and named. No DOM.

export const short = (value) => Number(value).toPrecision(3).replace(/\.?0+$/, "").replace(/\.?0+e/, "e");

// name -> [text, values of (data, isFlagged), direction, what it sorts by]
export const sorts = {
  unit: ["unit number", (d) => d.units.map((_, i) => i), 1, "in the order of the layer"],
  peak: ["peak activation", (d) => d.peak, -1, "the strongest activation in any image"],
  spike: ["peak over 99.9 % level", (d) => d.peak.map((p, i) => p / Math.max(1e-9, Math.abs(d.q999[i]))), -1, "how far the peak exceeds the level that one pixel in a thousand exceeds"],
  rare: ["rarely active", (d) => d.firing_rate, 1, "the share of pixels with an activation above 0, the smallest first"],
  often: ["often active", (d) => d.firing_rate, -1, "the share of pixels with an activation above 0, the largest first"],
  mean: ["mean activation", (d) => d.mean, -1, "over all pixels of all images"],
  q99: ["99 % level", (d) => d.q99, -1, "the activation that one pixel in a hundred exceeds"],
  q999: ["99.9 % level", (d) => d.q999, -1, "the activation that one pixel in a thousand exceeds"],
  flagged: ["flagged first", (d, isFlagged) => d.units.map((_, i) => (isFlagged(i) ? 0 : 1)), 1, "flagged units, then all others"],
};

// What each figure of a row means, for those who point at it.
const MEANS = {
  peak: "Peak: the strongest activation of this unit in any image.",
  q99: "99 % level: the activation that one pixel in a hundred exceeds, over all images. The outline shows where this unit exceeds it.",
  rate: "Active: the share of all pixels at which this unit's activation is above 0.",
  mean: "Mean: the activation averaged over all pixels of all images.",
};
// The figures of a unit: [text, what it means], those of the first line and those of the second.
export function figures(data, unit) {
  const percent = data.firing_rate[unit] * 100;
  return [
    [[`peak ${short(data.peak[unit])}`, MEANS.peak], [`99 % ${short(data.q99[unit])}`, MEANS.q99]],
    [[`active ${percent < 1 ? percent.toPrecision(2) : percent.toFixed(0)} %`, MEANS.rate], [`mean ${short(data.mean[unit])}`, MEANS.mean]],
  ];
}

// Words that the filter knows, with what each asks about a unit.
export const STATES = ["flagged", "fine", "unseen", "seen"];

// The test for units that a filter means: all, a state, or numbers and ranges. `is` has a test for each state.
export function wantedUnits(filter, units, is) {
  const text = filter.trim().toLowerCase();
  if (!text || text === "all") return () => true;
  const state = STATES.find((one) => one.startsWith(text));
  if (state) return is[state];
  const chosen = new Set();
  for (const part of text.split(",")) {
    const span = part.trim().match(/^(\d+)(?:\s*-\s*(\d+))?$/);
    if (span) for (let unit = +span[1]; unit <= Math.min(+(span[2] ?? span[1]), units); unit++) chosen.add(unit);
  }
  return (unit) => chosen.has(unit);
}

// Units in the order of a sort, an entry of `sorts` or one like them; those that the filter means.
export function arranged(data, [, valuesOf, direction], filter, is) {
  const values = valuesOf(data, is.flagged);
  const units = data.units.map((_, unit) => unit).filter(wantedUnits(filter, data.units.length, is));
  return units.sort((a, b) => direction * (values[a] - values[b]) || a - b);
}

// The place of each unit in the order of its score, from 1.
export function placesOf(scores) {
  const places = [];
  scores.map((_, unit) => unit).sort((a, b) => scores[b] - scores[a] || a - b).forEach((unit, index) => { places[unit] = index + 1; });
  return places;
}

// "3,17-19"
export function spans(units) {
  const parts = [];
  for (const unit of units) {
    const last = parts.at(-1);
    if (last && unit === last[1] + 1) last[1] = unit; else parts.push([unit, unit]);
  }
  return parts.map(([a, b]) => (a === b ? a : `${a}-${b}`)).join(",");
}
// The numbers of "3,17-19".
export function fromSpans(text) {
  const units = [];
  for (const part of text.split(",").filter(Boolean)) {
    const [first, last = first] = part.split("-").map(Number);
    for (let unit = first; unit <= last; unit++) units.push(unit);
  }
  return units;
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
