// The activation of the chosen unit on the way from one seed to another, as a curve.

import { $, debounced, make } from "./dom.js";
import { post } from "./net.js";
import { session } from "./session.js";
import { short } from "./units.js";
import { onView, view } from "./view.js";

const WIDTH = 320, HEIGHT = 44;
let shownFor = "";

export function openWalk() {
  const box = make("div", { id: "walk", hidden: true });
  onView((names) => {
    if (names.has("t")) mark();
    if (["to", "seed", "layer", "unit", "patched", "view"].some((name) => names.has(name))) askWalk();
  });
  return box;
}
const key = () => JSON.stringify([view.seed, view.to, view.layer, view.unit, view.patched, session.now.digest]);

// Ask for the curve where two seeds are walked between; of a slow model it has fewer points.
export const askWalk = debounced(async () => {
  $("walk").hidden = view.to === null || view.unit < 0 || view.view !== "look";
  if ($("walk").hidden || shownFor === key()) return;
  const wanted = key(), steps = session.model.seconds > 0.2 ? 4 : 16;
  const points = Array.from({ length: steps + 1 }, (_, step) => ({ seed: view.seed, to: view.to, t: step / steps }));
  let found = null;
  try { found = await post("maps", { layer: view.layer, unit: view.unit, points, patch: view.patched }); } catch { return; }
  if (found && wanted === key()) { shownFor = wanted; draw(found.peaks); }
}, 120);

function draw(peaks) {
  const high = Math.max(...peaks), low = Math.min(0, ...peaks), span = high - low || 1;
  const place = (value, step) => [(step / (peaks.length - 1)) * WIDTH, HEIGHT - 3 - ((value - low) / span) * (HEIGHT - 6)];
  const canvas = make("canvas", { width: 2 * WIDTH, height: 2 * HEIGHT, role: "img", "aria-label": `activation of unit ${view.unit} from seed ${view.seed} to ${view.to}: ${peaks.map(short).join(", ")}` });
  const pen = canvas.getContext("2d");
  pen.scale(2, 2);
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  pen.lineWidth = 1.8;
  pen.beginPath();
  peaks.forEach((value, step) => pen.lineTo(...place(value, step)));
  pen.stroke();
  $("walk").replaceChildren(make("span", { class: "soft" }, `unit ${view.unit}, peak ${short(Math.min(...peaks))} to ${short(high)}`), make("span", { class: "curve" }, canvas, make("i")));
  mark();
}
function mark() {
  const line = $("walk").querySelector("i");
  if (line) line.style.left = `${100 * view.t}%`;
}
