// The quality figure of the patch: measured on request, kept with the version of the patch that it is of.

import { button, counted, make } from "./dom.js";
import { addressOf, get } from "./net.js";
import { begin, duration, notify, session, subscribe } from "./session.js";
import { short } from "./units.js";

const FEWEST = 50;
let figures = [];
let features = "", images = 500;

async function load() {
  try { figures = (await get("figures")).figures; } catch { return; }
  notify("figures");
}
export function openQuality() {
  features = session.model.features.includes("churches") ? "churches" : "plain";
  images = Math.min(500, session.model.inputs ?? 500);
  subscribe((what) => (what === "model" || what === "again") && load());   // a job has ended
  load();
}

const select = (label, values, value, chosen) => {
  const one = make("select", { "aria-label": label, "data-focus": label }, ...values.map(([text, name]) => make("option", { value: name }, text)));
  one.value = value;
  one.onchange = () => chosen(one.value);
  return one;
};

export function quality(digest) {
  const running = session.jobs.some((job) => job.kind === "quality" && ["waiting", "running"].includes(job.state));
  const takes = duration(7 * images * session.model.seconds);   // before, after, 20 baselines on a fifth each, the reference
  const measure = button("Measure", () => measureNow(), { disabled: !digest || running || images < FEWEST, title: `Measure whether the patch improves the images, compared with random-unit baselines. Takes about ${takes}.`, "data-focus": "measure" });
  const now = withoutFirst(figures.filter((one) => one.patch === digest)), old = figures.find((one) => one.patch !== digest);
  return make("section", { class: "quality", "aria-label": "Quality" },
    make("div", { class: "line" }, make("h3", {}, "Quality"), make("span", { class: "push" }), measure),
    make("div", { class: "line" },
      select("features", session.model.features.map((name) => [name, name]), features, (name) => { features = name; }),
      select("images", [...new Set([100, 200, 500, 1000, 2000, images])].filter((n) => n <= (session.model.inputs ?? n)).sort((a, b) => a - b).map((n) => [`${n} images`, n]), images, (n) => { images = +n; notify("figures"); })),
    ...now.slice(0, 3).map((one) => figure(one, false, running && one.images < images)),
    now.length ? null : old ? figure(old, true) : images < FEWEST ? make("p", { class: "soft" }, `${images} inputs are too few for a figure; it takes ${FEWEST}.`) : make("p", { class: "soft" }, `Not measured yet; takes about ${takes}${session.model.real ? `, against ${session.model.real}` : ""}${images > 2 * few() ? `; a first answer comes from ${few()} images` : ""}.`),
    digest ? judge() : null);
}
// A first answer comes from few images, within about ten seconds of computing; the figure that was asked for follows it.
const few = () => (6 * 100 * session.model.seconds < 10 ? 100 : FEWEST);
async function measureNow() {
  if (images > 2 * few()) await begin("quality", { n: few(), features });
  begin("quality", { n: +images, features });
}
// A first answer goes when the figure from more images, by the same features, is there.
const withoutFirst = (list) => list.filter((one) => !list.some((other) => other.features === one.features && other.images > one.images));
// The other judge: a person who compares pairs.
function judge() {
  const command = `ganpatch judge ${session.model.argument} ${session.now.path} --open`;
  return make("p", { class: "soft judge" }, "Your own eyes, pairs unmarked: ", make("code", {}, command), " ",
    button("copy", (event) => navigator.clipboard?.writeText(command).then(() => { event.target.textContent = "copied"; }), { class: "tool", "aria-label": "copy the command that compares pairs by eye" }));
}

function figure(one, isOld, isFirst = false) {
  const report = make("a", { href: addressOf(`figures/${one.report}`), target: "_blank", rel: "noopener" }, "report");
  const save = make("a", { href: `${addressOf(`figures/${one.report}`)}&download=1`, download: one.report }, "download");
  const measured = new Date(one.created).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  return make("div", { class: `figure${isOld ? " old" : ""}` },
    isOld && make("p", { class: "warn" }, `Old: of an earlier version of the patch (${counted(one.edits, "edit")}, ${counted(one.units, "unit")}).`),
    isFirst && make("p", { class: "warn" }, `A first answer from ${one.images} images; ${images} are being measured.`),
    make("p", { class: `verdict ${one.answer === "better" ? "better" : ""}` }, one.verdict),
    bars("most active images", one.score, one.most, one.baselines.map((change) => one.most.before * (1 + change))),
    bars("all images", one.score, one.all, []),
    make("p", { class: "soft" }, `${isOld ? "" : "Of the current patch: "}${one.images} images against ${one.reference}; features ${one.features}; ${measured}. `, report, " ", save));
}

// A score before and after on one scale; each random-unit baseline as a line, by its relative change.
function bars(title, score, { before, after }, baselines) {
  const most = Math.max(before, after, ...baselines) * 1.05;
  const at = (value) => `${(100 * value) / most}%`;
  const tick = (value) => { const one = make("u"); one.style.left = at(value); return one; };
  const row = (text, value, kind) => { const bar = make("i", { class: kind }); bar.style.width = at(value); return make("div", { class: "bar-row" }, make("span", {}, text), make("div", { class: "track" }, bar, ...baselines.map(tick)), make("b", {}, short(value))); };
  const span = baselines.length ? `; baselines ${short(Math.min(...baselines))} to ${short(Math.max(...baselines))}` : "";
  return make("div", { class: "bars", role: "img", "aria-label": `${score} of ${title}: ${short(before)} before, ${short(after)} after${span}` },
    make("small", { class: "soft" }, `${score}, ${title}: lower is better${baselines.length ? "; lines: random-unit baselines" : ""}`), row("before", before, "before"), row("after", after, "after"));
}
