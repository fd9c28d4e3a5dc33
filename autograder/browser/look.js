/* What the review asks of a page in the state that it is in: which elements do not fit. Run inside the page by autograder/review.py. */
const root = document.documentElement;
const article = document.querySelector("article") ?? document.querySelector("main") ?? document.body;
const problems = [];

const name = (element) => {
  const own = element.id ? `#${element.id}` : [...element.classList].slice(0, 2).map((word) => `.${word}`).join("");
  const text = (element.textContent || element.alt || "").trim().replace(/\s+/g, " ").slice(0, 50);
  return `${element.tagName.toLowerCase()}${own}${text ? ` (${text})` : ""}`;
};
const style = (element) => getComputedStyle(element);
const inline = (element) => ["inline", "contents"].includes(style(element).display);  // overflow says nothing of these
const scrolls = (element) => ["auto", "scroll"].includes(style(element).overflowX) && !inline(element);
const inScroller = (element) => {
  for (let up = element.parentElement; up && up !== article.parentElement; up = up.parentElement) if (scrolls(up)) return true;
  return false;
};
const unseen = (element) => {
  const box = element.getBoundingClientRect();
  return box.width <= 1 || box.height <= 1 || style(element).visibility === "hidden"
    || element.closest("mjx-assistive-mml, .visually-hidden, .lm-hidden, dialog:not([open]), .headerlink") !== null;
};
const right = (element) => Math.max(element.getBoundingClientRect().right, element.getBoundingClientRect().left + element.scrollWidth);
const deepest = (elements) => elements.filter((one) => !elements.some((other) => other !== one && one.contains(other)));

if (root.scrollWidth > innerWidth + 1) {
  const out = [...document.body.querySelectorAll("*")].filter(
    (one) => !unseen(one) && right(one) > innerWidth + 1 && !scrolls(one) && !inScroller(one));
  const who = deepest(out)[0];
  problems.push(["page too wide", `the page is ${root.scrollWidth - innerWidth} px wider than the screen, because of ${who ? name(who) : "?"}`]);
}

const inside = [...article.querySelectorAll("*")].filter((one) => !one.closest("mjx-container, svg") && !unseen(one));
const overhung = (one) => [...one.querySelectorAll("img")].some((image) => { // on a phone a figure may be as wide as the screen
  const box = image.getBoundingClientRect();
  return box.right > one.getBoundingClientRect().right && box.left >= 0 && box.right <= innerWidth;
});
const spills = (one) => {
  return !inline(one) && style(one).overflowX === "visible" && one.scrollWidth > one.clientWidth + 2 && one.clientWidth > 0
    && !inScroller(one) && !overhung(one);
};
for (const one of deepest(inside.filter(spills))) {
  problems.push(["too wide", `${name(one)} is ${one.scrollWidth - one.clientWidth} px wider than its box, and nothing scrolls it`]);
}
for (const one of inside.filter((one) => !inline(one) && !one.matches(".math, input"))) { // a long text in a field is no fault
  const { overflowX, overflowY } = style(one);
  if (["hidden", "clip"].includes(overflowX) && one.scrollWidth > one.clientWidth + 2) {
    problems.push(["cut", `${name(one)} is cut: ${one.scrollWidth - one.clientWidth} px of its width do not show`]);
  }
  if (["hidden", "clip"].includes(overflowY) && one.scrollHeight > one.clientHeight + 2) {
    problems.push(["cut", `${name(one)} is cut: ${one.scrollHeight - one.clientHeight} px of its height do not show`]);
  }
}

for (const formula of article.querySelectorAll("mjx-container")) {
  if (unseen(formula)) continue;
  const within = formula.parentElement.getBoundingClientRect();
  const box = (formula.querySelector("mjx-math") ?? formula).getBoundingClientRect();
  if (box.right > innerWidth + 1 && !inScroller(formula)) {
    problems.push(["equation", `${name(formula.parentElement)} runs ${Math.round(box.right - innerWidth)} px out of the screen, and nothing scrolls it`]);
  }
  if (!inline(formula.parentElement) && style(formula.parentElement).overflowY !== "visible" && (box.bottom > within.bottom + 2 || box.top < within.top - 2)) {
    problems.push(["equation", `${name(formula.parentElement)} is cut above or below`]);
  }
  const error = formula.querySelector("mjx-merror");
  if (error) problems.push(["equation", `MathJax cannot set ${error.getAttribute("title") ?? name(formula)}`]);
}

for (const image of document.images) {
  if (image.getAttribute("src") && !image.hidden && image.complete && image.naturalWidth === 0) problems.push(["image", `the image ${image.src} did not load`]);
}

for (const text of article.querySelectorAll("svg text")) {
  if (unseen(text) || !text.textContent.trim()) continue;
  const size = parseFloat(style(text).fontSize) * Math.abs(text.getScreenCTM().d || text.getScreenCTM().b);
  if (size < SMALLEST) problems.push(["small text", `the text ${text.textContent.trim().slice(0, 40)} of a drawing is ${size.toFixed(1)} px high`]);
}

const pictures = [...article.querySelectorAll("img")].filter((image) => !unseen(image) && /^data:image\/svg|\.svg([?#]|$)/.test(image.src));
return [problems, pictures.map((image) => [image.getAttribute("src"), image.alt, image.getBoundingClientRect().width])];
