"""One plain training loop for every neural model of the course."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from lmkit.errors import LmkitError
from lmkit.progress import progress


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps or a number of seconds, one of the two."""

    steps: int | None = None  # updates of the parameters, at least 1
    seconds: float | None = None  # of the clock; time spent on evaluation is not counted

    def __post_init__(self):
        if (self.steps is None) == (self.seconds is None):
            raise LmkitError("a budget is a number of steps or a number of seconds: write Budget(steps=1000) or Budget(seconds=60)")
        if self.steps is not None and (not isinstance(self.steps, int) or self.steps < 1):
            raise LmkitError(f"a budget of {self.steps!r} steps trains nothing: give a whole number of at least 1")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise LmkitError(f"a budget of {self.seconds!r} seconds cannot be kept: give a finite number above 0")

    def spent(self, steps: int, seconds: float) -> float:
        """The fraction of the budget that is used up, from 0 to 1."""
        return min(1.0, steps / self.steps if self.steps is not None else seconds / self.seconds)


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults suit the small models of the course."""

    learning_rate: float = 1e-3  # at the peak, after the warm-up
    final_rate: float = 0.1  # learning rate at the end, as a fraction of the peak
    warmup: float = 0.05  # fraction of the budget over which the learning rate rises from 0
    weight_decay: float = 0.01  # on matrices only; biases and gains of a layer norm are left alone
    betas: tuple[float, float] = (0.9, 0.99)  # memory of AdamW for the gradient and for its square
    clip: float | None = 1.0  # largest norm of the gradient of all parameters together; None: no limit
    evaluations: int = 10  # how often `evaluate` is called after the first time, evenly over the budget

    def __post_init__(self):
        for name, fits in (
            ("learning_rate", self.learning_rate > 0),
            ("final_rate", self.final_rate >= 0),
            ("warmup", 0 <= self.warmup <= 1),
            ("weight_decay", self.weight_decay >= 0),
            ("clip", self.clip is None or self.clip > 0),
            ("evaluations", self.evaluations >= 1),
        ):
            if not fits:
                raise LmkitError(f"{name} = {getattr(self, name)} makes no sense: see the comments on the fields of TrainConfig")


@dataclass
class History:
    """What happened, one entry a step. Entry i belongs to step i + 1; its loss and its norm were taken before that step's update."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)  # learning rate of the first group of parameters
    gradient_norm: list[float] = field(default_factory=list)  # before clipping
    seconds: list[float] = field(default_factory=list)  # spent on training since the start, evaluation not counted
    evals: list[tuple[int, float]] = field(default_factory=list)  # (steps done, what `evaluate` returned)

    def __repr__(self) -> str:
        if not self.step:
            return "History(no step)"
        last_eval = f", last evaluation {self.evals[-1][1]:.4g}" if self.evals else ""
        return f"History({self.step[-1]:,} steps in {self.seconds[-1]:.1f} s, loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}{last_eval})"


DEFAULTS = TrainConfig()
NO_TARGET = -100  # what F.cross_entropy leaves out, such as the filling behind a shorter row
BAR = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


def train(
    model: nn.Module,
    batches: Iterable,
    loss_fn: Callable[[nn.Module, object], Tensor],
    budget: Budget,
    config: TrainConfig = DEFAULTS,
    *,
    optimizer: Optimizer | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
) -> History:
    """Change the model's parameters until the budget is spent.

    batches: what `loss_fn` reads, one item a step. A list or a DataLoader is gone through again and again; a generator must not end.
    loss_fn(model, batch) returns the loss to make smaller, a tensor of one element. The model computes in training mode.
    optimizer: AdamW on the parameters that ask for a gradient, unless given; the learning rates of a given one are taken as the peaks.
    evaluate(model) returns a number for `History.evals`. It is called before the first step and `config.evaluations` times over the
    budget, the last time at its end; always in evaluation mode and without gradients.
    Every module is left in the mode (training or evaluation) that it came in, also after an error. Random numbers are the callers' own.
    Errors: LmkitError where the loss or its gradient is not finite, where the loss is no tensor of one element, where the batches run
    out, and where no parameter asks for a gradient.
    The shape of the loop follows nanoGPT; warm-up and cosine: Loshchilov & Hutter 2017; clipping: Pascanu et al. 2013.
    """
    optimizer = optimizer or _adamw(model, config)
    history, seconds, spent = History(), 0.0, 0.0
    with _restored(model, optimizer) as peaks, progress(total=1.0, unit="", bar_format=BAR) as bar:
        if evaluate is not None:
            _evaluate(model, evaluate, history)
        model.train()
        started = time.perf_counter()
        for step, batch in enumerate(_repeat(batches), start=1):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate_factor(spent, config)
            loss, norm = update(model, batch, loss_fn, optimizer, config.clip, step)
            seconds = time.perf_counter() - started
            _record(history, step, loss, optimizer.param_groups[0]["lr"], norm, seconds)

            before, spent = spent, budget.spent(step, seconds)
            bar.set_postfix_str(f"step {step}, loss {loss:.4f}, learning rate {history.lr[-1]:.1e}", refresh=False)
            bar.update(spent - before)
            if evaluate is not None and math.floor(spent * config.evaluations) > math.floor(before * config.evaluations):
                started += _evaluate(model, evaluate, history)
            if spent >= 1.0:
                return history


