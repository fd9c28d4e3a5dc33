"""The pieces of chapters 1 and 2 compute in the reader's browser what the course's own library computes."""

import json
from typing import Any

import numpy as np
import pytest

from autograder.tests.pieces import in_javascript, made
from lmkit import corpus, tokenizer
from lmkit.ngram import NgramModel

V, END = tokenizer.VOCAB_SIZE, tokenizer.END_ID
HARD = [
    "", " ", "  ", "\n", " \n\t x\r\n  y  ", "a  b   c ", "'s's 't I'll we'd they're isn't DON'T 'S", "0123456789 ½ ² Ⅷ ٣ 1,000.50",
    "é e\u0301 ﬁ ẞ ß", "naïve café — “quoted” … ½", "👍🏽 👨‍👩‍👧‍👦 🇳🇱", "人人生而自由，在尊严和权利。", "すべての人間は", "ภาษา",
    "सभी मनुष्यों को", "يولد جميع الناس", "a\u00a0b\u2003c\u3000d\u0085e\u2028f\ufeffg\u200bh\u180ei", "\x00\x01\x1f\x7f\x80",
    "\ufffd \U0010fffd \u0378",
    "aaaaaaaaaaaaaaaaaaaa", "!!!???...---===", "<|endoftext|>", " <|endoftext|>  <|endoftext|><|endoftext|> a", "<|endoftext|",
    "def f(x):\n    return x**2  # no\n", "𝒜𝔅 Ωmega ǅ ʰ", "_snake_case __init__",
]  # fmt: skip


@pytest.fixture(scope="module")
def cutter() -> dict[str, Any]:
    merges = [tuple(pair) for pair in json.loads(tokenizer.load().backend_tokenizer.to_str())["model"]["merges"]]
    names = {"tokenizer": tokenizer, "merges": merges, "V": V, "END": END}
    return json.loads(made("01_tokens", "tokenizer", names).data)


@pytest.fixture(scope="module")
def writer() -> dict[str, Any]:
    names = {"train": tokenizer.token_ids("train"), "NgramModel": NgramModel, "tok": tokenizer.load(), "V": V, "END": END}
    return json.loads(made("02_ngrams", "temperature", names | {"tokenizer": tokenizer}).data)


def texts(data: dict[str, Any]) -> list[str]:
    return [*HARD, *data["examples"], *corpus.texts("validation")[:120], *(text[:99] for text in corpus.texts("train")[:80])]


def test_the_piece_cuts_as_the_tokenizer_does(cutter):
    tok = tokenizer.load()
    cut = "(data, texts) => { const t = lmTokenizer(data); return texts.map((text) => t.encode(text, data.merges.length)); }"
    results = in_javascript("tokenizer", cut, cutter, texts(cutter))
    for text, result in zip(texts(cutter), results, strict=True):
        assert result["ids"] == tok.encode(text), repr(text)
        assert result["next"] is None  # JSON's Infinity: there is no further merge


def test_the_piece_cuts_as_a_tokenizer_with_fewer_merges(cutter):
    pairs = json.loads(tokenizer.load().backend_tokenizer.to_str())["model"]["merges"]
    few, numbers = texts(cutter)[:60], [0, 1, 40, 700]
    cut = "(data, texts, numbers) => { const t = lmTokenizer(data); return numbers.map((k) => texts.map((text) => t.encode(text, k))); }"
    for learned, results in zip(numbers, in_javascript("tokenizer", cut, cutter, few, numbers), strict=True):
        fewer = tokenizer.build([tuple(pair) for pair in pairs[:learned]])
        for text, result in zip(few, results, strict=True):
            assert result["ids"] == fewer.encode(text).ids, repr(text)
            assert result["last"] < learned <= (V if result["next"] is None else result["next"])


def test_each_step_of_the_piece_changes_the_text_and_a_step_back_undoes_it(cutter):
    walk = """(data, text) => {
        const t = lmTokenizer(data), cuts = [], back = [];
        let state = t.encode(text, 0);
        while (cuts.push(state.ids), state.next < Infinity) state = t.encode(text, state.next + 1);
        while (back.push(state.ids), state.last >= 0) state = t.encode(text, state.last);
        return [cuts, back, cuts.map((ids) => ids.map((id) => t.spelling(id)))];
    }"""
    forth, back, spelled = in_javascript("tokenizer", walk, cutter, cutter["examples"][0])
    assert forth == back[::-1]
    assert forth[-1] == tokenizer.load().encode(cutter["examples"][0])
    lengths = [len(ids) for ids in forth]
    assert lengths == sorted(set(lengths), reverse=True)
    vocabulary = tokenizer.vocabulary()
    assert [[bytes(token) for token in cut] for cut in spelled] == [[vocabulary[i] for i in ids] for ids in forth]


def test_the_writer_s_probabilities_are_the_model_s(writer):
    tok, eighth = tokenizer.load(), tokenizer.token_ids("train")[::8]
    histories = [start["ids"] for start in writer["starts"]] + [
        tok.encode(text) for text in ("The", " of the", " xylophone ~", "a. b. c. d.")
    ]
    ask = """(data, histories) => {
        const m = lmNgram(data);
        return [m.tokens, [1, 2, 3, 4].map((n) => histories.map((h) => [...m.next(h, n)]))];
    }"""
    n_tokens, answers = in_javascript("temperature", ask, writer, histories)
    assert n_tokens == sum(len(ids) + 1 for ids in eighth)
    for order, rows in enumerate(answers, 1):
        model = NgramModel(eighth, order, V, END)
        for history, row in zip(histories, rows, strict=True):
            np.testing.assert_allclose(row, model.next_probabilities(history), rtol=1e-9, atol=0)


def test_the_writer_tempers_and_draws_as_the_formula_says(writer):
    p = NgramModel(tokenizer.token_ids("train")[::8], 4, V, END).next_probabilities(tokenizer.load().encode("It is"))
    temperatures, numbers = [0.05, 0.5, 1, 1.5, 2], [0.0, 0.1, 0.37, 0.9, 0.999999]
    tell = """(p, temperatures, numbers) => {
        const at = (t) => [...lmTempered(Float64Array.from(p), t)];
        return [temperatures.map(at), at(0), numbers.map((u) => lmDrawn(p, u))];
    }"""
    tempered, coldest, drawn = in_javascript("temperature", tell, p.tolist(), temperatures, numbers)
    for temperature, row in zip(temperatures, tempered, strict=True):
        raised = (p / p.max()) ** (1 / temperature)
        np.testing.assert_allclose(row, raised / raised.sum(), rtol=1e-9, atol=1e-300)
    assert (np.argmax(coldest), max(coldest), sum(coldest)) == (p.argmax(), 1, 1)
    assert drawn == np.searchsorted(np.cumsum(p), numbers, side="right").tolist()


def test_the_writer_spells_every_token(writer):
    assert [token.encode("latin-1") for token in writer["tokens"]] == tokenizer.vocabulary()
    assert all(tokenizer.load().encode(start["text"]) == start["ids"] for start in writer["starts"])
