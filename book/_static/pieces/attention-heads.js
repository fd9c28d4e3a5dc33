/* Any head of an encoder on a few sentences. data.sentences: {text, tokens, ask, weights}; ask: the token to begin with;
   weights[layer][head]: a row for each token that looks, in per cent, one row behind the other. */
"use strict";

/* The weights of one head between a token and every token, in per cent: where it looks, or, of its column, who looks at it. */
const lmWeights = ({ tokens, weights }, layer, head, token, column = false) => tokens.map((_, i) => {
  const [from, to] = column ? [i, token] : [token, i];
  return weights[layer][head][from * tokens.length + to];
});

/* In how many heads a token looks most at the first or the last one, which are no words; in how many else at one next to it. */
const lmHabits = (sentence, token) => {
  const last = sentence.tokens.length - 1;
  const most = sentence.weights.flatMap((heads, layer) => heads.map((_, head) => {
    const row = lmWeights(sentence, layer, head, token);
    return row.indexOf(Math.max(...row));
  }));
  const ends = most.filter((i) => i === 0 || i === last);
  const near = most.filter((i) => i > 0 && i < last && Math.abs(i - token) === 1);
  return { heads: most.length, ends: ends.length, near: near.length };
};

lmPiece("attention-heads", (box, data, { make, choice, slider, live }) => {
  let { layer, head } = data; // counted from 0
  let sentence = 0, asked = data.sentences[0].ask, column = false;
  const state = live(), count = make("p");
  const row = make("div", { class: "lm-tokens", role: "toolbar", "aria-label": "tokens of the sentence" });
  let buttons = [];

  const percent = (value) => (value / 100).toFixed(2);
  const now = () => data.sentences[sentence];
  const describe = (values) => {
    const { tokens } = now();
    const best = values.map((value, i) => [value, tokens[i]]).sort((one, other) => other[0] - one[0]).slice(0, 3);
    const list = best.flatMap(([value, token], i) => [i ? ", " : "", make("em", {}, token), ` ${percent(value)}`]);
    const said = column ? " is looked at most by " : " looks most at ";
    state.replaceChildren(`Layer ${layer + 1}, head ${head + 1}: `, make("em", {}, tokens[asked]), said, ...list, ".");
  };

  const summary = () => {
    const { heads, ends, near } = lmHabits(now(), asked);
    const token = make("em", {}, now().tokens[asked]);
    count.replaceChildren(`In ${ends} of all ${heads} heads `, token, ` looks most at [CLS] or [SEP], in ${near} at a word next to it.`);
  };

  const show = () => {
    const values = lmWeights(now(), layer, head, asked, column);
    buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", i === asked);
      button.tabIndex = i === asked ? 0 : -1;
      button.querySelector(".lm-weight").textContent = percent(values[i]);
      button.querySelector(".lm-shade span").style.opacity = (values[i] / 100) ** 0.7; // as the maps of the book are shaded
    });
    describe(values);
    summary();
  };

  const ask = (index) => {
    asked = Math.max(0, Math.min(buttons.length - 1, index));
    show();
    buttons[asked].focus();
  };
  const keys = {
    ArrowLeft: () => asked - 1, ArrowUp: () => asked - 1, ArrowRight: () => asked + 1, ArrowDown: () => asked + 1,
    Home: () => 0, End: () => Infinity,
  };
  row.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    ask(keys[event.key]());
  });

  const fill = () => {
    buttons = now().tokens.map((token, i) => make(
      "button", { type: "button", onclick: () => ask(i) },
      make("span", {}, token), " ", make("span", { class: "lm-weight" }), make("span", { class: "lm-shade" }, make("span")),
    ));
    row.replaceChildren(...buttons);
    show();
  };

  const turn = (name, value, of, change) => slider(name, { min: 1, max: of, step: 1, value: value + 1 }, (chosen) => {
    change(chosen - 1);
    if (buttons.length) show();
  });
  const layers = data.sentences[0].weights;
  const which = choice("Sentence", data.sentences.map(({ text }) => text), (index) => {
    sentence = index;
    asked = now().ask;
    fill();
  });
  const way = choice("Show", ["where the token looks: its row", "who looks at the token: its column"], (index) => {
    column = index === 1;
    show();
  });
  const sliders = [
    turn("Layer", layer, layers.length, (value) => { layer = value; }),
    turn("Head", head, layers[0].length, (value) => { head = value; }),
  ];
  box.append(which.element, ...sliders.map(({ element }) => element), way.element, row, state, count);
  sliders.forEach(({ tell }) => tell());
  fill();
});
