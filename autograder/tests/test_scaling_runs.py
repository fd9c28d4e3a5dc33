"""The recorded runs of chapter 12, and the command that makes them."""

import itertools
import json
import math

import pytest
from typer.testing import CliRunner

from lmkit import scaling, tokenizer
from lmkit.errors import LmkitError
from lmkit.scaling import HELD_OUT, SHARES, WIDTHS, runs

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_size_was_trained_on_every_amount_of_text():
    assert [(run.C, run.share) for run in runs()] == [(C, share) for C in (*WIDTHS, HELD_OUT) for share in SHARES]
    assert len(WIDTHS) >= 5
    assert len(SHARES) >= 5


def test_a_run_says_of_itself_what_its_settings_make_it():
    for run in runs():
        shape = scaling.shape(run.C)
        assert run.matrices == 12 * shape.n_layer * run.C**2
        assert run.train_tokens == sum(map(len, scaling.text(run.share))) + len(scaling.text(run.share))
        assert run.seen_tokens in [seen for seen, _ in run.curve]
        assert run.seen_tokens <= run.train_tokens * (SHARES[run.share] + 1)


def test_both_measures_are_of_one_loss():
    ids = tokenizer.token_ids("validation")
    predicted = sum(map(len, ids)) + len(ids)
    for run in runs():
        assert run.bits_per_byte == pytest.approx(run.loss * predicted / math.log(2) / tokenizer.n_bytes("validation"), rel=1e-6)


def test_a_part_of_the_text_is_within_the_next_larger_one():
    parts = [{tuple(ids) for ids in scaling.text(share)} for share in sorted(SHARES)]
    assert all(smaller <= larger for larger, smaller in itertools.pairwise(parts))
    with pytest.raises(LmkitError, match="one part in 3 of the text"):
        scaling.text(3)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setattr(scaling, "WIDTHS", (8,))
    monkeypatch.setattr(scaling, "HELD_OUT", 16)
    monkeypatch.setattr(scaling, "SHARES", {16: 0.2})
    monkeypatch.setattr(scaling, "QUICK", 64)
    monkeypatch.setattr(tokenizer, "token_ids", lambda split, whole=tokenizer.token_ids: whole(split)[:: 4 if split == "train" else 52])
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path))
    return tmp_path / "scaling.json"


def test_the_command_goes_on_after_the_last_run_and_gives_the_same_file(tiny, monkeypatch):
    monkeypatch.setattr(scaling.metrics, "evaluate", lambda model: scaling.metrics.Score(2.5, 200.0, 1, 1))
    started = CliRunner().invoke(_app(), ["--out", str(tiny)])
    assert started.exit_code == 0, started.output
    assert "2 of 2: width 16, 1/16 of the text" in started.output
    made = json.loads(tiny.read_text(encoding="utf-8"))
    tiny.unlink()
    monkeypatch.setattr(scaling, "train", None)  # nothing is trained again
    assert CliRunner().invoke(_app(), ["--out", str(tiny)]).exit_code == 0
    assert json.loads(tiny.read_text(encoding="utf-8")) == made
    assert made["command"] == scaling.COMMAND


def test_a_run_is_the_same_again(tiny, monkeypatch):
    monkeypatch.setattr(scaling.metrics, "evaluate", lambda model: scaling.metrics.Score(2.5, 200.0, 1, 1))
    first, second = (scaling.train(8, 16, seed=1) for _ in range(2))
    assert first.curve == second.curve
    assert first.curve != scaling.train(8, 16, seed=2).curve


def test_without_results_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(scaling, "RESULTS", tmp_path / "none.json")
    with pytest.raises(LmkitError, match=r"run `python -m lmkit\.scaling`"):
        runs()


def _app():
    import typer

    app = typer.Typer()
    app.command()(scaling.main)
    return app