def rate_factor(spent: float, config: TrainConfig = DEFAULTS) -> float:
    """Learning rate as a fraction of its peak, after a fraction `spent` (0 to 1) of the budget.

    It rises linearly during the warm-up, then falls along half a cosine to `config.final_rate`.
    """
    if spent < config.warmup:
        return max(spent / config.warmup, 0.01)  # not 0: the first step shall move the parameters
    through = (spent - config.warmup) / (1 - config.warmup) if config.warmup < 1 else 1.0
    return config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * through)) / 2


def similar_lengths(lengths: Sequence[int], size: int, stretch: int, generator: torch.Generator) -> list[list[int]]:
    """One pass over texts in batches of similar length: lists of at most `size` indices, every index once.

    The texts are shuffled, stretches of `stretch` batches are sorted by length and cut, and the batches are shuffled.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    chosen = []
    for start in range(0, len(order), stretch * size):
        by_length = sorted(order[start : start + stretch * size], key=lambda i: lengths[i])
        chosen += [by_length[i : i + size] for i in range(0, len(by_length), size)]
    return [chosen[i] for i in torch.randperm(len(chosen), generator=generator).tolist()]


def side_by_side(rows: Sequence[Sequence[int]], fill: int) -> tuple[Tensor, Tensor]:
    """Inputs: each row without its last token; targets: without its first.   N rows -> (N, T) and (N, T), T + 1 the longest length

    Behind a shorter row inputs are filled with `fill` and targets with NO_TARGET.
    """
    T = max(map(len, rows)) - 1
    inputs, targets = torch.full((len(rows), T), fill), torch.full((len(rows), T), NO_TARGET)
    for i, row in enumerate(rows):
        ids = torch.as_tensor(row, dtype=torch.int64)
        inputs[i, : len(ids) - 1], targets[i, : len(ids) - 1] = ids[:-1], ids[1:]
    return inputs, targets


def update(
    model: nn.Module, batch: object, loss_fn: Callable[[nn.Module, object], Tensor], optimizer: Optimizer, clip: float | None, step: int
) -> tuple[float, float]:
    """One step of the optimizer. Returns the loss and the norm of the whole gradient, both from before it."""
    loss = loss_fn(model, batch)
    _check_loss(loss, step)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, math.inf if clip is None else clip).item()
    if not math.isfinite(norm):
        raise LmkitError(
            f"the gradient is not finite at step {step}, though the loss is {loss.item():.4g}: "
            "try a lower learning rate, and look for a square root or a logarithm at 0"
        )
    optimizer.step()
    return loss.item(), norm


def _check_loss(loss: object, step: int) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise LmkitError(f"loss_fn returned {got}, expected a tensor of one element: return the mean of the losses, as a tensor")
    if not loss.requires_grad:
        raise LmkitError("the loss does not depend on the model's parameters: look for .detach(), .item() or torch.no_grad() on its way")
    if not math.isfinite(loss.item()):
        raise LmkitError(f"the loss is {loss.item()} at step {step}: try a lower learning rate, and look for log(0) or a division by zero")


def _record(history: History, step: int, loss: float, lr: float, norm: float, seconds: float) -> None:
    history.step.append(step)
    history.loss.append(loss)
    history.lr.append(lr)
    history.gradient_norm.append(norm)
    history.seconds.append(seconds)


def _evaluate(model: nn.Module, evaluate: Callable[[nn.Module], float], history: History) -> float:
    """Call `evaluate` in evaluation mode, then set the training mode again. Returns the seconds that it took."""
    started = time.perf_counter()
    model.eval()
    with torch.no_grad():
        history.evals.append((len(history.step), float(evaluate(model))))
    model.train()
    return time.perf_counter() - started


@contextlib.contextmanager
def _restored(model: nn.Module, optimizer: Optimizer) -> Iterator[list[float]]:
    """Give the peaks of the learning rates; at the end put them back, and every module into the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    peaks = [group["lr"] for group in optimizer.param_groups]
    try:
        yield peaks
    finally:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak
        for module, training in modes:
            module.training = training


def _adamw(model: nn.Module, config: TrainConfig) -> AdamW:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise LmkitError("no parameter of the model asks for a gradient: there is nothing to train")
    matrices = [p for p in parameters if p.dim() >= 2]
    others = [p for p in parameters if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate, betas=config.betas)


def _repeat(batches: Iterable) -> Iterator:
    """The batches, from the start again each time they end; LmkitError where there is none left."""
    for turn in itertools.count(1):
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty and turn == 1:
            raise LmkitError("there is no batch to train on: batches is empty")
        if empty:
            raise LmkitError(
                "the batches ran out before the budget did: pass a list or a DataLoader, which are gone through again and again, "
                "or a generator that does not end"
            )
