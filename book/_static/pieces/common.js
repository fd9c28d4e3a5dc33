/* What every piece of the book shares: it takes a piece's data, hides its static picture, and lends plain controls.
   A piece is a file NAME.js beside this one that calls lmPiece(NAME, (box, data, ui) => { … }). */
"use strict";
(() => {
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  const svg = (tag, attributes = {}, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  let made = 0; // ids that no other element of the page has
  const id = () => `lm-${++made}`;

  /* A labelled slider; change(value) is called with a number at once and whenever it moves. show(value) is its text. */
  const slider = (label, { min, max, step, value, show = String }, change) => {
    const own = id();
    const shown = make("output", { for: own });
    const input = make("input", { id: own, type: "range", min, max, step, value });
    const tell = () => {
      const text = show(Number(input.value));
      shown.textContent = text;
      input.setAttribute("aria-valuetext", text);
      change(Number(input.value));
    };
    input.addEventListener("input", tell);
    const element = make("div", { class: "lm-control" }, make("label", { for: own }, label), input, shown);
    return { element, input, tell };
  };

  /* A labelled choice among texts; change(index). */
  const choice = (label, options, change, selected = 0) => {
    const own = id();
    const select = make("select", { id: own }, ...options.map((text, i) => make("option", { value: i, selected: i === selected }, text)));
    select.addEventListener("change", () => change(Number(select.value)));
    return { element: make("div", { class: "lm-control" }, make("label", { for: own }, label), select), select };
  };

  /* A labelled field of text; change(text) is called at every key. */
  const field = (label, value, change, attributes = {}) => {
    const own = id();
    const input = make("input", { id: own, type: "text", autocomplete: "off", spellcheck: "false", value, ...attributes });
    input.addEventListener("input", () => change(input.value));
    return { element: make("div", { class: "lm-control" }, make("label", { for: own }, label), input), input };
  };

  const button = (label, press) => make("button", { type: "button", onclick: press }, label);

  /* A place whose changes a screen reader announces. */
  const live = (tag = "p", attributes = {}) => make(tag, { "aria-live": "polite", ...attributes });

  /* Horizontal bars, a row each: rows of [label, share between 0 and 1, text, faded]. */
  const bars = (rows) => {
    const body = rows.map(([label, share, text, faded = false]) => make(
      "tr", { class: faded ? "lm-faded" : null },
      make("th", { scope: "row" }, label),
      make("td", { class: "lm-bar" }, make("span", { style: `width:${Math.max(0, Math.min(1, share)) * 100}%` })),
      make("td", { class: "lm-number" }, text),
    ));
    return make("table", { class: "lm-bars" }, make("tbody", {}, ...body));
  };

  /* Random numbers between 0 and 1 from a seed (a linear congruence; good enough to draw a sample). */
  const random = (seed) => {
    let state = seed >>> 0;
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 4294967296;
    };
  };

  const ui = { make, svg, slider, choice, field, button, live, bars, random };

  /* Start the piece called `name` wherever the page holds it. Where it fails, its static picture stays. */
  window.lmPiece = (name, start) => {
    const run = () => {
      for (const holder of document.querySelectorAll(`.lm-piece[data-piece="${name}"]`)) {
        const title = make("p", { class: "lm-title", id: id() }, holder.dataset.title);
        const box = make("div", { class: "lm-box", role: "group", "aria-labelledby": title.id }, title);
        start(box, JSON.parse(holder.querySelector("script[type='application/json']").textContent), ui);
        holder.querySelector(".lm-static").hidden = true;
        holder.append(box);
        holder.dataset.ready = "";
      }
    };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", run);
    else run();
  };
})();
