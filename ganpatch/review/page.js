// The review page: rows of units with their top images; flags are kept in the browser, and on the server if one serves the page.
(() => {
  "use strict";
  const run = window.ganpatchRun;
  const $ = (id) => document.getElementById(id);
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // ---- state -----------------------------------------------------------------------------------
  const token = new URLSearchParams(location.search).get("token");
  const storeKey = `ganpatch:${run.run}`;
  const suggestedFirst = Object.keys(run.suggested).map((method) => `by ${method}`)[0];
  const state = { layer: 0, sort: suggestedFirst ?? "unit", filter: "", heat: false, ...stored() };
  state.flags = Object.assign(Object.create(null), state.flags);  // a layer may be called as an object's own parts are
  const history = [];
  const layers = run.layers.map((facts) => ({ ...facts, rows: null, data: null }));
  let here = 0;      // index of the current row among the visible ones
  let visible = [];  // units in the order shown

  function stored() {
    try { return JSON.parse(localStorage.getItem(storeKey)) || {}; } catch { return {}; }
  }
  function keep() {
    try { localStorage.setItem(storeKey, JSON.stringify(state)); } catch { /* private mode: the download remains */ }
  }
  const layer = () => layers[state.layer];
  const flagsOf = (name) => (state.flags[name] ??= {});
  const isFlagged = (unit) => unit in flagsOf(layer().name);

  // ---- data: one script per layer, so that the page also works from disk ---------------------------
  window.ganpatchLayer = (index, data) => {
    layers[index].data = data;
    if (index === state.layer) showLayer();
  };
  function wantLayer(index) {
    state.layer = index;
    keep();
    if (layers[index].data) return showLayer();
    const script = make("script");
    script.src = served(`layer-${index}.js`);
    script.onerror = () => { $("none").hidden = false; $("none").textContent = `layer-${index}.js is missing in the run folder.`; };
    document.head.append(script);
  }
  const served = (file) => (token ? `${file}?token=${encodeURIComponent(token)}` : file);

  function mapBytes(data) {
    data.bytes ??= fromBase64(data.maps);
    return data.bytes;
  }

  // ---- rows ------------------------------------------------------------------------------------
  // What `ganpatch suggest` found: a sort order per method, and each unit's place in it.
  for (const method of Object.keys(run.suggested))
    sorts[`by ${method}`] = [`suggested: ${method}`, (d) => d.suggested[method] ?? d.units.map(() => 0), -1, run.suggested[method]];
  function placesOf(data) {
    data.places ??= Object.entries(data.suggested).map(([method, scores]) => {
      const order = scores.map((_, unit) => unit).sort((a, b) => scores[b] - scores[a] || a - b);
      const places = [];
      order.forEach((unit, index) => { places[unit] = index + 1; });
      return [method, places];
    });
    return data.places;
  }

  function showLayer() {
    const current = layer();
    current.rows ??= current.data.units.map((_, unit) => buildRow(current, unit));
    $("layers").querySelectorAll("button").forEach((button, index) => button.setAttribute("aria-pressed", index === state.layer));
    arrange();
    current.data.units.forEach((_, unit) => paintFlag(unit));
    count();
  }

  function buildRow(current, unit) {
    const { data } = current;
    const row = make("section", "row");
    row.dataset.unit = unit;
    row.setAttribute("aria-label", `unit ${unit}`);
    const side = make("div", "unit");
    const flag = make("button", "flag", "flag");
    flag.type = "button";
    flag.onclick = () => { moveTo(visible.indexOf(unit), false); toggle(unit); };
    const lines = make("div", "facts");
    const [first, second] = facts(data, unit);
    lines.append(first, make("br"), second);
    for (const [method, places] of placesOf(data)) {
      const line = make("span", "suggested", `${places[unit]}. by ${method}`);
      line.title = `${run.suggested[method]}: ${short(data.suggested[method][unit])}`;
      lines.append(make("br"), line);
    }
    const reason = make("input", "reason");
    reason.placeholder = "reason";
    reason.setAttribute("list", "reasons");
    reason.setAttribute("aria-label", `reason for flagging unit ${unit}`);
    reason.onchange = () => setFlag(unit, reason.value.trim());
    side.append(make("b", "", unit), flag, lines, reason);
    const shots = make("div", "shots");
    data.units[unit].forEach((seed, place) => shots.append(shotButton(current, unit, place)));
    row.append(side, shots);
    row.addEventListener("mousedown", () => moveTo(visible.indexOf(unit), false));
    return row;
  }

  function shotButton(current, unit, place) {
    const seed = current.data.units[unit][place];
    const button = make("button", "shot");
    button.type = "button";
    button.title = `seed ${seed}, score ${short(current.data.scores[unit][place])}`;
    button.setAttribute("aria-label", button.title);
    button.tabIndex = -1;
    paintShot(button, seed, 1);
    button.onmouseenter = () => addHeat(button, current, unit, place);
    button.onmouseleave = () => { if (!state.heat) button.replaceChildren(); };
    button.onclick = () => lookCloser(current, unit, place);
    return button;
  }

  const paintShot = (element, seed, zoom) => placeShot(element, run.thumbnails, seed, zoom, served);

  // ---- heat ----------------------------------------------------------------------------------------
  function addHeat(button, current, unit, place) {
    if (button.firstChild) return;
    const [height, width] = current.map_size;
    button.append(heatCanvas(mapBytes(current.data), (unit * current.k + place) * height * width, height, width));
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) heatRow(entry.target);
  }, { rootMargin: "300px" });
  function heatRow(row) {
    const unit = Number(row.dataset.unit);
    row.querySelectorAll(".shot").forEach((button, place) => (state.heat ? addHeat(button, layer(), unit, place) : button.replaceChildren()));
  }
  function setHeat(on) {
    state.heat = on;
    keep();
    $("heat").setAttribute("aria-pressed", on);
    watcher.disconnect();
    for (const row of $("rows").children) on ? watcher.observe(row) : heatRow(row);
  }

  // ---- order, filter, place ------------------------------------------------------------------------
  function arrange() {
    const current = layer();
    const unitHere = visible[here];
    const explained = run.suggested[state.sort.replace(/^by /, "")];
    $("explained").hidden = !explained;
    $("explained").textContent = explained ? `${state.sort.slice(3)}: ${explained}` : "";
    visible = arranged(current.data, sorts[state.sort] ?? sorts.unit, state.filter, isFlagged);
    $("sort").title = (sorts[state.sort] ?? sorts.unit)[3];
    $("rows").replaceChildren(...visible.map((unit) => current.rows[unit]));
    $("none").hidden = visible.length > 0;
    if (state.heat) setHeat(true);
    moveTo(Math.max(0, visible.indexOf(unitHere)), false);
    count();
  }
  function moveTo(index, scroll = true) {
    $("rows").querySelector(".here")?.classList.remove("here");
    here = Math.max(0, Math.min(index, visible.length - 1));
    const row = layer().rows[visible[here]];
    if (!row) return;
    row.classList.add("here");
    if (scroll) row.scrollIntoView({ block: "nearest" });
  }
  function nextFlagged() {
    const later = visible.findIndex((unit, index) => index > here && isFlagged(unit));
    const first = visible.findIndex(isFlagged);
    if (first >= 0) moveTo(later >= 0 ? later : first);
  }

  // ---- flags ---------------------------------------------------------------------------------------
  function toggle(unit) { setFlag(unit, isFlagged(unit) ? null : lastReason()); }
  function setFlag(unit, reason) {
    const flags = flagsOf(layer().name);
    const before = flags[unit] ?? null;
    if (before === reason) return;
    history.push({ layer: state.layer, unit, before });
    write(unit, reason);
  }
  function write(unit, reason) {
    const flags = flagsOf(layer().name);
    if (reason === null) delete flags[unit]; else flags[unit] = reason;
    keep();
    paintFlag(unit);
    count();
    save();
  }
  function undo() {
    const last = history.pop();
    if (!last) return;
    if (last.layer !== state.layer) wantLayer(last.layer);
    write(last.unit, last.before);
    moveTo(visible.indexOf(last.unit));
  }
  function paintFlag(unit) {
    const row = layer().rows[unit];
    const flagged = isFlagged(unit);
    row.classList.toggle("flagged", flagged);
    row.querySelector(".flag").setAttribute("aria-pressed", flagged);
    row.querySelector(".flag").textContent = flagged ? "flagged" : "flag";
    row.querySelector(".reason").value = flagged ? flagsOf(layer().name)[unit] : "";
  }
  const reasons = () => [...new Set(Object.values(state.flags).flatMap((flags) => Object.values(flags)))].filter(Boolean);
  function lastReason() {
    const last = history.findLast((change) => flagsOf(layers[change.layer].name)[change.unit]);
    return last ? flagsOf(layers[last.layer].name)[last.unit] : "";
  }
  function count() {
    const here = Object.keys(flagsOf(layer().name)).length;
    const all = allFlags().length;
    const elsewhere = all > here ? `, ${all} in all layers` : "";
    $("counts").textContent = `${here} of ${layer().units} units flagged${elsewhere} · ${visible.length} shown`;
    $("undo").disabled = !history.length;
    $("copy").disabled = $("download").disabled = !all;
    $("reasons").replaceChildren(...reasons().map((text) => Object.assign(make("option"), { value: text })));
  }
  function allFlags() {
    return layers.flatMap(({ name }) => Object.entries(state.flags[name] ?? {})
      .map(([unit, reason]) => ({ layer: name, unit: Number(unit), reason }))
      .sort((a, b) => a.unit - b.unit));
  }
  const verdicts = () => ({ format: "ganpatch-verdicts/1", run: run.run, flags: allFlags() });

  // ---- out -----------------------------------------------------------------------------------------
  function command() {
    const flags = allFlags();
    const alike = new Set(flags.map((flag) => JSON.stringify([flag.layer, flag.reason]))).size === 1;
    const folder = location.protocol === "file:" ? decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "") : run.folder;
    if (token) return `ganpatch flag ${quoted(folder)} -o fix.yaml`;
    if (!alike) return `ganpatch flag ${quoted(folder)} --verdicts ${quoted(fileName())} -o fix.yaml`;
    const reason = flags[0].reason ? ` --reason ${quoted(flags[0].reason)}` : "";
    return `ganpatch flag ${quoted(folder)} --layer ${quoted(flags[0].layer)} --units ${spans(flags.map((flag) => flag.unit))}${reason} -o fix.yaml`;
  }
  const quoted = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const fileName = () => `verdicts-${run.model}.json`;
  async function copy() {
    const text = command();
    try { await navigator.clipboard.writeText(text); } catch { prompt("Copy this command:", text); return; }
    say(text.includes("--verdicts") ? "Copied; download the verdicts too, the command reads them" : "Copied");
  }
  function download() {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(verdicts(), null, 1) + "\n"], { type: "application/json" }));
    link.download = fileName();
    link.click();
    URL.revokeObjectURL(link.href);
  }
  function say(text, lost = false) {
    $("saved").textContent = text;
    $("saved").classList.toggle("lost", lost);
  }

  // ---- server: only when `ganpatch review` serves the page -------------------------------------------
  let sending = false;
  let timer = 0;
  async function save() {
    if (!token) return;
    state.unsent = true;
    keep();
    if (sending) return;
    sending = true;
    clearTimeout(timer);
    const body = JSON.stringify(verdicts());
    try {
      const headers = { "content-type": "application/json", "x-ganpatch-token": token };
      const answer = await fetch("verdicts", { method: "PUT", headers, body });
      if (!answer.ok) throw new Error(await answer.text());
      state.unsent = body !== JSON.stringify(verdicts());
      keep();
      say("Saved");
      if (state.unsent) timer = setTimeout(save, 0);
    } catch {
      say("Not saved: the server does not answer. The flags are kept here and sent when it is back.", true);
      timer = setTimeout(save, 2000);
    }
    sending = false;
  }
  // Unsent flags of this browser win over the server's, else the server's over this browser's.
  async function meet() {
    if (!token) return;
    try {
      const answer = await fetch("verdicts", { headers: { "x-ganpatch-token": token } });
      const { flags } = await answer.json();
      if (state.unsent || (!flags.length && allFlags().length)) return save();
      state.flags = Object.create(null);
      for (const { layer: name, unit, reason } of flags) flagsOf(name)[unit] = reason;
      keep();
      say("Saved");
      if (layer().data) showLayer();
    } catch { say("The server does not answer. Flags are kept in this browser.", true); }
  }

  // ---- closer look ------------------------------------------------------------------------------------
  function lookCloser(current, unit, place) {
    const zoom = Math.max(1, Math.floor(Math.min(384, innerWidth * 0.4) / run.thumbnails.width));
    const seed = current.data.units[unit][place];
    const figures = [false, true].map((heat) => {
      const figure = make("figure");
      const shot = make("div", "shot");
      paintShot(shot, seed, zoom);
      if (heat) addHeat(shot, current, unit, place);
      figure.append(shot, make("figcaption", "", heat ? `where unit ${unit} fires` : `seed ${seed}, score ${short(current.data.scores[unit][place])}`));
      return figure;
    });
    $("closer-body").replaceChildren(...figures);
    $("closer").showModal();
  }

  // ---- wiring -----------------------------------------------------------------------------------------
  const keys = {
    j: () => moveTo(here + 1), ArrowDown: () => moveTo(here + 1), k: () => moveTo(here - 1), ArrowUp: () => moveTo(here - 1),
    PageDown: () => moveTo(here + 5), PageUp: () => moveTo(here - 5), Home: () => moveTo(0), End: () => moveTo(visible.length - 1),
    f: () => visible.length && toggle(visible[here]), " ": () => visible.length && toggle(visible[here]),
    r: () => { if (!visible.length) return; if (!isFlagged(visible[here])) toggle(visible[here]); layer().rows[visible[here]].querySelector(".reason").select(); },
    u: undo, h: () => setHeat(!state.heat), n: nextFlagged, "/": () => $("filter").select(), "?": () => $("help").click(),
    Enter: () => visible.length && lookCloser(layer(), visible[here], 0),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("closer").open) return;
    const typing = event.target.matches("input, select");
    if (typing) { if (event.key === "Escape" || event.key === "Enter") { event.target.blur(); } return; }
    if (event.target.matches("button") && (event.key === " " || event.key === "Enter")) return;
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  $("closer").addEventListener("click", () => $("closer").close());
  $("heat").onclick = () => setHeat(!state.heat);
  $("undo").onclick = undo;
  $("copy").onclick = copy;
  $("download").onclick = download;
  $("help").onclick = () => { $("keys").hidden = !$("keys").hidden; $("help").setAttribute("aria-expanded", !$("keys").hidden); };
  $("sort").onchange = (event) => { state.sort = event.target.value; keep(); arrange(); };
  $("filter").oninput = (event) => { state.filter = event.target.value; keep(); arrange(); };
  for (const [name, [text]] of Object.entries(sorts)) $("sort").append(Object.assign(make("option", "", text), { value: name }));
  $("sort").value = state.sort in sorts ? state.sort : "unit";
  $("filter").value = state.filter;
  $("title").append(run.model, make("small", "", `${run.n} images, top ${run.k} by ${run.score}`));
  document.title = `${run.model} – ganpatch review`;
  layers.forEach((facts, index) => {
    const button = make("button", "", `${facts.name} (${facts.units})`);
    button.type = "button";
    button.onclick = () => { visible = []; here = 0; wantLayer(index); };
    $("layers").append(button);
  });
  $("heat").setAttribute("aria-pressed", state.heat);
  wantLayer(state.layer < layers.length ? state.layer : 0);
  meet();
})();
