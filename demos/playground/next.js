// The loop of writing: the most probable tokens, a choice, one token more.

import { $, ask, complain, element, newest, visible } from "./api.js";

let ids = null; // the tokens of the text; null: those of the prompt
let options = () => ({});
let writing = false;
let version = 0; // of the prompt: an answer to an earlier one is dropped

const question = () => (ids ? { ids } : { text: $("prompt").value });

function show(answer) {
  complain("");
  ids = answer.ids;
  $("text").textContent = answer.text;
  $("text").scrollTop = $("text").scrollHeight;
  $("sees").textContent = `The model sees the last ${Math.min(answer.ids.length, answer.context_length)} of `
    + `${answer.ids.length} tokens.`;
  const list = $("next-tokens");
  const rows = answer.candidates.map((c, i) => {
    let row = list.children[i];
    if (!row) {
      const fill = element("i"), mark = element("b");
      row = element("li", { id: `next-${i}` }, element("button", {}, element("span", { class: "token" }),
        element("span", { class: "bar" }, fill, mark), element("span", { class: "p" })));
      row.firstChild.addEventListener("click", () => choose(Number(row.dataset.id)));
      list.append(row);
    }
    Object.assign(row.dataset, { token: c.token, probability: c.probability, id: c.id });
    const [token, bar, p] = row.firstChild.children;
    token.textContent = visible(c.token);
    bar.children[0].style.width = `${100 * c.probability}%`;
    bar.children[1].style.left = `calc(${100 * c.before}% - 2px)`;
    p.textContent = c.probability && c.probability < 0.001 ? "<0.1%" : `${(100 * c.probability).toFixed(1)}%`;
    return row;
  });
  while (list.children.length > rows.length) list.lastChild.remove();
}

const suggest = newest(async () => {
  const answer = await ask("suggestions", { model: $("model").value, ...question() }, true);
  if (!answer) return;
  $("suggestions").replaceChildren(...answer.suggestions.map((s) => element("button", {
    "aria-label": `Suggestion: ${s.text}`,
    onclick: () => { ids = [...ids, ...s.ids]; refresh(); },
  }, visible(s.text))));
});

async function answered(more) {
  const mine = version;
  const answer = await ask("next", { model: $("model").value, ...question(), ...options(), ...more });
  if (mine !== version) return null;
  if (answer) show(answer);
  else if (!ids) { // the model does not know the prompt: it stands there alone
    $("text").textContent = $("prompt").value;
    $("sees").textContent = "";
    $("next-tokens").replaceChildren();
    $("suggestions").replaceChildren();
  }
  return answer;
}

export const refresh = newest(async () => {
  if (await answered({}) && !writing) suggest();
});

async function choose(token) {
  if (await answered({ token })) suggest();
}

function stopWriting() {
  writing = false;
  $("write").setAttribute("aria-pressed", "false");
}

async function write() {
  if (writing) return stopWriting();
  writing = true;
  $("write").setAttribute("aria-pressed", "true");
  for (let n = 0; writing && n < 400; n++) {
    const start = performance.now();
    if (!(await answered({ choose: true }))) break;
    await new Promise((done) => setTimeout(done, Math.max(0, 60 - (performance.now() - start))));
  }
  stopWriting();
  suggest();
}

export function startAgain(prompt) {
  stopWriting();
  if (prompt !== undefined) $("prompt").value = prompt;
  ids = null;
  version++;
  refresh();
}

export const textIds = () => ids;

export function start(models, chosen) {
  options = chosen;
  for (const [value, words] of Object.entries(models)) $("model").append(element("option", { value }, words));
  $("model").addEventListener("change", () => startAgain($("model").value === "table" ? "hel" : undefined));
  $("prompt").addEventListener("input", () => startAgain());
  $("next").addEventListener("click", async () => {
    stopWriting();
    if (await answered({ choose: true })) suggest();
  });
  $("write").addEventListener("click", write);
  $("again").addEventListener("click", () => startAgain());
  $("compare-now").addEventListener("click", async () => {
    const answer = await ask("temperatures", { model: $("model").value, ...question() });
    if (answer) $("temperatures").replaceChildren(...answer.texts.map((t) => element("div", {},
      element("h3", {}, `Temperature ${t.temperature}`), element("pre", { tabIndex: 0 }, t.text))));
  });
}
