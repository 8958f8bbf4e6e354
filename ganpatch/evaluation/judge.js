// Pairs side by side: one key each for left, right and no difference; undo; progress. Answers are saved by the server,
// or kept in the browser and saved as a file where the page is opened from disk.

const $ = (id) => document.getElementById(id);
const served = location.protocol.startsWith("http");
const token = new URLSearchParams(location.search).get("token") ?? "";
const kept = `ganpatch-judge-${SHOWN.comparison}`;
let answers = [];

const at = (path) => (served ? `${path}?token=${encodeURIComponent(token)}` : path);
const current = () => SHOWN.pairs[answers.length];

async function load() {
  try {
    const found = served ? await (await fetch(at("answers"))).json() : JSON.parse(localStorage.getItem(kept) ?? "null");
    answers = (found?.answers ?? []).filter((one, place) => one.pair === SHOWN.pairs[place]);
  } catch { answers = []; }
  show();
}

function show() {
  const pair = current(), done = answers.length, all = SHOWN.pairs.length;
  for (const side of ["left", "right"]) {
    const image = $(`${side}-image`);
    $(side).disabled = !pair;
    image.hidden = !pair;
    if (!pair) continue;
    image.onload = () => image.classList.toggle("small", image.naturalWidth * 1.5 < image.clientWidth);
    image.src = at(`pairs/${pair}-${side}.png`);
  }
  $("same").disabled = !pair;
  $("undo").disabled = !done;
  $("progress").max = all;
  $("progress").value = done;
  $("state").textContent = pair ? `Pair ${done + 1} of ${all}` : `All ${all} pairs are answered. Thank you.`;
  finish(!pair);
  const next = SHOWN.pairs[done + 1];
  if (next) for (const side of ["left", "right"]) new Image().src = at(`pairs/${next}-${side}.png`);
}

function finish(isDone) {
  $("end").hidden = !isDone || served;
  if ($("end").hidden) {
    if (isDone) $("state").textContent += " Press Ctrl-C where ganpatch judge runs to see the result.";
    return;
  }
  $("save").href = `data:application/json,${encodeURIComponent(JSON.stringify(given()))}`;
  $("command").textContent = "Then: ganpatch judge with the same model and patch, and --answers answers.json";
}

const given = () => ({ comparison: SHOWN.comparison, answers });

async function save() {
  if (!served) { localStorage.setItem(kept, JSON.stringify(given())); return; }
  try {
    const reply = await fetch(at("answers"), { method: "PUT", body: JSON.stringify(given()), headers: { "content-type": "application/json" } });
    if (!reply.ok) throw new Error(await reply.text());
  } catch (fault) { $("state").textContent = `Not saved: ${fault.message || "the server does not answer"}. The answers are kept here; go on when it runs again.`; }
}

function answer(better) {
  const pair = current();
  if (!pair) return;
  answers.push({ pair, better });
  show();
  save();
}

function undo() {
  if (!answers.length) return;
  answers.pop();
  show();
  save();
}

const KEYS = { ArrowLeft: () => answer("left"), ArrowRight: () => answer("right"), ArrowDown: () => answer("same"), z: undo, Backspace: undo };
document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  if (!act || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
for (const side of ["left", "right", "same"]) $(side).onclick = () => answer(side);
$("undo").onclick = undo;
load();
