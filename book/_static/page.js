/* What every page of the book does: what scrolls sideways can be scrolled by keyboard, a formula too wide for its line scrolls, and
   the comma or full stop behind a formula stays on its line. */
"use strict";
(() => {
  const BOXES = ".bd-article :is(pre, div.math, div.math mjx-container, .pst-scrollable-table-container, div.cell_output .text_html, .lm-scroll)";
  const FORMULAS = ".bd-article span.math";

  const keepMarks = () => {
    for (const formula of document.querySelectorAll(FORMULAS)) {
      const behind = formula.nextSibling;
      const mark = behind?.nodeType === Node.TEXT_NODE ? behind.data.match(/^[.,;:!?)…]+/) : null;
      if (!mark) continue;
      const whole = document.createElement("span");
      whole.className = "lm-whole";
      formula.before(whole);
      behind.data = behind.data.slice(mark[0].length);
      whole.append(formula, mark[0]);
    }
  };

  const fit = () => {
    for (const formula of document.querySelectorAll(FORMULAS)) {
      formula.classList.remove("lm-wide");
      const drawn = formula.querySelector("mjx-math");
      if (drawn && drawn.getBoundingClientRect().width > formula.closest("p, li, td, th, dd, div").clientWidth) formula.classList.add("lm-wide");
    }
    for (const box of document.querySelectorAll(`${BOXES}, ${FORMULAS}.lm-wide`)) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else if (box.getAttribute("tabindex") === "0") box.removeAttribute("tabindex");
    }
  };

  let waiting = 0;
  const soon = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(fit);
  };
  window.addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    keepMarks();
    const article = document.querySelector(".bd-article");
    if (article) new ResizeObserver(soon).observe(article); // also at once, and when something folds out
  });
})();
