/* Beam search, round by round. data.sentences: {english, right, nodes, hint}. A node is a beginning; it lists its likeliest next words as
   [word (null: the end token), log-probability, the node of the longer beginning or -1]. Node 0 is the empty beginning. */
"use strict";

/* All rounds of a beam: in each every way that it compared, best first, of which it keeps the first `width`. */
const lmBeam = (nodes, width, longest) => {
  const rounds = [[{ words: [], sum: 0, node: 0, ended: false, parent: -1 }]];
  const kept = () => rounds.at(-1).slice(0, width);
  while (rounds.length <= longest && kept().some((way) => !way.ended)) {
    rounds.push(kept().flatMap((way, parent) => way.ended
      ? [{ ...way, step: null, parent }]
      : nodes[way.node].map(([word, step, node]) => ({
        words: word === null ? way.words : [...way.words, word],
        word, step, sum: way.sum + step, node, parent, ended: word === null,
      }))).sort((one, other) => other.sum - one.sum));
  }
  return rounds;
};

/* What a beam returns: its best sentence, unless the greedy one, which competes at the end, is better. */
const lmReturned = (nodes, width, longest) => {
  const [[best], [greedy]] = [width, 1].map((k) => lmBeam(nodes, k, longest).at(-1));
  return greedy.sum > best.sum ? { best, greedy, returned: greedy } : { best, greedy, returned: best };
};

