"""A training loop for runs of hours: it can be killed at any moment, and goes on to the very result that it would have had."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lmkit.cache import write_whole
from lmkit.errors import LmkitError
from lmkit.train import TrainConfig, rate_factor, update

KEEP_EVERY = 60.0  # seconds of training between two times that the state is kept
PACE_AFTER = 20  # steps after which it can be said how long a run will take


@dataclass(frozen=True)
class Reached:
    """Where a run stands, for a line of progress."""

    step: int  # updates done
    steps: int  # updates in all
    seconds: float  # of training so far, evaluations and interruptions not counted
    score: float | None = None  # what `evaluate` returned, where it was asked

    @property
    def left(self) -> float:
        """Seconds that the remaining updates will take, at the pace so far; infinite before the first."""
        return self.seconds / self.step * (self.steps - self.step) if self.step else float("inf")


def number(*parts: object) -> int:
    """A whole number that depends on the parts and nothing else: what is drawn at a step depends on the seed and the step alone."""
    return random.Random(" ".join(map(str, parts))).getrandbits(62)


def generator(*parts: object) -> torch.Generator:
    """A generator seeded by `number` of the same parts."""
    return torch.Generator().manual_seed(number(*parts))


def train(
    model: nn.Module,
    batches: Callable[[int], Iterator],
    loss_fn: Callable[[nn.Module, object], Tensor],
    optimizer: Optimizer,
    steps: int,
    config: TrainConfig,
    *,
    seed: int,
    state: Path,
    settings: str,
    evaluate: Callable[[nn.Module], float],
    report: Callable[[Reached], None],
) -> float:
    """Train a model for a number of steps, from where an earlier run of the same settings stopped. Returns the seconds of training.

    batches(start) gives the batches from step `start` on, the same as in a run that began at 0. Dropout draws from torch's global
    generator, which is seeded anew for each step.
    state: the file in which the state is kept, after each minute and each evaluation, written whole or not at all.
    settings: what the result depends on, in one line; a state that was kept under others is refused.
    evaluate, report: called before the first step and `config.evaluations` times over the run, in evaluation mode; `report` once
    more, without a score, as soon as the pace is known.
    Errors: LmkitError as for `lmkit.train.train`, and where the file is no state, or one of other settings.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    step, seconds = _restore(model, optimizer, state, settings)
    marks = {round(steps * i / config.evaluations) for i in range(config.evaluations + 1)}
    if step == 0:
        report(Reached(0, steps, 0.0, _score(model, evaluate)))
    kept = seconds
    for batch in batches(step):
        if step >= steps:
            return seconds
        started = time.perf_counter()
        torch.manual_seed(number(seed, "step", step))
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_factor(step / steps, config)
        model.train()
        update(model, batch, loss_fn, optimizer, config.clip, step + 1)
        step += 1
        seconds += time.perf_counter() - started
        if step in marks or seconds - kept > KEEP_EVERY:
            _keep(model, optimizer, state, settings, step, seconds)
            kept = seconds
        if step in marks:
            report(Reached(step, steps, seconds, _score(model, evaluate)))
        elif step == PACE_AFTER:
            report(Reached(step, steps, seconds))
    raise LmkitError("the batches ran out before the steps did")


def _score(model: nn.Module, evaluate: Callable[[nn.Module], float]) -> float:
    model.eval()
    with torch.no_grad():
        return float(evaluate(model))


def _keep(model: nn.Module, optimizer: Optimizer, path: Path, settings: str, step: int, seconds: float) -> None:
    buffer = io.BytesIO()
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "settings": settings, "step": step, "seconds": seconds}, buffer
    )
    write_whole(path, buffer.getvalue())


def _restore(model: nn.Module, optimizer: Optimizer, path: Path, settings: str) -> tuple[int, float]:
    """Put model and optimizer where they were; (0, 0.0) where nothing was kept."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0, 0.0
    try:
        found = torch.load(io.BytesIO(data), weights_only=True)
        if found["settings"] != settings:
            raise LmkitError(f"{path} is the state of another run ({found['settings']}): delete it to start anew")
        model.load_state_dict(found["model"])
        optimizer.load_state_dict(found["optimizer"])
        return found["step"], found["seconds"]
    except LmkitError:
        raise
    except Exception as error:  # whatever a file that is no state makes torch say
        raise LmkitError(f"{path} cannot be read as the state of a run ({type(error).__name__}): delete it to start anew") from None
