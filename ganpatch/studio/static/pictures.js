// Images of points: asked for in sheets, as many at once as nobody waits long for, and cut out of them.

import { session } from "./session.js";

const PATIENCE = 0.5;   // seconds for one sheet
const ACROSS = 8;

// How many images of `wanted` a view shows: fewer where each takes long.
export const atMost = (wanted, seconds = 4) => Math.max(2, Math.min(wanted, Math.floor(seconds / session.model.seconds)));
const atOnce = () => Math.max(1, Math.min(ACROSS, Math.floor(PATIENCE / session.model.seconds)));

// `more` names the edits.
export const imagesBody = (points, more = {}) => ({ points, columns: Math.min(ACROSS, points.length), ...more });

// Draw images of points, sheet after sheet; `drawn(sheet, count, start, ms)` gets each. What the stream drew before is ended.
export function drawAll(stream, points, more, drawn) {
  const step = atOnce();
  const from = (start) => {
    const part = points.slice(start, start + step);
    if (!part.length) return;
    stream.ask("images", imagesBody(part, more), (sheet, ms) => { drawn(sheet, part.length, start, ms); from(start + step); });
  };
  stream.stop();
  from(0);
}
// The same, without ending what is drawn just now: under a slider images follow as fast as they can.
export function drawOn(stream, points, more, drawn) {
  if (points.length > atOnce()) drawAll(stream, points, more, drawn);
  else if (points.length) stream.ask("images", imagesBody(points, more), (sheet, ms) => drawn(sheet, points.length, 0, ms));
}

export function cut(sheet, count, index) {
  const columns = Math.min(ACROSS, count);
  const rows = Math.ceil(count / columns);
  const width = sheet.width / columns, height = sheet.height / rows;
  return [sheet, (index % columns) * width, Math.floor(index / columns) * height, width, height];
}
export function drawCut(canvas, sheet, count, index) {
  const [image, x, y, width, height] = cut(sheet, count, index);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
}

// A seed that nobody has looked at: of inputs from files there are only so many.
export const anySeed = () => Math.floor(Math.random() * (session.model.inputs ?? 20_000));
// Seeds of no ranking and of no quality figure, page after page.
const FIRST = 700_000;
export function freshPoints(count, page) {
  const inputs = session.model.inputs;
  return Array.from({ length: Math.min(count, inputs ?? count) }, (_, index) => ({ seed: inputs ? (page * count + index) % inputs : FIRST + page * count + index }));
}
