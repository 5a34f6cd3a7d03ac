// Five short chapters. Each has a button that sets what it speaks of.

import { $, element } from "./api.js";

export function start(act) {
  $("chapters").open = matchMedia("(min-width: 901px)").matches;
  const chapters = [
    ["A table that predicts", "A language model says what comes next. The simplest is a table, written by hand: "
      + "after “hel”, “l” with 90 %. Press Next token a few times: “hello world”. What is not in the table, it cannot say.",
      "Show the table", () => act.talk("table", "hel")],
    ["Noise at the start", "A GPT that has learnt nothing guesses: all tokens are about as probable, and its loss is near "
      + "ln V, the dashed line. Make a new model and let it write.",
      "Begin with noise", async () => { await act.reset(); act.talk("gpt"); }],
    ["Learning", "Each step shows the model some text and moves its weights a little, so that the right tokens get "
      + "more probable. Watch the loss fall, and the samples turn from noise to words. Half a minute is enough to see it.",
      "Let it learn", () => act.train()],
    ["Temperature", "The bars are what is drawn from. A low temperature makes the first bar longer, a high one makes them "
      + "alike. At 0 the text repeats itself; at 1.5 it falls apart. Drag the slider and look at the bars.",
      "Set it to 0.3", () => act.temperature(0.3)],
    ["Attention", "Each head decides for every token at which earlier ones it looks. Look for a head that always looks at "
      + "the token before, and for one that looks at the beginning of the word.",
      "Look inside", () => act.look()],
  ];
  $("guide").replaceChildren(...chapters.map(([title, words, label, action]) => {
    const button = element("button", {}, label);
    button.addEventListener("click", action);
    return element("li", {}, element("h3", {}, title), element("p", {}, words), button);
  }));
}
