// Attention, logit lens, saliency, and the pictures that the library itself draws.

import { $, ask, complain, element, visible } from "./api.js";
import { textIds } from "./next.js";

let seen = null, head = null;

function heatmap(matrix) {
  const n = matrix.length, canvas = element("canvas", { width: n, height: n, "aria-hidden": "true" });
  const context = canvas.getContext("2d"), image = context.createImageData(n, n);
  matrix.forEach((row, t) => row.forEach((weight, s) => {
    const at = 4 * (t * n + s), v = Math.sqrt(weight); // from dark blue over green to yellow
    image.data.set([30 + 223 * v * v, 20 + 210 * v, 84 + 60 * v * (1 - v) * 2, 255], at);
  }));
  context.putImageData(image, 0, 0);
  return canvas;
}

function chooseHead(layer, number) {
  head = seen.attention[layer][number];
  for (const button of $("heads").children) {
    const here = button.dataset.head === `${layer}.${number}`;
    button.setAttribute("aria-pressed", String(here));
  }
  pointAt(seen.tokens.length - 1);
}

function pointAt(t) {
  [...$("looking").children].forEach((item, s) => {
    const weight = s <= t ? head[t][s] : 0;
    item.lastChild.textContent = s <= t ? `${Math.round(100 * weight)}%` : "–";
    item.style.borderColor = s === t ? "var(--second)" : "";
    item.firstChild.style.boxShadow = `inset 0 -${Math.round(26 * weight)}px 0 var(--mark)`;
  });
}

function showHeads() {
  $("heads").replaceChildren(...seen.attention.flatMap((heads, layer) => heads.map((matrix, number) => {
    const name = `layer ${layer + 1}, head ${number + 1}`;
    const button = element("button", { "aria-label": name, "aria-pressed": "false", data: { head: `${layer}.${number}` } },
      heatmap(matrix), element("small", {}, name));
    button.addEventListener("click", () => chooseHead(layer, number));
    return button;
  })));
  $("looking").replaceChildren(...seen.tokens.map((token, t) => {
    const button = element("button", {}, visible(token.text));
    button.addEventListener("mouseenter", () => pointAt(t));
    button.addEventListener("focus", () => pointAt(t));
    return element("li", {}, button, element("small", {}));
  }));
}

async function look() {
  const ids = textIds();
  const answer = await ask("inside", ids ? { ids } : { text: $("prompt").value });
  if (!answer) return;
  complain("");
  seen = answer;
  $("attention").hidden = false;
  showHeads();
  chooseHead(0, 0);
  $("lens").replaceChildren(...seen.lens.map((row, i) => element("tr", {},
    element("th", { scope: "row" }, i === 0 ? "the embedding" : `block ${i}`),
    element("td", {}, row.map((c) => `${visible(c.token)} ${(100 * c.probability).toFixed(1)}%`).join("   ")))));
  const most = Math.max(...seen.saliency.map(Math.abs), 1e-9);
  $("saliency").replaceChildren(...seen.tokens.map((token, i) => {
    const push = seen.saliency[i];
    const chip = element("span", {}, visible(token.text));
    chip.style.boxShadow = `inset 0 -${Math.round((26 * Math.abs(push)) / most)}px 0 var(--mark)`;
    return element("li", {}, chip, element("small", {}, `${push < 0 ? "−" : "+"}${Math.abs(push).toFixed(2)}`));
  }));
}

export function start() {
  $("look").addEventListener("click", look);
  for (const place of document.querySelectorAll("details.picture")) {
    place.addEventListener("toggle", () => {
      place.querySelectorAll("iframe, p").forEach((old) => old.remove());
      if (!place.open) return;
      const waiting = element("p", { class: "small" }, "Drawing …");
      place.append(waiting, element("iframe", {
        onload: () => waiting.remove(),
        src: `/api/pictures/${place.dataset.picture}?at=${Date.now()}`,
        title: place.querySelector("summary").textContent, sandbox: "allow-scripts",
      }));
    });
  }
}
