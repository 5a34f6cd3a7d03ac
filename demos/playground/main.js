// The page: it shows the states that the server sends, and asks for what buttons say.

import { $, ask, complain, digits, element, newest } from "./api.js";
import { drawChart } from "./chart.js";
import { makeSliders, nearestHeads, parts } from "./controls.js";
import * as guide from "./guide.js";
import * as inside from "./inside.js";
import * as next from "./next.js";
import * as text from "./text.js";

const { sliders: described, models, tokens } = await (await fetch("/api/sliders")).json();
const groups = {};
let state = null, points = [], compared = new Set(), sampling = {}, lastBars = 0, busyUntil = 0;

// ---- sliders ---------------------------------------------------------------------------

const send = newest(async () => {
  const chosen = {};
  for (const group of ["model", "training"]) {
    for (const [name, slider] of Object.entries(groups[group])) {
      if (!slider.input.disabled) chosen[name] = slider.value;
    }
  }
  if (await ask("settings", chosen)) complain("");
});

function settingChanged(name) {
  busyUntil = performance.now() + 600; // what others chose does not move a slider under the hand
  const width = groups.model.d_model.value, heads = groups.model.n_heads;
  const fitting = nearestHeads(width, heads.value, described.model.n_heads.high);
  $("hint").textContent = "";
  if (fitting !== heads.value) {
    $("hint").textContent = `${heads.value} heads cannot share a width of ${width} evenly, so it is ${fitting}.`;
    heads.value = fitting;
  }
  showParameters();
  share();
  send();
}

function showParameters() {
  const sizes = Object.fromEntries(Object.entries(groups.model).map(([n, s]) => [n, s.value]));
  const each = parts(sizes, vocabulary());
  const total = Object.values(each).reduce((a, b) => a + b);
  $("parameter-count").textContent = digits(total);
  $("parts").replaceChildren(...Object.values(each).map((n, i) => {
    const part = element("span", { class: `p${i}` });
    part.style.flexGrow = n;
    return part;
  }));
  $("parts-list").replaceChildren(...Object.entries(each).map(([name, n], i) => element("li", {},
    element("i", { class: `p${i}` }), `${name} ${((100 * n) / total).toFixed(0)}%`)));
}

// The number of tokens. Characters and bytes have as many as there are; only BPE can be told how many.
function vocabulary() {
  if (!state) return 65;
  const slider = groups.model.vocabulary.value, { vocabulary: learnt, vocab_size: found } = state.text;
  return learnt === null || slider === learnt ? found : slider;
}

function showVocabulary() {
  const slider = groups.model.vocabulary, { vocabulary: learnt, vocab_size: found } = state.text;
  const fixed = learnt === null, { low, about } = described.model.vocabulary;
  slider.input.disabled = fixed;
  slider.input.min = fixed ? found : low;
  if (fixed) slider.value = found;
  const why = state.text.kind === "byte" ? "all bytes there are" : "the characters of this text";
  slider.about.textContent = fixed ? `${why}; BPE lets you choose` : about;
}

// ---- the address -------------------------------------------------------------------------

function share() {
  const all = new URLSearchParams();
  for (const group of Object.values(groups)) {
    for (const [n, s] of Object.entries(group)) if (!s.input.disabled) all.set(n, s.value);
  }
  all.set("prompt", $("prompt").value);
  all.set("talk", $("model").value);
  history.replaceState(null, "", `${location.pathname}${location.search}#${all}`);
}

function takeAddress() {
  const all = new URLSearchParams(location.hash.slice(1));
  if (!all.size) return false;
  for (const group of Object.values(groups)) {
    for (const [name, slider] of Object.entries(group)) if (all.has(name)) slider.value = all.get(name);
  }
  if (models[all.get("talk")]) $("model").value = all.get("talk");
  return all;
}

// ---- states --------------------------------------------------------------------------------

const percent = (p) => (p >= 0.1 ? `${(100 * p).toFixed(0)}%` : `${(100 * p).toFixed(1)}%`);

function meaning() {
  const { step, loss, validation_loss: held, expected_loss: lnV } = state, V = Math.round(Math.exp(lnV));
  const now = held ?? loss;
  if (!step) return `Nothing is learnt yet: each of the ${V} tokens is about as probable (1 in ${V}), a loss near ln ${V} = ${lnV.toFixed(2)}.`;
  let words = `A loss of ${now.toFixed(2)}: on average the right token gets a probability of ${percent(Math.exp(-now))}; guessing would give ${percent(1 / V)}.`;
  if (loss !== null && held - loss > 0.5) words += " On its own text it is much better than on new text: it learns by heart.";
  return words;
}

