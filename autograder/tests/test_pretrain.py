"""The command that trains the shipped models, and what it leaves behind."""

import pytest
import torch
from typer.testing import CliRunner

from lmkit import metrics, pretrain, recurrent
from lmkit.errors import LmkitError
from lmkit.recurrent import RecurrentConfig


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """The command with a model that trains in a second; nothing is written into the real cache."""
    paragraphs = pretrain.tokenizer.token_ids("train")[:20]
    monkeypatch.setattr(pretrain, "LSTM", RecurrentConfig(C=4, M=6, layers=2, dropout=0.1, weight_dropout=0.1))
    monkeypatch.setattr(pretrain.tokenizer, "token_ids", lambda split: [ids[:30] for ids in paragraphs])
    monkeypatch.setattr(pretrain.metrics, "evaluate", lambda model: metrics.Score(-model.log_probs(paragraphs[0]).mean(), 2.0, 1, 1))
    monkeypatch.setattr(pretrain, "cache_dir", lambda: tmp_path / "cache")
    return lambda *arguments: CliRunner().invoke(pretrain.app, ["lstm", *map(str, arguments)])


def test_a_model_is_saved_with_its_card_and_loads_again(tiny, tmp_path):
    told = tiny("--steps", 3, "--seed", 5, "--out", tmp_path / "model")
    assert told.exit_code == 0, told.output
    assert "min left" in told.output
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    model = recurrent.load(tmp_path / "model")
    assert not model.training
    assert model.config.layers == 2
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "Seed 5, 3 steps" in card
    assert "--steps 3 --seed 5" in card


def test_two_runs_give_the_same_file(tiny, tmp_path):
    for name in ("one", "two"):
        assert tiny("--steps", 3, "--out", tmp_path / name).exit_code == 0
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (tmp_path / "two" / "model.safetensors").read_bytes()


def test_the_state_so_far_is_kept_and_the_finished_model_only_written_at_the_end(tiny, tmp_path, monkeypatch):
    def interrupted(*arguments, evaluate, **named):
        evaluate(recurrent.RecurrentModel(pretrain.LSTM, torch.Generator().manual_seed(0)))
        raise LmkitError("stopped halfway")

    monkeypatch.setattr(pretrain.recurrent, "fit", interrupted)
    told = tiny("--steps", 3, "--out", tmp_path / "model")
    assert told.exit_code == 2
    assert "error: stopped halfway" in told.output
    assert recurrent.load(tmp_path / "cache" / "pretrain" / "lstm").config == pretrain.LSTM
    assert not list((tmp_path / "model").iterdir())


def test_a_folder_that_cannot_be_written_ends_in_a_sentence(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    told = tiny("--steps", 1, "--out", tmp_path / "file" / "model")  # before the training, not after an hour of it
    assert told.exit_code == 2
    assert "error: " in told.output
    assert "bits per byte" not in told.output


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(LmkitError, match=r"config\.json is missing: run `python -m lmkit\.pretrain lstm`"):
        recurrent.load(tmp_path)


@pytest.mark.slow
def test_the_shipped_model_scores_what_its_card_says():
    card = recurrent.card()
    assert metrics.evaluate(recurrent.pretrained()).bits_per_byte == pytest.approx(card["bits_per_byte"], abs=1e-3)
    size = sum(path.stat().st_size for path in recurrent.SHIPPED.iterdir())
    assert size < 6e6
