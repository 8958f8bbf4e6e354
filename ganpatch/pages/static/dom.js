// Making elements.

export const $ = (id) => document.getElementById(id);

// make("button", { class: "flag", onclick: f }, "text", child): attributes; on… and known properties are set as such.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on") || name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (text, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, text);

// A slider with its label and its number; `settled` is called when it is let go.
export function slider(text, { min = 0, max = 1, step = 0.05, value, label = text, moved, settled, format = (v) => v.toFixed(2) }) {
  const shown = make("output", {}, format(value));
  const input = make("input", { type: "range", min, max, step, "aria-label": label });
  input.value = value;
  input.oninput = () => { shown.textContent = format(+input.value); moved?.(+input.value); };
  input.onchange = () => settled?.(+input.value);
  const element = make("label", { class: "slider" }, make("span", {}, text), input, shown);
  return { element, input, set(next) { input.value = next; shown.textContent = format(+input.value); } };
}

// A field for a whole number from 0.
export function numberInput(label, chosen, attributes = {}) {
  const input = make("input", { type: "number", min: 0, step: 1, class: "seed", "aria-label": label, ...attributes });
  input.onchange = () => chosen(input.value === "" ? null : Math.max(0, Math.floor(+input.value || 0)));
  return input;
}

// A row of buttons of which one is pressed.
export function choice(label, options, value, chosen) {
  const group = make("span", { class: "choice", role: "group", "aria-label": label });
  const show = (now) => { for (const one of group.children) one.setAttribute("aria-pressed", one.dataset.value === String(now)); };
  for (const [name, text, title] of options) {
    const one = button(text, () => { show(name); chosen(name); }, { title });
    one.dataset.value = name;
    group.append(one);
  }
  show(value);
  return { element: group, set: show };
}

export const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

export function announce(text) { $("announce").textContent = text; }

export const debounced = (work, wait = 250) => {
  let timer = 0;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => work(...given), wait); };
};
