"""Tests of lmkit.embedded: the installed encoder's vectors of texts, those that are shipped and those that are made anew."""

import json

import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from lmkit import corpus, embedded, pretrained
from lmkit.errors import LmkitError

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = ["A short one.", "The aardvark digs its burrow at night, and sleeps in it by day.", "Prices rose."]


def test_pool_by_hand():
    states = torch.tensor([[[3.0, 0.0], [1.0, 8.0], [99.0, 99.0]], [[0.0, 2.0], [0.0, 4.0], [6.0, 0.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    mean = torch.tensor([[2.0, 4.0], [2.0, 2.0]])
    assert torch.allclose(embedded.pool(states, mask, "mean"), mean / mean.norm(dim=1, keepdim=True))
    assert torch.allclose(embedded.pool(states, mask, "first"), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    for pooling in embedded.POOLINGS:
        padded = torch.cat([states, torch.full((2, 4, 2), 7.0)], dim=1), torch.cat([mask, torch.zeros(2, 4, dtype=mask.dtype)], dim=1)
        assert torch.allclose(embedded.pool(*padded, pooling), embedded.pool(states, mask, pooling))


def test_another_pooling_ends_in_a_sentence():
    for call in (lambda: embedded.pool(torch.ones(1, 1, 2), torch.ones(1, 1), "max"), lambda: embedded.encode(TEXTS, "max"),
                 lambda: embedded.paragraphs("max")):  # fmt: skip
        with pytest.raises(LmkitError, match="'max' is unknown: take one of mean, first"):
            call()


@pytest.mark.parametrize("pooling", embedded.POOLINGS)
def test_encode_gives_each_text_the_vector_that_it_has_alone(pooling):
    got = embedded.encode(TEXTS, pooling)
    assert got.shape == (3, 384)
    assert got.dtype == np.float32
    tokens, model = pretrained.tokenizer(), pretrained.encoder()
    for vector, text in zip(got, TEXTS, strict=True):
        with torch.no_grad():
            states = model(**tokens(text, return_tensors="pt")).last_hidden_state[0]
        alone = states.mean(dim=0) if pooling == "mean" else states[0]
        assert np.allclose(vector, (alone / alone.norm()).numpy(), atol=1e-5)
    assert embedded.encode([], pooling).shape == (0, 384)


def test_a_long_text_is_cut():
    long = "mountain river " * embedded.LONGEST
    cut = "mountain river " * ((embedded.LONGEST - 2) // 2)
    assert np.allclose(embedded.encode([long]), embedded.encode([cut]), atol=1e-5)


@pytest.mark.parametrize("pooling", embedded.POOLINGS)
def test_shipped_vectors_are_those_of_the_paragraphs(pooling):
    vectors, paragraphs = embedded.paragraphs(pooling), corpus.all_paragraphs()
    assert vectors.shape == (len(paragraphs), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    sample = [0, 1234, len(paragraphs) - 1]
    assert np.abs(embedded.encode([paragraphs[i].text for i in sample], pooling) - vectors[sample]).max() < 0.001
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1.0


def test_the_card_says_how_they_were_made():
    card = embedded.card()
    assert card["command"] == embedded.COMMAND
    assert card["encoder"] == pretrained.NAME
    assert card["longest"] == embedded.LONGEST
    assert card["poolings"] == list(embedded.POOLINGS)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """No vectors yet, and a corpus of three paragraphs."""
    few = tuple(corpus.Paragraph(text, "A title", ()) for text in TEXTS)
    monkeypatch.setattr(corpus, "all_paragraphs", lambda: few)
    monkeypatch.setattr(embedded, "HOME", tmp_path)
    embedded.paragraphs.cache_clear()
    yield tmp_path
    embedded.paragraphs.cache_clear()


def test_the_command_makes_what_is_read(elsewhere):
    with pytest.raises(LmkitError, match=r"holds no vectors of paragraphs: run `python -m lmkit\.embedded`"):
        embedded.paragraphs()
    app = Typer()
    app.command()(embedded.main)
    said = CliRunner().invoke(app, ["--out", str(elsewhere)])
    assert said.exit_code == 0, said.output
    for pooling in embedded.POOLINGS:
        assert np.abs(embedded.paragraphs(pooling) - embedded.encode(TEXTS, pooling)).max() < 0.001


def test_vectors_of_another_corpus_are_refused(elsewhere):
    (elsewhere / embedded.CARD).write_text(json.dumps({"texts": "another"}))
    with pytest.raises(LmkitError, match="was made from another corpus: run"):
        embedded.paragraphs()


def test_a_folder_that_cannot_be_written_ends_the_command(elsewhere):
    (elsewhere / "file").write_text("")
    app = Typer()
    app.command()(embedded.main)
    said = CliRunner().invoke(app, ["--out", str(elsewhere / "file")])
    assert said.exit_code == 2
    assert "error:" in said.output


def test_vectors_that_cannot_be_read_are_made_again_by_the_command(monkeypatch, tmp_path):
    (tmp_path / embedded.CARD).write_bytes((embedded.HOME / embedded.CARD).read_bytes())
    (tmp_path / embedded.VECTORS.format("mean")).write_bytes(b"no array")
    monkeypatch.setattr(embedded, "HOME", tmp_path)
    embedded.paragraphs.cache_clear()
    with pytest.raises(LmkitError, match=r"is missing or damaged: run `python -m lmkit\.embedded`"):
        embedded.paragraphs("mean")


def test_a_card_that_cannot_be_read_is_made_again_by_the_command(monkeypatch, tmp_path):
    (tmp_path / embedded.CARD).write_text("{", encoding="utf-8")
    monkeypatch.setattr(embedded, "HOME", tmp_path)
    with pytest.raises(LmkitError, match=r"holds no vectors of paragraphs: run `python -m lmkit\.embedded`"):
        embedded.card()
