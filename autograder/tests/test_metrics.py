"""Perplexity, bits per byte, `evaluate`, and the progress bar that it shows."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmkit import metrics, tokenizer
from lmkit.errors import LmkitError
from lmkit.progress import progress

log_probs = st.lists(st.floats(min_value=-30, max_value=0), min_size=1, max_size=50)


@given(log_probs, st.integers(1, 1000))
def test_formulas(values, n_bytes):
    assert metrics.perplexity(values) == pytest.approx(math.exp(-sum(values) / len(values)), rel=1e-9)
    assert metrics.bits_per_byte(values, n_bytes) == pytest.approx(-sum(values) / math.log(2) / n_bytes, rel=1e-9, abs=1e-12)


def test_uniform_model_by_hand():
    values = [math.log(1 / 8)] * 4  # four tokens of three bits each, over six bytes
    assert metrics.perplexity(values) == pytest.approx(8)
    assert metrics.bits_per_byte(values, 6) == pytest.approx(2)


CONVERSIONS = {
    "list": list,
    "tuple": tuple,
    "generator": lambda values: (value for value in values),
    "array": np.array,
    "float32 array": lambda values: np.array(values, dtype=np.float32),
    "list of NumPy scalars": lambda values: [np.float32(value) for value in values],
    "tensor": torch.tensor,
    "bfloat16 tensor": lambda values: torch.tensor(values, dtype=torch.bfloat16),
    "tensor with gradient": lambda values: torch.tensor(values, requires_grad=True),
    "list of tensors": lambda values: [torch.tensor(value, requires_grad=True) for value in values],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_every_kind_of_sequence(convert):
    values = [-0.5, -2.0, -1.0, -0.25]
    result = metrics.perplexity(convert(values))
    assert type(result) is float
    assert result == pytest.approx(math.exp(0.9375), rel=1e-6)
    assert metrics.bits_per_byte(convert(values), np.int64(3)) == pytest.approx(3.75 / math.log(2) / 3, rel=1e-6)


def test_ends_of_the_scale():
    assert metrics.perplexity([0.0, -math.inf]) == math.inf
    assert metrics.bits_per_byte([0.0, -math.inf], 5) == math.inf
    assert metrics.perplexity([-1e4]) == math.inf  # too large for a float
    assert metrics.perplexity([0.0, 9e-7]) == 1.0  # above 0 by rounding alone
    assert math.copysign(1, metrics.bits_per_byte([0.0], 1)) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"log_probs is empty"),
        (torch.empty(0), r"log_probs is empty"),
        ([-1.0, math.nan], r"log_probs\[1\] is NaN"),
        ([-1.0, 0.7, -1.0], r"log_probs\[1\] is 0.7, above 0, so its probability is above 1$"),
        ([-1.0, math.inf], r"log_probs\[1\] is inf"),
        ([0.2, 0.5], r"pass log-probabilities, not probabilities or losses"),
        ([-1.0, 1.1e-6], r"log_probs\[1\]"),
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        (torch.tensor(-1.0), r"shape \(\)"),
        ([[-1.0, -2.0]], r"not a flat sequence"),
        (-1.0, r"not a flat sequence"),
        ([None], r"not a flat sequence"),
        (np.array(["a"]), r"not a flat sequence"),
    ],
)
def test_what_is_no_log_probability(values, message):
    with pytest.raises(LmkitError, match=message):
        metrics.perplexity(values)
    with pytest.raises(LmkitError, match=message):
        metrics.bits_per_byte(values, 3)


@pytest.mark.parametrize("n_bytes", [0, -4, 2.0, "7", None, True])
def test_number_of_bytes(n_bytes):
    with pytest.raises(LmkitError, match="n_bytes is"):
        metrics.bits_per_byte([-1.0], n_bytes)


def test_text_bytes():
    assert metrics.text_bytes(["a", "é€", ""]) == 2 + 6 + 1
    assert metrics.text_bytes([]) == 0
    with pytest.raises(LmkitError, match=r"text_bytes\(\[text\]\)"):
        metrics.text_bytes("a text")


PARAGRAPHS = [[5, 6, 7], [8], []]


@pytest.fixture
def _small_text(monkeypatch):
    monkeypatch.setattr(tokenizer, "token_ids", lambda split: {"validation": PARAGRAPHS, "test": PARAGRAPHS[:1]}[split])
    monkeypatch.setattr(tokenizer, "n_bytes", lambda split: {"validation": 14, "test": 8}[split])


class Model:
    """Says what it is told to say, and records what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def log_probs(self, ids):
        self.asked.append(list(ids))
        answer = self.answer(ids)
        ids.clear()  # a model that uses its argument up harms nobody
        return answer


@pytest.mark.usefixtures("_small_text")
def test_evaluate():
    model = Model(lambda ids: torch.full((len(ids) + 1,), math.log(1 / 4)))
    score = metrics.evaluate(model)
    assert model.asked == PARAGRAPHS == [[5, 6, 7], [8], []]
    assert (score.n_tokens, score.n_bytes) == (7, 14)
    assert score.perplexity == pytest.approx(4)
    assert score.bits_per_byte == pytest.approx(7 * 2 / 14)
    assert repr(score) == "Score(1.0000 bits per byte, perplexity 4.00; 7 tokens, 14 bytes)"
    assert metrics.evaluate(model, "test").n_tokens == 4
    with pytest.raises(AttributeError):
        score.perplexity = 1.0


@pytest.mark.usefixtures("_small_text")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda ids: [-1.0] * 4, "paragraph 1 of the validation text: log_probs returned 4 values for 1 tokens, expected 2"),
        (lambda ids: [-1.0] * len(ids), "paragraph 0 of the validation text: log_probs returned 3 values for 3 tokens, expected 4"),
        (lambda ids: [-1.0] * len(ids) + [math.nan], r"paragraph 0 of the validation text: log_probs\[3\] is NaN"),
        (lambda ids: [0.1] * (len(ids) + 1), "paragraph 0 .* above 0"),
        (lambda ids: None, "paragraph 0 .* not a flat sequence"),
    ],
)
def test_evaluate_names_the_paragraph(answer, message):
    with pytest.raises(LmkitError, match=message):
        metrics.evaluate(Model(answer))


def test_evaluate_needs_log_probs():
    with pytest.raises(LmkitError, match=r"a Linear has no method log_probs\(ids\)"):
        metrics.evaluate(torch.nn.Linear(1, 1))


def test_import_leaves_torch_alone():
    code = "import sys, lmkit.metrics, lmkit.ladder; assert not {'torch', 'transformers', 'gensim'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_only_to_somebody(monkeypatch):
    for name in ("JPY_SESSION_NAME", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    shown = {}
    for kind, stream in (("terminal", Terminal()), ("pipe", io.StringIO())):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(progress([1, 2], unit=" things")) == [1, 2]
        shown[kind] = stream.getvalue()
    assert "things" in shown["terminal"]
    assert shown["pipe"] == ""
    monkeypatch.setattr(sys, "stdout", notebook := io.StringIO())
    monkeypatch.setenv("JPY_SESSION_NAME", "exercises.ipynb")
    assert list(progress([1, 2], unit=" things")) == [1, 2]
    assert "things" in notebook.getvalue()
