"""The pieces of Part III, run on the data of their own pages: what they show is what the page's libraries compute."""

import json
import math
import re
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import transformers
from scipy.optimize import least_squares, minimize_scalar
from sklearn.feature_extraction.text import TfidfVectorizer

from autograder.tests.pieces import PIECES, in_javascript, made
from lmkit import corpus, embedded, minis, page, pretrained, retrieval, scaling, tokenizer

LABELS = ("Beginning", "Temperature", "Top-k", "Top-p")
SHARES = re.compile(r"([\d.]+) → (?:([\d.]+)%|cut)")
# As much of a browser as a piece needs: elements with attributes, children, text and listeners.
BROWSER = """(data, script, steps) => {
  class Element {
    constructor(tag) { Object.assign(this, { tag, attributes: {}, children: [], listeners: {}, dataset: {} }); }
    setAttribute(name, value) { this.attributes[name] = String(value); if (name === "value") this.value = String(value); }
    addEventListener(name, listener) { this.listeners[name] = listener; }
    append(...children) { this.children.push(...children); }
    replaceChildren(...children) { this.children = children; }
    set textContent(text) { this.children = [text]; }
    get textContent() { return this.children.map((child) => child.textContent ?? child).join(""); }
    all(tag) { return this.children.flatMap((child) => child.all ? [...(child.tag === tag ? [child] : []), ...child.all(tag)] : []); }
  }
  const create = (tag) => new Element(tag);
  const holder = create("div");
  holder.dataset.title = "title";
  holder.querySelector = (what) => what.startsWith("script") ? { textContent: JSON.stringify(data) } : {};
  const svg = (space, tag) => create(tag);
  const document = { readyState: "done", createElement: create, createElementNS: svg, querySelectorAll: () => [holder] };
  const window = {};
  new Function("window", "document", script.replaceAll("lmPiece(", "window.lmPiece("))(window, document);
  const seen = [];
  for (const [label, value] of steps) {
    const control = holder.all("div").find((e) => e.children[0]?.tag === "label" && e.children[0].textContent === label)?.children[1];
    if (control) {
      control.value = value;
      (control.listeners.input || control.listeners.change)();
    } else holder.all("button").find((e) => e.textContent === label).listeners.click();
    const rows = holder.all("tr").map((row) => row.children.map((cell) => cell.textContent));
    const items = holder.all("li").map((item) => item.textContent);
    seen.push({ rows, items, said: holder.all("p").map((e) => e.textContent).join(" ") });
  }
  return seen;
}"""


def played(piece: page.Piece, steps: list[tuple[str, object]]) -> list[dict]:
    """What the piece shows after each step; a step moves the control with this label to this value, or presses the button."""
    script = "\n".join((PIECES / f"{name}.js").read_text(encoding="utf-8") for name in ("common", piece.name))
    return in_javascript(piece.name, BROWSER, json.loads(piece.data), script, steps)


def drawn(state: dict) -> Counter:
    """How often each token was drawn, by what the piece says."""
    tokens = re.search(r"20 draws, \d+ of them from below the 12: (.*)$", state["said"])[1].split("  ")
    pairs = [re.fullmatch(r"(.+?)(?: ×(\d+))?", token).groups(default="1") for token in tokens]
    return Counter({token: int(times) for token, times in pairs})


@pytest.fixture(scope="module")
def next_token():
    tok, gpt = tokenizer.load(), pretrained.causal(minis.folder("gpt-mini"))
    names = ("TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper")
    own = {"torch": torch, "tok": tok, "gpt": gpt, "END": tokenizer.END_ID, "V": gpt.config.vocab_size, "F": torch.nn.functional}
    own |= {name: getattr(transformers, name) for name in names} | {"held_out": tokenizer.token_ids("validation")}
    return made("09_gpt", "next-token", own, "def visible", "def next_logits", "def nucleus"), own


def test_next_token_shows_what_generate_draws_from(next_token):
    piece, namespace = next_token
    settings = [(1.0, 2048, 1.0), (0.5, 2048, 0.9), (1.6, 50, 0.75), (2.0, 2048, 0.95), (0.2, 5, 0.05), (1.0, 1, 1.0)]
    data, limits = json.loads(piece.data), [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2048]
    cases = [(at, beginning["text"], setting) for at, beginning in enumerate(data["beginnings"]) for setting in settings]
    moves = [zip(LABELS, (at, tau, limits.index(k), p), strict=True) for at, _, (tau, k, p) in cases]
    shown = played(piece, [move for four in moves for move in four])[len(LABELS) - 1 :: len(LABELS)]
    assert len(shown) == len(cases) == 24
    for (_, text, setting), state in zip(cases, shown, strict=True):
        logits = namespace["next_logits"](text)
        model, remain = logits.softmax(dim=-1)[0], namespace["narrowed"](logits, *setting)
        top, kept = model.argsort(descending=True, stable=True), int((remain > 0).sum())
        *rows, rest = [(name, *SHARES.fullmatch(said).groups()) for name, _, said in state["rows"]]
        for i, (name, before, after) in zip(top[:12].tolist(), rows, strict=True):
            assert name == namespace["visible"](i)
            assert abs(float(before) - 100 * model[i]) < 0.06
            assert abs(float(after or 0) - 100 * remain[i]) < 0.12
            assert (after is None) == (remain[i] == 0)
        assert rest[0] == (f"{kept - 12:,} others" if kept > 12 else "others")
        assert abs(float(rest[2] or 0) - 100 * remain[top[12:]].sum()) < 0.2
        assert f"{kept:,} token{'s' if kept > 1 else ''} of 2,048" in state["said"]
        times = drawn(state)
        assert sum(times.values()) == 20
        assert set(times) <= {namespace["visible"](i) for i in top[:kept].tolist()}


