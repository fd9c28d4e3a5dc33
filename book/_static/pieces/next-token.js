/* What a temperature, top-k and top-p leave of a model's distribution over the next token, in the order in which transformers applies them.
   data: the tokens as they are shown, beginnings with ids and log-probabilities (the likeliest first), and the settings at the start. */
"use strict";
lmPiece("next-token", (box, data, ui) => {
  const ROWS = 12; // the likeliest, a bar each; all others share one
  const DRAWS = 20;
  const ALL = data.tokens.length;
  const LIMITS = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, ALL];
  const percent = (x) => `${(100 * x).toFixed(1)}`;
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const tokens = (n) => (n === 1 ? "1 token" : `${n.toLocaleString("en")} tokens`);

  /* The probabilities at this temperature, how many of the likeliest stay, and what these have together before they are divided by it. */
  const narrow = (logs, { tau, k, p }) => {
    const powers = logs.map((x) => Math.exp((x - logs[0]) / tau));
    const total = sum(powers);
    const warm = powers.map((x) => x / total);
    const enough = p * sum(warm.slice(0, k)); // top-p counts on what top-k left
    let kept = 1;
    let together = warm[0];
    while (kept < k && (p >= 1 || together < enough)) together += warm[kept++];
    return { warm, kept, together };
  };

  /* Places of the tokens drawn: how often each. */
  const draw = ({ warm, kept, together }, seed) => {
    const next = ui.random(seed);
    for (let i = 0; i < 3; i++) next(); // the first numbers of neighbouring seeds are alike
    const times = new Map();
    for (let n = 0; n < DRAWS; n++) {
      let left = next() * together;
      let at = 0;
      while (at < kept - 1 && left >= warm[at]) left -= warm[at++];
      times.set(at, (times.get(at) || 0) + 1);
    }
    return [...times].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  };

  const setting = { ...data.setting, at: 0, seed: 1 };
  const table = ui.make("div");
  const said = ui.live();
  const drawn = ui.live("p", { class: "lm-sample" });

  const show = () => {
    const { ids, logs } = data.beginnings[setting.at];
    const now = narrow(logs, setting);
    const name = (i) => data.tokens[ids[i]];
    const after = (i) => (i < now.kept ? now.warm[i] / now.together : 0);
    const places = Array.from({ length: ROWS }, (_, i) => i);
    const rows = places.map((i) => [
      name(i), after(i), `${percent(Math.exp(logs[i]))} → ${i < now.kept ? `${percent(after(i))}%` : "cut"}`, i >= now.kept,
    ]);
    const others = Math.max(0, now.kept - ROWS);
    const rest = Math.max(0, 1 - sum(places.map(after)));
    const before = 1 - sum(places.map((i) => Math.exp(logs[i])));
    const shares = `${percent(before)} → ${others ? `${percent(rest)}%` : "cut"}`;
    rows.push([others ? `${others.toLocaleString("en")} others` : "others", others ? rest : 0, shares, !others]);
    table.replaceChildren(ui.bars(rows));
    said.textContent = `${tokens(now.kept)} of ${ALL.toLocaleString("en")} ${now.kept === 1 ? "stays" : "stay"}, `
      + `with ${percent(now.together)}% of the probability at this temperature. Divided by that, it is 100% again.`;
    const times = draw(now, setting.seed);
    const beyond = sum(times.filter(([i]) => i >= ROWS).map(([, n]) => n));
    drawn.textContent = `${DRAWS} draws, ${beyond} of them from below the ${ROWS}: `
      + times.map(([i, n]) => (n > 1 ? `${name(i)} ×${n}` : name(i))).join("  ");
  };
  const change = (name, value) => {
    setting[name] = value;
    show();
  };

  const sliders = [
    ui.slider("Temperature", { min: 0.2, max: 2, step: 0.1, value: setting.tau, show: (x) => x.toFixed(1) }, (x) => change("tau", x)),
    ui.slider(
      "Top-k",
      {
        min: 0, max: LIMITS.length - 1, step: 1, value: LIMITS.indexOf(setting.k),
        show: (i) => (LIMITS[i] === ALL ? "off" : `k = ${LIMITS[i]}`),
      },
      (i) => change("k", LIMITS[i]),
    ),
    ui.slider(
      "Top-p",
      { min: 0.05, max: 1, step: 0.05, value: setting.p, show: (x) => (x >= 1 ? "off" : `p = ${x.toFixed(2)}`) },
      (x) => change("p", x),
    ),
  ];
  const beginnings = ui.choice("Beginning", data.beginnings.map(({ text }) => `${text} …`), (i) => change("at", i));
  box.append(
    beginnings.element, ...sliders.map(({ element }) => element),
    ui.make("p", {}, "Behind each bar: what the model gives the token, and what the settings make of it."),
    table, said, ui.button("Draw again", () => change("seed", setting.seed + 1)), drawn,
  );
  for (const { tell } of sliders) tell();
});
