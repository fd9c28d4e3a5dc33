/* Chapter 2: the n-gram model that writes, at any temperature; it counts a part of the training text in the reader's browser. */
"use strict";

/* The model of order n, smoothed after Kneser and Ney. text: two characters of `digits` a token; behind each paragraph the end token. */
function lmNgram({ V, end, discount, digits, text }) {
  const LONGEST = 4;
  const padding = new Array(LONGEST - 1).fill(end);
  const stream = [...padding];
  const places = []; // where a token stands that is to be predicted
  for (let i = 0; i < text.length; i += 2) {
    const id = digits.indexOf(text[i]) * digits.length + digits.indexOf(text[i + 1]);
    places.push(stream.length);
    stream.push(id);
    if (id === end) stream.push(...padding); // so that no history reaches into the paragraph before
  }
  const frequency = new Float64Array(V); // of order 1: how often each token occurs
  const continuation = new Float64Array(V); // and after how many different ones
  const pairs = new Uint8Array(V * V);
  for (const i of places) {
    const [before, token] = [stream[i - 1], stream[i]];
    frequency[token]++;
    continuation[token] += 1 - pairs[before * V + token];
    pairs[before * V + token] = 1;
  }

  /* For orders 2 to n, the counts of all tokens after the history: of the highest how often, below it after how many different ones. */
  const count = (history, n) => {
    const context = [...padding, ...history];
    const counts = Array.from({ length: n - 1 }, () => new Float64Array(V));
    const seen = counts.map(() => new Set());
    for (const i of places) {
      for (let m = 0; m < n - 1 && stream[i - 1 - m] === context[context.length - 1 - m]; m++) {
        const row = stream[i - 2 - m] * V + stream[i];
        if (!seen[m].has(row)) counts[m][stream[i]]++;
        if (m < n - 2) seen[m].add(row); // below the highest order, once for each token before it
      }
    }
    return counts;
  };

  /* The probability of every token after the history (ids), from a model of order n. */
  const next = (history, n) => {
    let p = new Float64Array(V).fill(1 / V);
    for (const counts of [n === 1 ? frequency : continuation, ...count(history, n)]) {
      const total = counts.reduce((sum, c) => sum + c, 0);
      const passed = discount * counts.reduce((sum, c) => sum + (c > 0), 0);
      if (total > 0) p = p.map((below, w) => (Math.max(counts[w] - discount, 0) + passed * below) / total);
    }
    return p;
  };

  return { next, tokens: places.length };
}

/* Probabilities after a change of temperature; at 0 the most likely token (the lowest id of several) has all. */
function lmTempered(p, temperature) {
  const best = p.indexOf(Math.max(...p));
  if (temperature === 0) return p.map((_, w) => Number(w === best));
  const raised = p.map((value) => Math.exp((Math.log(value) - Math.log(p[best])) / temperature));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((value) => value / sum);
}

/* The token that a random number between 0 and 1 falls on. */
function lmDrawn(p, number) {
  let left = number;
  for (let w = 0; w < p.length; w++) {
    left -= p[w];
    if (left < 0) return w;
  }
  return p.lastIndexOf(Math.max(...p)); // the probabilities summed to a little less than one
}

lmPiece("temperature", (box, data, ui) => {
  const SHOWN = 10; // tokens with a bar of their own
  const model = lmNgram(data);
  const percent = (p) => (p > 0 && p < 0.00005 ? "< 0.01%" : `${(100 * p).toFixed(p > 0 && p < 0.01 ? 2 : 1)}%`);
  const bytes = (id) => Uint8Array.from(data.tokens[id], (sign) => sign.charCodeAt(0));
  const name = (id) => {
    if (id === data.end) return "E";
    const decoded = new TextDecoder().decode(bytes(id));
    return decoded.includes("\ufffd") ? [...bytes(id)].map((byte) => `<${byte}>`).join("") : decoded.replace(/ /g, "␣");
  };
  let start = 0, order = 4, temperature = 1, drawn = [], p, now, seed = 0, random = ui.random(seed);

  const told = ui.live();
  const sample = ui.make("p", { class: "lm-sample" });
  const chart = ui.make("div", {});

  function predict() {
    p = model.next([...data.starts[start].ids, ...written().map(({ id }) => id)], order);
    temper();
  }
  function temper() {
    now = lmTempered(p, temperature);
    const likely = [...p.keys()].sort((a, b) => p[b] - p[a] || a - b);
    const others = likely.slice(SHOWN).reduce((sum, id) => sum + now[id], 0);
    const rows = likely.slice(0, SHOWN).map((id) => [name(id), now[id], percent(now[id])]);
    const bars = ui.bars([...rows, [`${(data.V - SHOWN).toLocaleString("en")} others`, others, percent(others), true]]);
    bars.setAttribute("aria-label", "probabilities of the next token");
    chart.replaceChildren(bars);
  }
  const written = () => drawn.filter(({ id }) => id !== data.end);
  const ended = () => written().length < drawn.length;

  function draw(times) {
    for (let i = 0; i < times && !ended(); i++) {
      const id = lmDrawn(now, random());
      drawn.push({ id, before: p[id] });
      predict();
    }
    show();
  }
  function show() {
    const decoder = new TextDecoder();
    const parts = written().map(({ id, before }) => {
      const piece = decoder.decode(bytes(id), { stream: true }); // a character comes with the token that completes it
      return before < 0.01 ? ui.make("u", {}, piece) : piece;
    });
    sample.replaceChildren(ui.make("strong", {}, data.starts[start].text), ...parts, ended() ? " E" : " …");
    const rare = drawn.filter(({ before }) => before < 0.01).length;
    const last = drawn[drawn.length - 1];
    told.textContent = !last
      ? "Nothing drawn yet. The bars show what may come next."
      : `Last drawn: ${name(last.id)}${last.id === data.end ? ", the end token" : ""}. ` +
        `Tokens drawn: ${drawn.length}; underlined, with less than 1% before the temperature changed it: ${rare}.`;
    for (const button of [one, many]) button.setAttribute("aria-disabled", ended());
  }
  function restart() {
    drawn = [];
    random = ui.random(++seed);
    predict();
    show();
  }

  const one = ui.button("Draw a token", () => draw(1));
  const many = ui.button("Draw 20", () => draw(20));
  const again = ui.button("Start again", restart);
  const starts = ui.choice("Beginning", data.starts.map(({ text }) => text || "(start of a paragraph)"), (i) => { start = i; restart(); });
  const names = ["1 (unigram)", "2 (bigram)", "3 (trigram)", "4"];
  const orders = ui.choice("Order", names, (i) => { order = i + 1; predict(); }, order - 1);
  predict();
  const slider = ui.slider(
    "Temperature τ",
    { min: 0, max: 2, step: 0.05, value: temperature, show: (value) => value.toFixed(2) },
    (value) => { temperature = value; temper(); },
  );
  box.append(starts.element, orders.element, slider.element, chart, ui.make("div", {}, one, many, again), sample, told);
  slider.tell();
  show();
});
