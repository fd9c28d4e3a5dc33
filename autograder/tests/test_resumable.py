"""Tests of lmkit.resumable and of the commands that stand on it: a killed run ends in the file that an undisturbed one makes."""

import os
import subprocess
import sys
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from lmkit import causal, metrics, pretrain, resumable
from lmkit.errors import LmkitError
from lmkit.resumable import Reached
from lmkit.train import TrainConfig

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = TrainConfig(evaluations=2)
TINY = """
import sys
from lmkit import causal, metrics, pretrain, resumable
resumable.KEEP_EVERY = 0.0
paragraphs = [ids[:30] for ids in pretrain.tokenizer.token_ids("train")[:20]]
shape = causal.config(T=16, C=8, layers=1, heads=2)
pretrain.tokenizer.token_ids = lambda split: paragraphs
pretrain.causal.config = lambda: shape
pretrain.metrics.evaluate = lambda model: metrics.Score(-model.log_probs(paragraphs[0]).mean(), 2.0, 1, 1)
pretrain.app(["gpt-mini", *sys.argv[1:]])
"""


def run(tmp_path, state, *, steps=8, stop_at=None, seed=0, settings="one"):
    """Train a small model with dropout; `stop_at`: fail in that step, as if the machine went off."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    reports: list[Reached] = []

    def batches(start):
        for step in range(start, 100):
            if step == stop_at:
                raise KeyboardInterrupt
            yield torch.randn(4, 3, generator=resumable.generator(seed, step))

    def loss(model, x):
        return F.cross_entropy(model(x), torch.tensor([0, 1, 0, 1]))

    named = {"seed": seed, "state": tmp_path / state, "settings": settings, "evaluate": lambda model: 1.0, "report": reports.append}
    seconds = resumable.train(model, batches, loss, optimizer, steps, CONFIG, **named)
    return model, reports, seconds


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_stopped_run_goes_on_to_the_same_result(tmp_path, monkeypatch):
    monkeypatch.setattr(resumable, "KEEP_EVERY", 0.0)
    whole, reports, _ = run(tmp_path, "whole")
    assert [(one.step, one.score) for one in reports] == [(0, 1.0), (4, 1.0), (8, 1.0)]
    for stop in (3, 5):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "stopped", stop_at=stop)
    again, reports, seconds = run(tmp_path, "stopped")
    assert same(whole, again)
    assert [one.step for one in reports] == [8]
    assert seconds > 0
    assert not same(whole, run(tmp_path, "other", seed=1)[0])


def test_the_global_generator_of_before_does_not_matter(tmp_path):
    torch.manual_seed(1)
    one, *_ = run(tmp_path, "one")
    torch.manual_seed(2)
    assert same(one, run(tmp_path, "two")[0])


def test_a_state_of_other_settings_and_a_damaged_one_are_refused(tmp_path):
    run(tmp_path, "state")
    with pytest.raises(LmkitError, match=r"the state of another run \(one\): delete it to start anew"):
        run(tmp_path, "state", settings="two")
    (tmp_path / "state").write_bytes(b"no state")
    with pytest.raises(LmkitError, match="cannot be read as the state of a run"):
        run(tmp_path, "state")


def test_the_time_left_is_said_as_soon_as_the_pace_is_known(tmp_path):
    _, reports, _ = run(tmp_path, "state", steps=50)
    assert [(one.step, one.score) for one in reports] == [(0, 1.0), (20, None), (25, 1.0), (50, 1.0)]
    assert reports[0].left == float("inf")
    assert reports[1].left == pytest.approx(reports[1].seconds / 20 * 30)
    assert reports[-1].left == 0


@pytest.mark.slow
def test_a_command_that_is_killed_makes_the_same_file(tmp_path):
    def start(name, steps=200):  # long enough that it cannot be over before it is killed
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / name), "LMKIT_CACHE": str(tmp_path / name)}
        command = [sys.executable, "-c", TINY, "--steps", str(steps), "--out", str(tmp_path / name / "model")]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    told, _ = start("whole").communicate(timeout=300)
    assert "saved in" in told, told
    first, state = start("killed"), tmp_path / "killed" / "pretrain"
    give_up = time.monotonic() + 300
    while not list(state.glob("gpt-mini-*.pt")) and time.monotonic() < give_up:
        time.sleep(0.005)
    first.kill()
    first.communicate()
    assert list(state.glob("gpt-mini-*.pt"))
    assert not (tmp_path / "killed" / "model" / "model.safetensors").exists(), "the run was over before it could be killed"
    told, _ = start("killed").communicate(timeout=300)
    assert "going on from the state kept in" in told
    assert not list(state.glob("gpt-mini-*.pt"))
    files = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """The command gpt-mini with a model that trains in a second; nothing is written into the real cache."""
    paragraphs, shape = [ids[:30] for ids in pretrain.tokenizer.token_ids("train")[:20]], causal.config(T=16, C=8, layers=1, heads=2)
    monkeypatch.setattr(pretrain.tokenizer, "token_ids", lambda split: paragraphs)
    monkeypatch.setattr(pretrain.causal, "config", lambda: shape)
    monkeypatch.setattr(pretrain.metrics, "evaluate", lambda model: metrics.Score(-model.log_probs(paragraphs[0]).mean(), 2.0, 1, 1))
    monkeypatch.setattr(pretrain, "cache_dir", lambda: tmp_path / "cache")
    return lambda *arguments: CliRunner().invoke(pretrain.app, ["gpt-mini", *map(str, arguments)])


def test_the_command_says_how_long_it_takes_and_leaves_a_card(tiny, tmp_path):
    told = tiny("--steps", 30, "--seed", 5, "--out", tmp_path / "model")
    assert told.exit_code == 0, told.output
    assert "about 0 min left" in told.output
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "`python -m lmkit.pretrain gpt-mini --steps 30 --seed 5 --threads 1`" in card


def test_an_interrupted_command_says_how_to_go_on(tiny, tmp_path, monkeypatch):
    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrain.resumable, "train", interrupted)
    told = tiny("--steps", 3, "--out", tmp_path / "model")
    assert told.exit_code == 130
    assert "stopped; the same command goes on" in told.output
    assert not list((tmp_path / "model").iterdir())


def test_a_folder_that_cannot_be_written_is_known_before_the_training(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    told = tiny("--steps", 3, "--out", tmp_path / "file" / "model")
    assert told.exit_code == 2
    assert "error: " in told.output
    assert "bits per byte" not in told.output
