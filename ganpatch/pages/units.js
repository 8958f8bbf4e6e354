// What the review page and the studio share: how units are sorted, filtered and shown. An ES module; the review page
// holds it inline, without its "export" words, because modules do not load from disk.

export const short = (value) => Number(value).toPrecision(3).replace(/\.?0+$/, "").replace(/\.?0+e/, "e");

// name -> [text, values of (data, isFlagged), direction, what that is]
export const sorts = {
  unit: ["unit number", (d) => d.units.map((_, i) => i), 1, "as the layer numbers them"],
  peak: ["peak activation", (d) => d.peak, -1, "the strongest activation in any image"],
  spike: ["peak over 99.9 % level", (d) => d.peak.map((p, i) => p / Math.max(1e-9, Math.abs(d.q999[i]))), -1, "how far the peak stands out of what the unit usually reaches"],
  rare: ["fires rarely", (d) => d.firing_rate, 1, "the share of pixels with an activation above 0, the smallest first"],
  often: ["fires often", (d) => d.firing_rate, -1, "the share of pixels with an activation above 0"],
  mean: ["mean activation", (d) => d.mean, -1, "over all pixels of all images"],
  q99: ["99 % level", (d) => d.q99, -1, "what one pixel in a hundred exceeds"],
  q999: ["99.9 % level", (d) => d.q999, -1, "what one pixel in a thousand exceeds"],
  flagged: ["flagged first", (d, isFlagged) => d.units.map((_, i) => (isFlagged(i) ? 0 : 1)), 1, "what is in the patch"],
};

// The test for units that a filter means: all, flagged, or numbers and spans.
export function wantedUnits(filter, units, isFlagged) {
  const text = filter.trim().toLowerCase();
  if (!text || text === "all") return () => true;
  if ("flagged".startsWith(text)) return isFlagged;
  const chosen = new Set();
  for (const part of text.split(",")) {
    const span = part.trim().match(/^(\d+)(?:\s*-\s*(\d+))?$/);
    if (span) for (let unit = +span[1]; unit <= Math.min(+(span[2] ?? span[1]), units); unit++) chosen.add(unit);
  }
  return (unit) => chosen.has(unit);
}

// Units in the order of a sort, an entry of `sorts` or one like them; those that the filter means.
export function arranged(data, [, valuesOf, direction], filter, isFlagged) {
  const values = valuesOf(data, isFlagged);
  const units = data.units.map((_, unit) => unit).filter(wantedUnits(filter, data.units.length, isFlagged));
  return units.sort((a, b) => direction * (values[a] - values[b]) || a - b);
}

// Two lines about a unit.
export function facts(data, unit) {
  const percent = data.firing_rate[unit] * 100;
  return [`peak ${short(data.peak[unit])} · 99 % ${short(data.q99[unit])}`,
    `fires ${percent < 1 ? percent.toPrecision(2) : percent.toFixed(0)} % · mean ${short(data.mean[unit])}`];
}

// Show the thumbnail of a seed as the background of an element; `urlOf(sheet)` gives a sheet's address.
export function placeShot(element, thumbnails, seed, zoom, urlOf) {
  const { height, width, columns, rows, sheets, places } = thumbnails;
  const place = places[seed];
  const inSheet = place % (columns * rows);
  const sheet = Math.floor(place / (columns * rows));
  const shown = Math.min(columns, thumbnails.count - sheet * columns * rows);
  element.style.width = `${width * zoom}px`;
  element.style.height = `${height * zoom}px`;
  element.style.backgroundImage = `url("${urlOf(sheets[sheet])}")`;
  element.style.backgroundSize = `${shown * width * zoom}px auto`;
  element.style.backgroundPosition = `${-(inSheet % columns) * width * zoom}px ${-Math.floor(inSheet / columns) * height * zoom}px`;
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// Heat: a unit's activation over the image, from nothing (0) to its own peak (255).
const ramp = Array.from({ length: 256 }, (_, value) => {
  const t = value / 255;
  return [255 * Math.min(1, 1.6 * t), 255 * Math.max(0, 1.7 * t - 0.7), 60 * (1 - t), 200 * Math.min(1, 1.2 * t)];
});
export function heatCanvas(bytes, start, height, width) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) pixels.data.set(ramp[bytes[start + i]], 4 * i);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
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