lmPiece("beam-search", (box, data, { make, svg, choice, slider, button, live }) => {
  const COLUMN = 88, ROW = 36, DROPPED = 3; // pixels of the drawing; how many dropped ways the table shows

  let sentence = 0, width = data.width, at = 0, rounds = [];
  const number = (value) => value.toFixed(2).replace("-", "−");
  const text = (way) => way.words.join(" ");
  const keptIn = (round) => rounds[round].slice(0, width);

  const state = live();
  const table = make("table", { class: "lm-beam" });
  const drawing = make("div", { class: "lm-scroll" });
  const outcome = live("div", { class: "lm-outcome" });

  const FATES = { kept: "✓", finished: "■", dropped: "✗" };
  /* What becomes of a way: a sign, and a word that is out of sight where the screen is narrow. */
  const fate = (way, place) => {
    const name = place >= width ? "dropped" : way.ended ? "finished" : "kept";
    return make("th", { scope: "row" }, FATES[name], make("span", {}, ` ${name}`));
  };

  const row = (way, place) => {
    const before = way.step === null || !at ? way.words : way.words.slice(0, way.words.length - (way.ended ? 0 : 1));
    const last = way.step === null || !at ? null : make("strong", {}, way.ended ? "end" : way.word);
    return make(
      "tr", { class: place < width ? null : "lm-faded" },
      fate(way, place),
      make("td", {}, before.join(" ") || (at ? "" : "start"), last && before.length ? " " : "", last ?? ""),
      make("td", { class: "lm-number" }, way.step === null || !at ? "" : number(way.step)),
      make("td", { class: "lm-number" }, number(way.sum)),
    );
  };

  const showTable = () => {
    const ways = rounds[at];
    const title = (text, name = null) => make("th", { scope: "col", class: name }, text);
    const head = make("tr", {}, make("td"), title("sentence so far"), title("new word", "lm-number"), title("sum", "lm-number"));
    const body = ways.slice(0, width + DROPPED).map(row);
    const left = ways.length - body.length;
    if (left > 0) body.push(make("tr", { class: "lm-faded" }, fate(null, width), make("td", { colspan: 3 }, `${left} more`)));
    const signs = make("caption", {}, Object.entries(FATES).map(([name, sign]) => `${sign} ${name}`).join(", "));
    table.replaceChildren(signs, make("thead", {}, head), make("tbody", {}, ...body));
  };

  /* One row a round, one column a place in the beam; a line leads from each way to the one that it continues. */
  const draw = () => {
    const lines = [], words = [];
    let living = new Set(keptIn(at).keys()); // places, in the round that is drawn, that what is kept now comes from
    const x = (place) => COLUMN * (place + 0.5), y = (round) => ROW * (round + 0.6);
    for (let round = at; round >= 0; round--) {
      const parents = new Set();
      keptIn(round).forEach((way, place) => {
        const lives = living.has(place);
        if (lives) parents.add(way.parent);
        const kind = lives ? "lm-living" : "lm-dead";
        if (round) lines.push(svg("line", { class: kind, x1: x(way.parent), y1: y(round - 1) + 9, x2: x(place), y2: y(round) - 12 }));
        const label = round ? (way.step === null ? "·" : way.word ?? "end") : "start";
        words.push(svg("text", { class: kind, x: x(place), y: y(round) + 4, "text-anchor": "middle" }, label));
      });
      living = parents;
    }
    const size = { width: COLUMN * width, height: ROW * (at + 1.2) };
    const about = `The beam after round ${at}, a row for each round and a column for each place. `
      + "Solid lines lead to what is kept now, dashed ones to what was dropped later.";
    drawing.replaceChildren(svg(
      "svg", { ...size, viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": about }, ...lines, ...words,
    ));
  };

  const showOutcome = () => {
    const { nodes, right } = data.sentences[sentence];
    const { best, greedy, returned } = lmReturned(nodes, width, data.longest);
    const verdict = (way) => text(way) === right ? "That is the right translation." : `Right would be: ${right}.`;
    const chance = (way) => `${number(way.sum)}, a probability of ${(100 * Math.exp(way.sum)).toPrecision(2)}%`;
    const said = [`Returned: ${text(returned)}, with ${chance(returned)}. ${verdict(returned)}`];
    if (returned !== best) said.push(`The best of the beam is only: ${text(best)}, with ${number(best.sum)}. So the greedy sentence wins.`);
    else if (width > 1 && text(greedy) === text(best)) said.push("Greedy decoding finds the same sentence.");
    else if (width > 1) said.push(`Greedy decoding finds: ${text(greedy)}, with ${number(greedy.sum)}.`);
    outcome.replaceChildren(...said.map((line) => make("p", {}, line)));
  };

  const describe = () => {
    const ends = at === rounds.length - 1;
    const open = at ? keptIn(at - 1).filter((way) => !way.ended).length : 0;
    const begun = open === 1 ? "One unfinished beginning" : `Each of ${open} unfinished beginnings`;
    const over = ends ? " All that is kept is finished: the search is over." : "";
    state.textContent = at
      ? `Round ${at}. ${begun} was continued with its ${data.widest} likeliest words.${over}`
      : "Before the first round there is one beginning, without a word. “Next step” continues it.";
    back.setAttribute("aria-disabled", at === 0);
    next.setAttribute("aria-disabled", ends);
    outcome.hidden = !ends;
    outcome.replaceChildren();
    if (ends) showOutcome();
  };

  const show = () => [showTable, draw, describe].forEach((part) => part());
  const go = (round) => {
    at = Math.max(0, Math.min(rounds.length - 1, round));
    show();
  };
  /* Another beam. One that was at its end is shown at its end again, so that outcomes can be compared. */
  const restart = (where) => {
    rounds = lmBeam(data.sentences[sentence].nodes, width, data.longest);
    go(where);
  };

  const back = button("Back", () => go(at - 1));
  const next = button("Next step", () => go(at + 1));
  const start = button("First", () => go(0));
  const end = button("Last", () => go(Infinity));
  const which = choice("Sentence", data.sentences.map(({ english }) => english), (index) => {
    sentence = index;
    hint.textContent = data.sentences[index].hint;
    restart(0);
  });
  const hint = live("p");
  hint.textContent = data.sentences[sentence].hint;
  const wide = slider("Width", { min: 1, max: data.widest, step: 1, value: width }, (value) => {
    const ended = at > 0 && at === rounds.length - 1;
    width = value;
    restart(ended ? Infinity : at);
  });
  box.append(
    which.element, hint, wide.element, make("div", { class: "lm-control" }, back, next, start, end), state,
    make("div", { class: "lm-scroll" }, table), outcome, drawing,
  );
  wide.tell();
});
