// The session: the state on the server, what this tab has changed and not sent yet, and whether the server is there.
// Changes have ids of their own, so that sending one twice makes it once; those not sent survive a reload.

import { Refused, get, newId, page, post } from "./net.js";

export const session = { now: null, model: null, jobs: [], alive: true, fault: "" };
const listeners = new Set();
let pending = [];
let sending = false;
let key = "";

export const subscribe = (listener) => { listeners.add(listener); return () => listeners.delete(listener); };
export const notify = (what) => { for (const listener of listeners) listener(what); };
const channel = "BroadcastChannel" in window ? new BroadcastChannel("ganpatch-studio") : null;

export async function open() {
  [session.now, session.model] = await Promise.all([get("session"), get("model")]);
  const stem = `ganpatch-studio:${session.now.studio}:`;
  key = `${stem}${page}`;
  adopt(stem);
  if (channel) channel.onmessage = ({ data }) => data === session.now.studio && pulse();
  document.addEventListener("visibilitychange", () => document.hidden || pulse());
  beat();
  flush();
}

// Take over what pages left unsent; where the page still lives, both send it, and it is made once.
function adopt(stem) {
  try {
    for (const name of Object.keys(localStorage).filter((one) => one.startsWith(stem))) {
      pending.push(...JSON.parse(localStorage[name]));
      if (name !== key) localStorage.removeItem(name);
    }
  } catch { /* private mode, or not ours */ }
  keep();
}
function keep() {
  try {
    if (pending.length) localStorage[key] = JSON.stringify(pending); else localStorage.removeItem(key);
  } catch { /* private mode: they are kept while the tab is open */ }
}

// Make a change: it is shown at once where it is a flag, and saved as soon as the server has it.
export function change(kind, fields = {}, path = "changes") {
  const body = path === "changes" ? { id: newId(), kind, ...fields } : { id: newId(), ...fields };
  pending.push({ path, body });
  keep();
  notify("pending");
  flush();
  return body.id;
}

async function flush() {
  if (sending) return;
  sending = true;
  while (pending.length) {
    const sent = pending[0];
    try {
      const answer = await post(sent.path, sent.body);
      pending.shift();
      followUp(sent.body, answer);
      said("");
      take(answer);
      channel?.postMessage(answer.studio);
    } catch (fault) {
      if (!(fault instanceof Refused) || fault.status === 403 || fault.status === 503) { dead(fault); break; }
      pending.shift();
      said(`Not done: ${fault.message}`);
      await refresh();
    }
    keep();
  }
  sending = false;
  notify("pending");
}

// What this tab changed itself does not overtake what it has asked for since.
function followUp(sent, answer) {
  const entry = answer.content.edits.find((one) => one.edit.id === sent.edit);
  for (const { body } of pending) {
    if (entry && "rev" in body && body.edit === sent.edit && body.rev === sent.rev) body.rev = entry.rev;
    if (body.revision === answer.revision - 1) body.revision = answer.revision;   // nobody else's change came between
  }
}

const said = (text) => { session.fault = text; };
function take(state) {
  const before = session.now;
  if (state.studio === before.studio && state.revision < before.revision) return;   // asked for before, and answered late
  session.now = state;
  alive();
  if (before.revision !== state.revision) notify("state");
}
async function refresh() { try { take(await get("session")); } catch (fault) { dead(fault); } }
function alive() { if (!session.alive) { session.alive = true; notify("alive"); notify("again"); } }
function dead() { if (session.alive) { session.alive = false; notify("alive"); } }

async function pulse() {
  try {
    const { studio, revision, jobs } = await get("pulse");
    if (studio !== session.now.studio) return location.reload();
    const was = session.alive;
    alive();
    const finished = jobs.some((job) => job.state === "done" && session.jobs.find((one) => one.id === job.id)?.state !== "done");
    const changed = JSON.stringify(jobs) !== JSON.stringify(session.jobs);
    session.jobs = jobs;
    if (finished) { session.model = await get("model"); notify("model"); }
    if (changed) notify("jobs");
    if (!was || pending.length) flush();
    if (revision !== session.now.revision && !pending.length) await refresh();
  } catch (fault) { dead(fault); }
}
let beating = 0;
async function beat() {
  clearTimeout(beating);
  await pulse();
  const busy = session.jobs.some((job) => job.state === "running" || job.state === "waiting");
  beating = setTimeout(beat, document.hidden ? 5000 : busy ? 400 : 1500);
}

// Begin long work; return the job, or null if it was refused, which the page reports.
export async function begin(kind, fields = {}) {
  try {
    const job = await post("jobs", { kind, ...fields });
    said("");
    beat();
    return job;
  } catch (fault) {
    if (fault instanceof Refused) said(`Not done: ${fault.message}`); else dead();
    notify("pending");
    return null;
  }
}
export const hurry = () => beat();

export const duration = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`);
// How long a job still takes, once that is known.
export const left = ({ done, total, seconds }) => (done && seconds > 2 ? `, ${duration((seconds / done) * (total - done))} left` : "");

export const unsent = () => pending.length;

// What has been asked for counts: whoever types fast undoes what is not saved yet.
export const canUndo = () => session.now.can_undo || pending.some(({ body }) => !["undo", "pin"].includes(body.kind));
export const canRedo = () => session.now.can_redo || pending.some(({ body }) => body.kind === "undo");

// ---- what the state means ------------------------------------------------------------------------------

export const entries = () => session.now.content.edits;
export const isPlain = ({ edit }) => edit.mask === null && edit.call === null;
export const entryOf = (layer, unit) => entries().find((entry) => isPlain(entry) && entry.edit.layer === layer && entry.edit.units.includes(unit));
export const numberOf = (edit, name, unit) => {
  const numbers = edit[name];
  return numbers === null ? null : numbers.length > 1 ? numbers[edit.units.indexOf(unit)] : numbers[0];
};

// The reason for which a unit is flagged, or null: what is not sent yet counts.
export function reasonOf(layer, unit) {
  const last = pending.findLast(({ body }) => (body.kind === "flag" || body.kind === "unflag") && body.layer === layer && body.unit === unit);
  if (last) return last.body.kind === "flag" ? last.body.reason : null;
  return entryOf(layer, unit)?.edit.reason ?? null;
}
export function flaggedIn(layer) {
  const units = new Set(entries().filter((entry) => isPlain(entry) && entry.edit.layer === layer).flatMap((entry) => entry.edit.units));
  for (const { body } of pending) {
    if (body.layer !== layer) continue;
    if (body.kind === "flag") units.add(body.unit);
    if (body.kind === "unflag") units.delete(body.unit);
  }
  return units;
}
export const reasons = () => [...new Set(entries().map((entry) => entry.edit.reason))].filter(Boolean);
