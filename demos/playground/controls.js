// Sliders, as the server describes them.

import { element } from "./api.js";

export function makeSliders(place, described, changed) {
  const made = {};
  for (const [name, s] of Object.entries(described)) {
    const output = element("output", {});
    const input = element("input", {
      type: "range", min: s.low, max: s.high, step: s.step, value: s.usual, id: `slider-${name}`,
      "aria-label": s.label, "aria-describedby": `about-${name}`,
    });
    const show = () => { output.textContent = String(Number(input.value)); };
    input.addEventListener("input", () => { show(); changed(name, Number(input.value)); });
    const about = element("span", { class: "small", id: `about-${name}` }, s.about);
    place.append(element("div", {},
      element("label", { htmlFor: input.id }, s.label, " ", output), input, about));
    made[name] = {
      input, about,
      get value() { return Number(input.value); },
      set value(v) { input.value = v; show(); },
    };
    show();
  }
  return made;
}

// The number of heads that divides the width and is nearest to the one that was chosen.
export function nearestHeads(width, heads, most) {
  let best = 1;
  for (let n = 1; n <= most; n++) {
    if (width % n === 0 && Math.abs(n - heads) < Math.abs(best - heads)) best = n;
  }
  return best;
}

// The parameters of each part of a MiniGPT; the server's `sizes.parts` in another language.
export function parts({ n_layers: L, d_model: C, context_length: T }, V) {
  return {
    "token embedding": V * C, "position embedding": T * C, attention: L * (4 * C * C + 4 * C),
    MLP: L * (8 * C * C + 5 * C), norms: (2 * L + 1) * 2 * C, head: V * C,
  };
}
