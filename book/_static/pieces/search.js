/* A search by TF-IDF over the first paragraphs of all articles; behind each hit the articles nearest to it by an encoder's vectors.
   data: leads (title, text, near), index (word -> article, weight, article, weight, …), and an example to begin with. */
"use strict";
lmPiece("search", (box, data, ui) => {
  const HITS = 4;
  const { leads, index } = data;

  /* Numbers of the articles that have a word of the query, the best first. */
  const find = (query) => {
    const sums = new Map();
    for (const word of query.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) || []) {
      const found = Object.hasOwn(index, word) ? index[word] : [];
      for (let i = 0; i < found.length; i += 2) sums.set(found[i], (sums.get(found[i]) || 0) + found[i + 1]);
    }
    return [...sums].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, HITS).map(([at]) => leads[at]);
  };

  const list = ui.live("ol");
  const show = (query) => {
    const hits = find(query).map(({ title, text, near }) => ui.make(
      "li", {}, ui.make("strong", {}, title), `: ${text} `, ui.make("em", {}, `Near it: ${near.join(", ")}.`),
    ));
    const none = query.trim() ? [ui.make("li", {}, "No first paragraph has a word of this.")] : [];
    list.replaceChildren(...(hits.length ? hits : none));
  };
  box.append(ui.field("Search for", data.example, show, { type: "search" }).element, list);
  show(data.example);
});
