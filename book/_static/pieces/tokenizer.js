/* Chapter 1: cut a text with the merges of the course's tokenizer, with as many of them as the reader wants. */
"use strict";

/* The tokenizer. end: the text of id 0; bytes: the byte of each id from 1 on; merges: pairs of ids, which become the ids after those. */
function lmTokenizer({ end, bytes, merges }) {
  const PIECE = new RegExp(
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+|" +
      "\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+",
    "gu",
  );
  const idOf = new Map(bytes.map((byte, i) => [byte, i + 1]));
  const spellings = [[...new TextEncoder().encode(end)], ...bytes.map((byte) => [byte])];
  const rank = new Map();
  merges.forEach(([left, right], i) => {
    rank.set(left * 65536 + right, i);
    spellings.push([...spellings[left], ...spellings[right]]);
  });

  /* Where the pair of neighbours that was learned first stands in ids, and its rank (Infinity if no pair was learned). */
  const first = (ids) => {
    let at = -1, lowest = Infinity;
    for (let i = 0; i + 1 < ids.length; i++) {
      const found = rank.get(ids[i] * 65536 + ids[i + 1]) ?? Infinity;
      if (found < lowest) [at, lowest] = [i, found];
    }
    return [at, lowest];
  };

  /* The ids of a text after the first `made` merges; last, next: the ranks of the last merge made in it and of the next that would be. */
  const encode = (text, made) => {
    const result = { ids: [], last: -1, next: Infinity };
    const encoder = new TextEncoder();
    text.split(end).forEach((part, i) => {
      if (i > 0) result.ids.push(0);
      for (const [piece] of part.matchAll(PIECE)) {
        const ids = [...encoder.encode(piece)].map((byte) => idOf.get(byte));
        let [at, lowest] = first(ids);
        while (lowest < made) {
          ids.splice(at, 2, bytes.length + 1 + lowest);
          result.last = Math.max(result.last, lowest);
          [at, lowest] = first(ids);
        }
        result.next = Math.min(result.next, lowest);
        result.ids.push(...ids);
      }
    });
    return result;
  };

  return { encode, spelling: (id) => spellings[id] };
}

lmPiece("tokenizer", (box, data, ui) => {
  const { encode, spelling } = lmTokenizer(data);
  const all = data.merges.length;
  const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  let text = data.examples[0], made = all;

  /* A token as text; where its bytes are a part of a character, their numbers. */
  const spelled = (id) => {
    const bytes = new Uint8Array(spelling(id));
    try {
      const signs = { " ": "␣", "\n": "↵", "\t": "⇥" };
      const decoded = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
      return decoded.replace(/[\p{C}\p{Z}]/gu, (sign) => signs[sign] ?? `<U+${sign.codePointAt(0).toString(16).toUpperCase()}>`);
    } catch {
      return [...bytes].map((byte) => `<${byte}>`).join("");
    }
  };
  const merge = (i) => `number ${(i + 1).toLocaleString("en")}, ${data.merges[i].map(spelled).join(" + ")}`;

  const field = ui.make("textarea", { id: "lm-tokenizer-text", rows: 2, maxlength: 400, spellcheck: "false", autocomplete: "off" });
  field.value = text;
  const example = ui.choice("Example", data.examples.map((line) => line.replace(/\n/g, " ↵ ")), (i) => write(data.examples[i]));
  const slider = ui.slider(
    "Merges",
    { min: 0, max: all, step: 1, value: all, show: (k) => k.toLocaleString("en") },
    (k) => { made = k; show(); },
  );
  const told = ui.live();
  const tokens = ui.make("ol", { class: "lm-cuts", "aria-label": "tokens" });
  const about = ui.live("p", { class: "lm-merges" });
  const numbers = ui.button("Show ids", () => {
    const shown = tokens.classList.toggle("lm-ids");
    numbers.setAttribute("aria-pressed", shown);
  });
  numbers.setAttribute("aria-pressed", "false");
  const go = (k) => {
    slider.input.value = k;
    slider.tell();
  };
  const back = ui.button("Undo a merge", () => { if (state.last >= 0) go(state.last); });
  const on = ui.button("Make the next merge", () => { if (state.next < all) go(state.next + 1); });
  let state;

  function show() {
    state = encode(text, made);
    const length = new TextEncoder().encode(text).length;
    const each = state.ids.length ? `: ${(length / state.ids.length).toFixed(2)} bytes a token` : "";
    told.textContent = `${count(length, "byte")}, ${count(state.ids.length, "token")}${each}.`;
    tokens.replaceChildren(...state.ids.map((id) => ui.make("li", {}, spelled(id), ui.make("span", { class: "lm-id" }, String(id)))));
    const before = state.last < 0 ? "No merge was made in this text." : `Last merge made in this text: ${merge(state.last)}.`;
    const after = state.next < all ? `The next would be ${merge(state.next)}.` : "No further merge would change it.";
    about.textContent = `${before} ${after}`;
    back.setAttribute("aria-disabled", state.last < 0);
    on.setAttribute("aria-disabled", state.next >= all);
  }
  function write(written) {
    text = field.value = written;
    show();
  }
  field.addEventListener("input", () => { text = field.value; show(); });

  const label = ui.make("label", { for: field.id }, "Your text");
  box.append(example.element, ui.make("div", { class: "lm-control" }, label, field), slider.element);
  box.append(ui.make("div", {}, back, on, numbers), told, tokens, about);
  slider.tell();
});
