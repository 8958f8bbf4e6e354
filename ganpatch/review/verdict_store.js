// The flags of the review page: kept in this browser, and on the server if one serves the page; each change can be undone.

export class VerdictStore {
  #run; #token; #key; #changed; #say;
  #history = [];
  #sending = false;
  #timer = 0;
  // `changed()` is called when flags are other ones; `say(text, isLost)` says whether they are saved.
  constructor(run, token, changed, say) {
    [this.#run, this.#token, this.#changed, this.#say] = [run, token, changed, say];
    this.#key = `ganpatch:${run.run}`;
    this.state = {};
    try { this.state = JSON.parse(localStorage.getItem(this.#key)) || {}; } catch { /* private mode: the download remains */ }
    this.state.flags = Object.assign(Object.create(null), this.state.flags);   // a layer may be called as an object's own parts are
  }
  keep() { try { localStorage.setItem(this.#key, JSON.stringify(this.state)); } catch { /* private mode */ } }

  of(layer) { return (this.state.flags[layer] ??= {}); }
  reasonOf(layer, unit) { return this.of(layer)[unit] ?? null; }
  units(layer) { return new Set(Object.keys(this.of(layer)).map(Number)); }
  reasons() { return [...new Set(Object.values(this.state.flags).flatMap((flags) => Object.values(flags)))].filter(Boolean); }
  all() {
    return this.#run.layers.flatMap(({ name }) => Object.entries(this.state.flags[name] ?? {})
      .map(([unit, reason]) => ({ layer: name, unit: Number(unit), reason }))
      .sort((a, b) => a.unit - b.unit));
  }

  // Change flags: [[unit, reason or null]].
  set(layer, changes) {
    this.#history.push({ layer, changes: changes.map(([unit]) => [unit, this.reasonOf(layer, unit)]) });
    this.#write(layer, changes);
  }
  get canUndo() { return this.#history.length > 0; }
  // Take the last change back; return what it was of, or null.
  undo() {
    const last = this.#history.pop();
    if (last) this.#write(last.layer, last.changes);
    return last ? { layer: last.layer, unit: last.changes[0][0] } : null;
  }
  #write(layer, changes) {
    const flags = this.of(layer);
    for (const [unit, reason] of changes) if (reason === null) delete flags[unit]; else flags[unit] = reason;
    this.keep();
    this.#changed();
    this.save();
  }

  // ---- the server, where `ganpatch review` serves the page ---------------------------------------------------

  verdicts() { return { format: "ganpatch-verdicts/1", run: this.#run.run, flags: this.all() }; }
  async save() {
    if (!this.#token) return;
    this.state.unsent = true;
    this.keep();
    if (this.#sending) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    const body = JSON.stringify(this.verdicts());
    try {
      const headers = { "content-type": "application/json", "x-ganpatch-token": this.#token };
      const answer = await fetch("verdicts", { method: "PUT", headers, body });
      if (!answer.ok) throw new Error(await answer.text());
      this.state.unsent = body !== JSON.stringify(this.verdicts());
      this.keep();
      this.#say("Saved");
      if (this.state.unsent) this.#timer = setTimeout(() => this.save(), 0);
    } catch {
      this.#say("Not saved: the server does not answer. The flags are kept here and sent when it is back.", true);
      this.#timer = setTimeout(() => this.save(), 2000);
    }
    this.#sending = false;
  }
  // Unsent flags of this browser win over the server's, else the server's over this browser's.
  async meet() {
    if (!this.#token) return;
    try {
      const answer = await fetch("verdicts", { headers: { "x-ganpatch-token": this.#token } });
      const { flags } = await answer.json();
      if (this.state.unsent || (!flags.length && this.all().length)) return this.save();
      this.state.flags = Object.create(null);
      for (const { layer, unit, reason } of flags) this.of(layer)[unit] = reason;
      this.keep();
      this.#say("Saved");
      this.#changed();
    } catch { this.#say("The server does not answer. Flags are kept in this browser.", true); }
  }
}