def test_next_token_draws_as_often_as_the_shares_say(next_token):
    piece, namespace = next_token
    at, text = next((at, one["text"]) for at, one in enumerate(json.loads(piece.data)["beginnings"]) if one["text"] == "The")
    states = played(piece, [*zip(LABELS, (at, 1, 3, 1), strict=True), *[("Draw again", None)] * 100])[len(LABELS) :]
    remain = namespace["narrowed"](namespace["next_logits"](text), 1.0, 5, 1.0)
    times = sum(map(drawn, states), Counter())
    assert sum(times.values()) == 2000
    for i in remain.nonzero()[:, 0].tolist():
        error = (2000 * remain[i] * (1 - remain[i])) ** 0.5
        assert abs(times[namespace["visible"](i)] - 2000 * remain[i]) < 4 * error


def test_search_puts_the_articles_in_the_library_s_order():
    own = {"corpus": corpus, "embedded": embedded, "retrieval": retrieval, "TfidfVectorizer": TfidfVectorizer}
    piece = made("11_embeddings", "search", own | {"paragraphs": corpus.all_paragraphs()})
    queries = ["animals with a long tongue", "unselfish behaviour", "ALTRUISM!", "a robot that looks human", "constructor", "qqqq", "  "]
    shown = played(piece, [("Search for", query) for query in queries])
    leads = json.loads(piece.data)["leads"]
    texts = {p.title: p.text for p in reversed(corpus.all_paragraphs())}
    weigher = TfidfVectorizer(sublinear_tf=True)
    weights = weigher.fit_transform([texts[lead["title"]] for lead in leads])
    for query, state in zip(queries[:-3], shown, strict=False):
        scores = (weigher.transform([query]) @ weights.T).toarray()[0]
        best = [i for i in np.argsort(-scores, kind="stable")[:4] if scores[i] > 0]
        wanted = [f"{leads[i]['title']}: {leads[i]['text']} Near it: {', '.join(leads[i]['near'])}." for i in best]
        assert state["items"] == wanted, query
    assert [state["items"] for state in shown[-3:]] == [["No first paragraph has a word of this."]] * 2 + [[]]


def test_budget_finds_the_best_size_and_what_another_costs():
    own = {"math": math, "scaling": scaling, "least_squares": least_squares, "minimize_scalar": minimize_scalar}
    fitted = [run for run in scaling.runs() if run.C != scaling.HELD_OUT]
    own |= {"fitted": fitted, "published": {"Chinchilla": (70e9, 1.4e12)}}
    piece = made("12_scaling", "budget", own, "def joint(", "budgets = 2e11", "def loss_at(")
    laws = json.loads(piece.data)["laws"]
    powers = [law["start"] + 0.7 for law in laws]
    moves = [move for at, power in enumerate(powers) for move in (("Law of", at), ("Budget", power), ("Your size", 2))]
    for law, power, state in zip(laws, powers, played(piece, moves)[2::3], strict=True):
        shown = state["said"]

        def loss(log_n, flops=10**power, law=law):
            n = 10**log_n
            return law["E"] + law["A"] / n ** law["alpha"] + law["B"] / (flops / (6 * n)) ** law["beta"]

        def least(flops, loss=loss):
            return minimize_scalar(loss, bounds=(3, 15), args=(flops,), method="bounded", options={"xatol": 1e-9})

        best = least(10**power)
        ratio = 10**power / (6 * 10 ** (2 * best.x))
        worse = loss(best.x + math.log10(4))
        percent = float(re.search(r"for (\d+)% of the budget", shown)[1])
        assert math.isclose(float(re.search(r"([\d.]+) for each", shown)[1]), ratio, rel_tol=0.05)
        assert f"with a loss of {best.fun:.3f}" in shown
        assert f"the loss is {worse:.3f}, {worse - best.fun:.3f} more" in shown
        assert least(10**power * (percent - 0.6) / 100).fun > worse > least(10**power * (percent + 0.6) / 100).fun


def test_budget_says_where_nothing_was_measured():
    data = {
        "E": 2.0,
        "A": 400.0,
        "alpha": 0.3,
        "B": 400.0,
        "beta": 0.3,
        "budgets": [10, 14],
        "start": 11,
        "sizes": [4, 7],
        "losses": [1, 9],
        "step": 1,
    }
    law = data | {"name": "ours", "runs": [{"N": 1e5, "points": [[1e11, 5.0], [1e12, 4.0]]}]}
    fig = plt.figure()
    plt.close(fig)
    piece = page.piece("budget", "Budget", {"laws": [law]}, fig, "a picture")
    below, within, above = (state["said"] for state in played(piece, [("Budget", x) for x in (10.5, 11.5, 12.5)]))
    assert "extrapolated" in below
    assert "Of our runs, 1 passed" in within
    assert "extrapolated" in above
