// Units that show the same images: which rows can be folded together, and what flagged units share. No DOM.

const FEW = 3;   // with fewer others a row is not marked

// Groups of units that share more than half of their top images with the first unit of their group; `units` holds the
// top seeds of every unit. Returns, per unit, the other units of its group; those with fewer than three others have none.
export function alikeOf(units) {
  const firstsOf = new Map();   // seed -> first units of groups that show it
  const groups = new Map();     // first unit -> units
  units.forEach((seeds, unit) => {
    const shared = new Map();
    for (const seed of new Set(seeds)) for (const first of firstsOf.get(seed) ?? []) shared.set(first, (shared.get(first) ?? 0) + 1);
    const [first, most] = [...shared].reduce((best, one) => (one[1] > best[1] ? one : best), [unit, 0]);
    if (most * 2 > seeds.length) { groups.get(first).push(unit); return; }
    groups.set(unit, [unit]);
    for (const seed of new Set(seeds)) firstsOf.set(seed, [...(firstsOf.get(seed) ?? []), unit]);
  });
  const alike = units.map(() => []);
  for (const group of groups.values()) if (group.length > FEW) for (const unit of group) alike[unit] = group.filter((other) => other !== unit);
  return alike;
}

// Of each group, in the order shown, only the first unit, the units of opened groups, and those that `stays`.
export function folded(units, alike, opened, stays) {
  const gone = new Set();
  return units.filter((unit) => {
    if (gone.has(unit) && !stays(unit)) return false;
    if (!opened.has(unit)) for (const other of alike[unit]) if (!opened.has(other)) gone.add(other);
    return true;
  });
}

const median = (values) => { const sorted = [...values].sort((a, b) => a - b); return sorted[Math.floor(sorted.length / 2)]; };

// What flagged units share: images in the top images of two of them or more, the most frequent first; the median of
// what is measured, beside that of all units.
export function shared(data, flagged) {
  const units = [...flagged].filter((unit) => unit < data.units.length);
  const counts = new Map();
  for (const unit of units) for (const seed of new Set(data.units[unit])) counts.set(seed, (counts.get(seed) ?? 0) + 1);
  const seeds = [...counts].filter(([, count]) => count > 1).sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const spike = data.peak.map((peak, unit) => peak / Math.max(1e-9, Math.abs(data.q999[unit])));
  const measured = [["active (share of pixels)", data.firing_rate], ["peak over 99.9 % level", spike], ["mean activation", data.mean]];
  return { units, seeds, medians: measured.map(([what, values]) => [what, median(units.map((unit) => values[unit])), median(values)]) };
}
