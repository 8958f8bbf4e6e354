// Earlier versions of the patch: what each changed, its file, the way back to it.

import { button, counted, make } from "./dom.js";
import { download, get } from "./net.js";
import { change, notify, session, subscribe } from "./session.js";

let list = [];
let isOpen = false;
let knownFor = -1;

async function load() {
  if (!isOpen || knownFor === session.now.revision) return;
  const revision = session.now.revision;
  try { list = (await get("versions")).versions; } catch { return; }
  knownFor = revision;
  notify("versions");
}
export function openVersions() { subscribe((what) => (what === "state" || what === "again") && load()); }

export function versions() {
  const box = make("details", { class: "versions" }, make("summary", { "data-focus": "versions" }, "Versions"), ...(isOpen ? list.map(row) : []));
  box.open = isOpen;
  box.ontoggle = () => { if (box.open !== isOpen) { isOpen = box.open; if (isOpen && knownFor === session.now.revision) notify("versions"); load(); } };
  return box;
}

function row({ version, kept, said, edits, units }) {
  const now = version === session.now.version;
  const at = new Date(1000 * kept), today = new Date().toDateString() === at.toDateString();
  const when = today ? at.toLocaleTimeString([], { timeStyle: "short" }) : at.toLocaleDateString();
  return make("p", { class: `version${now ? " here" : ""}` },
    make("span", { class: "what" }, said), make("small", { class: "soft" }, `${version} · ${when} · ${counted(edits, "edit")}, ${counted(units, "unit")}${now ? " · this is it" : ""}`),
    make("span", { class: "line tight" },
      now ? null : button("go back", () => change("restore", { version, revision: session.now.revision }), { class: "tool", "aria-label": `go back to version ${version}: ${said}`, "data-focus": `back-${version}` }),
      edits ? button("file", () => download(`patch?version=${version}`), { class: "tool", "aria-label": `download the patch of version ${version}`, "data-focus": `file-${version}` }) : null));
}