function clock(seconds) {
  if (seconds === null) return "–";
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

async function show(message) {
  const first = state === null;
  points = message.first ? message.points : points.concat(message.points);
  state = message;
  if (performance.now() > busyUntil && (!first || !location.hash)) {
    for (const group of ["model", "training"]) {
      for (const [name, slider] of Object.entries(groups[group])) {
        if (!slider.input.disabled && slider.value !== state.settings[name]) slider.value = state.settings[name];
      }
    }
  }
  if (state.error) complain(state.error);
  showVocabulary();
  showParameters();
  $("step").textContent = String(state.step);
  $("loss").textContent = state.loss === null ? "–" : state.loss.toFixed(3);
  $("validation-loss").textContent = state.validation_loss === null ? "–" : state.validation_loss.toFixed(3);
  $("speed").textContent = state.tokens_per_second ? digits(state.tokens_per_second) : "–";
  $("left").textContent = clock(state.seconds_left);
  $("train").setAttribute("aria-pressed", String(state.training));
  $("reset-needed").hidden = !state.reset_needed;
  $("meaning").textContent = meaning();
  if ($("sample").textContent !== state.sample) $("sample").textContent = state.sample;
  $("samples").replaceChildren(...state.samples.slice(0, -1).reverse().map((s) => element("li", {},
    element("strong", {}, `step ${s.step}`), element("pre", { tabIndex: 0 }, s.text))));
  showRuns();
  chart();
  if (await text.textChanged(state)) next.startAgain($("model").value === "table" ? "hel" : wanted() ?? state.text.first);
  else if (message.first) next.startAgain();
  else if (performance.now() > lastBars + 1000) {
    lastBars = performance.now();
    next.refresh();
  }
  $("controls").disabled = false; // until now nothing would have answered
}

let address = null;
function wanted() {
  const prompt = address && address.get("prompt");
  address = null;
  return prompt;
}

function chart() {
  const others = state.runs.filter((r) => compared.has(r.number)).map((r) => r.curve);
  drawChart($("chart"), points, state.validation, others, state.expected_loss);
}

let shownRuns = "";
function showRuns() {
  const now = JSON.stringify(state.runs.map((r) => [r.number, r.step]));
  if (now === shownRuns) return;
  shownRuns = now;
  $("runs").replaceChildren(...state.runs.map((run) => {
    const s = run.settings;
    const box = element("input", { type: "checkbox", "aria-label": `Show the curve of run ${run.number}`, checked: compared.has(run.number) });
    box.addEventListener("change", () => {
      compared[box.checked ? "add" : "delete"](run.number);
      chart();
    });
    const button = element("button", { "aria-label": `Load run ${run.number}` }, "Load");
    button.addEventListener("click", () => ask("load", { number: run.number }));
    return element("tr", {}, element("td", {}, String(run.number)),
      element("td", {}, `${s.n_layers} layers, ${s.n_heads} heads, width ${s.d_model}, context ${s.context_length}; ${digits(run.parameter_count)} parameters; ${run.text}`),
      element("td", {}, digits(run.step)), element("td", {}, run.validation_loss.toFixed(3)),
      element("td", {}, box), element("td", {}, button));
  }));
}

// ---- start -------------------------------------------------------------------------------------

groups.model = makeSliders($("model-sliders"), described.model, settingChanged);
groups.training = makeSliders($("training-sliders"), described.training, settingChanged);
groups.sampling = makeSliders($("sampling-sliders"), described.sampling, () => { share(); next.refresh(); });
text.start(tokens);
next.start(models, () => Object.fromEntries(Object.entries(groups.sampling).map(([n, s]) => [n, s.value])));
inside.start();
for (const [id, path] of [["train", "train"], ["pause", "pause"], ["step-button", "step"], ["reset", "reset"]]) {
  $(id).addEventListener("click", async () => {
    if (await ask(path)) complain("");
  });
}
$("prompt").addEventListener("input", share);
$("model").addEventListener("change", share);
guide.start({
  reset: () => ask("reset"), train: () => ask("train"), look: () => $("look").click(),
  temperature: (t) => { groups.sampling.temperature.value = t; share(); next.refresh(); },
  talk: (model, prompt) => { $("model").value = model; next.startAgain(prompt ?? state.text.first); share(); },
});
address = takeAddress() || null;
if (address) send();
const events = new EventSource("/api/events");
let last = Promise.resolve();
events.addEventListener("message", (e) => { last = last.then(() => show(JSON.parse(e.data))); });
