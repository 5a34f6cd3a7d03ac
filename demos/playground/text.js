// Text to numbers: tokens of what is typed, the window that moves over the text, another text.

import { $, ask, complain, digits, element, newest, visible } from "./api.js";

let opening = [], length = 16, moving = null;

export function chips(place, tokens) {
  place.replaceChildren(...tokens.map((t, i) => element("li", { class: `t${i % 4}` },
    element("span", {}, visible(t.text)), element("small", {}, String(t.id)))));
}

const showTokens = newest(async () => {
  const text = $("try").value;
  if (!text) return $("tokens").replaceChildren();
  const answer = await ask("tokens", { text });
  if (answer) {
    complain("");
    chips($("tokens"), answer.tokens);
  }
});

function showWindow() {
  const start = Number($("place").value);
  const row = (from) => opening.slice(from, from + length).map((t) => visible(t.text));
  const target = row(start + 1), last = target.pop() ?? "";
  $("window-input").textContent = row(start).join(" ");
  $("window-target").replaceChildren(target.join(" ") + " ", element("mark", {}, last));
}

function move() {
  if (moving) {
    clearInterval(moving);
    moving = null;
  } else {
    moving = setInterval(() => {
      const place = $("place");
      place.value = Number(place.value) >= Number(place.max) ? 0 : Number(place.value) + 1;
      showWindow();
    }, 500);
  }
  $("move").textContent = moving ? "Stop the window" : "Move the window";
}

async function learnFrom(value) {
  $("text-about").textContent = "Reading the text …";
  const answer = await ask("text", { kind: $("kind").value, ...value });
  if (answer) complain("");
  else showAbout();
}

async function learnFromFile(file) {
  if (!file) return;
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    return complain(`${file.name} is no text in UTF-8.`);
  }
  learnFrom({ name: file.name, text });
}

let about = null;

function showAbout() {
  const kind = { char: "characters", byte: "bytes", bpe: "frequent runs" }[about.kind];
  $("text-about").textContent = `${about.name}: ${digits(about.characters)} characters, cut into `
    + `${digits(about.tokens)} tokens (${kind}), of which ${digits(about.vocab_size)} are different.`;
}

// A state came: is it another text?
export async function textChanged(state) {
  length = Math.min(16, state.settings.context_length);
  if (about && about.name === state.text.name && about.kind === state.text.kind
    && about.characters === state.text.characters && about.vocab_size === state.text.vocab_size) return false;
  about = state.text;
  showAbout();
  $("try").value = about.first;
  $("kind").value = about.kind;
  const answer = await ask("tokens", { text: about.beginning });
  opening = answer ? answer.tokens : [];
  $("place").max = Math.max(0, opening.length - length - 1);
  showWindow();
  showTokens();
  return true;
}

export function start(kinds) {
  for (const [value, words] of Object.entries(kinds)) $("kind").append(element("option", { value }, words));
  $("try").addEventListener("input", () => showTokens());
  $("place").addEventListener("input", showWindow);
  $("move").addEventListener("click", move);
  $("use-shakespeare").addEventListener("click", () => learnFrom({ source: "shakespeare" }));
  $("use-typed").addEventListener("click", () => learnFrom({ name: "your lines", text: $("typed").value }));
  $("file").addEventListener("change", (e) => learnFromFile(e.target.files[0]));
  for (const place of [$("typed"), document.body]) {
    place.addEventListener("dragover", (e) => e.preventDefault());
    place.addEventListener("drop", (e) => {
      e.preventDefault();
      e.stopPropagation();
      learnFromFile(e.dataTransfer.files[0]);
    });
  }
}
