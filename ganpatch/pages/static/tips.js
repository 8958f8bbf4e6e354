// What a figure means, shown beside it while it is pointed at or focused: elements with `data-tip`.

import { make } from "./dom.js";

export function showTips() {
  const tip = make("div", { id: "tip", role: "tooltip", hidden: true });
  document.body.append(tip);
  let owner = null;
  const hide = () => { owner?.removeAttribute("aria-describedby"); owner = null; tip.hidden = true; };
  const show = (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (!target || document.querySelector("dialog[open]")) return hide();
    owner = target;
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    target.setAttribute("aria-describedby", "tip");
    const box = target.getBoundingClientRect(), own = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(box.left, innerWidth - own.width - 6))}px`;
    tip.style.top = `${box.bottom + 6 + own.height > innerHeight ? box.top - own.height - 6 : box.bottom + 6}px`;
  };
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
