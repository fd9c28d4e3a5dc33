/* Loss against model size for one budget of training, by scaling laws: where the best size lies, and what another size costs.
   data.laws: the numbers of L = E + A / N^alpha + B / D^beta, the axes (powers of ten; nats),
   and measured runs as points of operations and loss. */
"use strict";
lmPiece("budget", (box, data, ui) => {
  const HEIGHT = 330, LEFT = 46, RIGHT = 18, TOP = 28, BOTTOM = 44;
  const POINTS = 160;
  const SIGNS = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];

  const loss = ({ E, A, alpha, B, beta }, N, D) => E + A / N ** alpha + B / D ** beta;
  const tokens = (F, N) => F / (6 * N);
  /* Where alpha of the one term balances beta of the other. */
  const best = ({ A, alpha, B, beta }, F) => ((alpha * A) / (beta * B)) ** (1 / (alpha + beta)) * (F / 6) ** (beta / (alpha + beta));
  /* The budget whose best size has this loss: what lies above the floor falls as a power of the budget. */
  const enough = (law, F, aim) => {
    const N = best(law, F);
    return F * ((aim - law.E) / (loss(law, N, tokens(F, N)) - law.E)) ** (-(law.alpha + law.beta) / (law.alpha * law.beta));
  };
  /* Loss of a run at this budget, between two of its measurements; null where it was not measured. */
  const measured = ({ points }, F) => {
    const at = points.findIndex(([spent]) => spent >= F);
    if (at < 1) return null;
    const [[a, before], [b, after]] = [points[at - 1], points[at]];
    return before + (after - before) * (Math.log(F / a) / Math.log(b / a));
  };

  const power = (n) => `10${String(n).split("").map((digit) => SIGNS[Number(digit)]).join("")}`;
  const short = (x) => {
    const n = Math.floor(Math.log10(x) + 1e-9);
    return n < 7 ? Number(x.toPrecision(2)).toLocaleString("en") : `${(x / 10 ** n).toFixed(1)} · ${power(n)}`;
  };
  const ratio = (x) => (x >= 10 ? x.toFixed(0) : x.toPrecision(2));

  const state = { law: data.laws[0], log: 0, times: 2 };
  const chart = ui.make("div", { class: "lm-chart" });
  const key = ui.make("p", { class: "lm-key" });
  const said = ui.live();

  const draw = () => {
    const { law } = state;
    const F = 10 ** state.log;
    const N_best = best(law, F);
    const N = N_best * 2 ** state.times;
    const WIDTH = Math.max(260, Math.min(720, chart.clientWidth || 640)); // letters keep their size on a phone
    const [low, high] = law.sizes;
    const [bottom, top] = law.losses;
    const x = (size) => LEFT + ((Math.log10(size) - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
    const y = (nats) => TOP + ((top - nats) / (top - bottom)) * (HEIGHT - TOP - BOTTOM);
    const inside = (nats) => nats !== null && nats <= top && nats >= bottom;
    const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
    const sizes = Array.from({ length: POINTS + 1 }, (_, i) => 10 ** (low + ((high - low) * i) / POINTS));
    const curve = sizes.map((size) => [size, loss(law, size, tokens(F, size))]).filter(([, nats]) => inside(nats));
    const valley = Array.from({ length: POINTS + 1 }, (_, i) => {
      const spent = 10 ** (law.budgets[0] + ((law.budgets[1] - law.budgets[0]) * i) / POINTS);
      const size = best(law, spent);
      return [size, loss(law, size, tokens(spent, size))];
    }).filter(([, nats]) => inside(nats));
    const text = (at, content, attributes) => ui.svg("text", { x: at[0], y: at[1], ...attributes }, content);
    const marks = [];
    for (let n = Math.ceil(low); n <= high; n++) {
      marks.push(ui.svg("path", { class: "lm-grid", d: `M${x(10 ** n)} ${TOP}V${HEIGHT - BOTTOM}` }));
      marks.push(text([x(10 ** n), HEIGHT - BOTTOM + 18], power(n), { "text-anchor": "middle" }));
    }
    for (let nats = Math.ceil(bottom / law.step) * law.step; nats <= top + 1e-9; nats += law.step) {
      marks.push(ui.svg("path", { class: "lm-grid", d: `M${LEFT} ${y(nats)}H${WIDTH - RIGHT}` }));
      marks.push(text([LEFT - 6, y(nats) + 5], nats.toFixed(1), { "text-anchor": "end" }));
    }
    marks.push(text([0, 15], "nats a token", {}));
    marks.push(text([(LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4], "parameters N", { "text-anchor": "middle" }));
    marks.push(ui.svg("path", { class: "lm-valley", d: path(valley) }), ui.svg("path", { class: "lm-curve", d: path(curve) }));
    for (const run of law.runs) {
      const nats = measured(run, F);
      if (inside(nats)) marks.push(text([x(run.N), y(nats) + 6], "×", { class: "lm-run", "text-anchor": "middle" }));
    }
    marks.push(ui.svg("circle", { class: "lm-best", cx: x(N_best), cy: y(loss(law, N_best, tokens(F, N_best))), r: 6 }));
    const own = loss(law, N, tokens(F, N));
    if (inside(own) && state.times) marks.push(ui.svg("rect", { class: "lm-own", x: x(N) - 6, y: y(own) - 6, width: 12, height: 12 }));
    chart.replaceChildren(ui.svg("svg", { width: WIDTH, height: HEIGHT, "aria-hidden": "true" }, ...marks));
  };

  const show = () => {
    const { law } = state;
    const F = 10 ** state.log;
    const N_best = best(law, F);
    const N = N_best * 2 ** state.times;
    const [least, own] = [N_best, N].map((size) => loss(law, size, tokens(F, size)));
    draw();
    const runs = law.runs.map((run) => measured(run, F)).filter((nats) => nats !== null).length;
    const count = runs ? `Of our runs, ${runs} passed this budget.` : "None of our runs passed this budget: this is extrapolated.";
    const seen = law.runs.length ? ` ${count}` : "";
    const off = state.times
      ? ` With ${short(N)} parameters and ${short(tokens(F, N))} tokens the loss is ${own.toFixed(3)}, ${(own - least).toFixed(3)} more.`
        + ` The best size reaches that for ${(100 * enough(law, F, own) / F).toFixed(0)}% of the budget.`
      : "";
    said.textContent = `Best: ${short(N_best)} parameters and ${short(tokens(F, N_best))} tokens, `
      + `${ratio(tokens(F, N_best) / N_best)} for each, with a loss of ${least.toFixed(3)}.${off}${seen}`;
  };

  const budget = ui.slider(
    "Budget", { min: 0, max: 30, step: 0.1, value: 0, show: (x) => short(10 ** x) },
    (x) => { state.log = x; show(); },
  );
  const beside = (x) => (x ? `best ${x > 0 ? "×" : "÷"} ${ratio(2 ** Math.abs(x))}` : "the best");
  const size = ui.slider(
    "Your size", { min: -5, max: 5, step: 0.5, value: state.times, show: beside },
    (x) => { state.times = x; show(); },
  );
  const take = (i) => {
    state.law = data.laws[i];
    const crosses = state.law.runs.length ? " ×: our runs." : "";
    key.textContent = `Circle: the best size. Square: yours. Dashed: the best sizes of all budgets.${crosses}`;
    [budget.input.min, budget.input.max] = state.law.budgets;
    budget.input.value = state.law.start;
    budget.tell();
  };
  box.append(ui.choice("Law of", data.laws.map(({ name }) => name), take).element, budget.element, size.element, chart, key, said);
  take(0);
  size.tell();
  if (window.ResizeObserver) new ResizeObserver(draw).observe(chart);
});
