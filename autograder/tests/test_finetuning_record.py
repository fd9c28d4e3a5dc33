"""The recorded comparison of chapter 10, its ways to train, and the command that makes it."""

import json

import pytest
import torch
import typer
from transformers import AutoModel, AutoTokenizer
from typer.testing import CliRunner

from lmkit import finetuning, minis, topics
from lmkit.errors import LmkitError
from lmkit.finetuning import METHODS, RATES, ROWS, SEEDS, Adapter, Classifier, accuracy, classifier, fit, recorded, trained_parameters

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokens():
    return AutoTokenizer.from_pretrained(minis.folder("bert-mini"))


def encoder():
    return AutoModel.from_pretrained(minis.folder("bert-mini")).eval()


def test_the_record_has_every_method_on_at_least_five_splits():
    found = {(r.method, r.rows, r.seed) for r in recorded()}
    assert found == {(method, rows, seed) for rows, methods in ROWS.items() for method in methods for seed in SEEDS}
    assert len(SEEDS) >= 5
    assert all(0 < r.accuracy < 1 and r.trained > 0 for r in recorded())


def test_a_cheap_line_of_the_record_comes_out_again():
    first = next(r for r in recorded() if r.method == "frozen" and r.rows == 60)
    assert finetuning.measure("frozen", 60, first.seed).accuracy == pytest.approx(first.accuracy, abs=0.01)


@pytest.mark.parametrize("method", RATES)
def test_only_what_a_method_trains_changes(method, tokens):
    model, rows = classifier(method, encoder(), seed=0), topics.split(0).train[:16]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, rows, tokens, rate=1e-3, seed=0, steps=2, longest=16)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    asked = {name for name, p in model.named_parameters() if p.requires_grad}
    assert changed <= asked
    assert {name.split(".")[0] for name in asked} == {"head", *(("prompt",) if method == "prompt" else ("encoder",))}
    assert trained_parameters(model) == sum(before[name].numel() for name in asked)
    assert (len(asked) == len(before)) == (method == "full")


@pytest.mark.parametrize("method", ["adapters", "LoRA"])
def test_a_new_detour_adds_nothing_at_first(method, tokens):
    inputs, _ = finetuning.batch(topics.split(0).train[:3], tokens, 16)
    plain = classifier("full", encoder(), seed=0).eval()
    detoured = classifier(method, encoder(), seed=0).eval()
    detoured.head = plain.head
    with torch.no_grad():
        torch.testing.assert_close(plain(**inputs), detoured(**inputs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("prompt", [0, 4])
def test_padding_changes_no_logit(prompt, tokens):
    torch.manual_seed(0)
    model = Classifier(encoder(), K=3, prompt=prompt).eval()
    inputs, _ = finetuning.batch(topics.split(0).train[:1], tokens, 16)
    padded = {name: torch.nn.functional.pad(value, (0, 5)) for name, value in inputs.items()}
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs), model(**padded), atol=1e-5, rtol=0)


def test_an_adapter_starts_as_the_identity():
    x = torch.randn(2, 3, 8)
    assert torch.equal(Adapter(8, 2)(x), x)


def test_accuracy_counts_every_row(tokens):
    rows = topics.split(0).test[:50]
    model = classifier("last block", encoder(), seed=0).eval()
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.eye(6)[rows[0].label]
    assert accuracy(model, rows, tokens, longest=8) == sum(row.label == rows[0].label for row in rows) / 50


def test_a_method_that_trains_no_network_is_refused():
    with pytest.raises(LmkitError, match="'TF-IDF' is no way to train a network"):
        classifier("TF-IDF", None, seed=0)


def test_the_command_keeps_what_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(finetuning, "ROWS", {5: ("TF-IDF", "frozen")})
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path))
    from lmkit import corpus

    corpus.all_paragraphs()  # read before the cache moves, or read again
    app, out = typer.Typer(), tmp_path / "out.json"
    app.command()(finetuning.main)
    assert CliRunner().invoke(app, ["--seeds", "2", "--out", str(out)]).exit_code == 0
    made = json.loads(out.read_text(encoding="utf-8"))
    assert [(r["method"], r["seed"]) for r in made["results"]] == [("TF-IDF", 1), ("TF-IDF", 2), ("frozen", 1), ("frozen", 2)]
    monkeypatch.setattr(finetuning, "measure", None)  # nothing is measured again
    assert CliRunner().invoke(app, ["--seeds", "2", "--out", str(out)]).exit_code == 0
    assert json.loads(out.read_text(encoding="utf-8")) == made
    assert set(METHODS) == {"TF-IDF", "frozen", *RATES}
