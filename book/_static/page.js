/* What every page of the book does: what scrolls sideways can be scrolled by keyboard, and a formula too wide for its line scrolls. */
"use strict";
(() => {
  const BOXES = ".bd-article :is(pre, div.math, div.math mjx-container, .pst-scrollable-table-container, div.cell_output .text_html, .lm-scroll)";
  const FORMULAS = ".bd-article span.math";

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
    const article = document.querySelector(".bd-article");
    if (article) new ResizeObserver(soon).observe(article); // also at once, and when something folds out
  });
})();
