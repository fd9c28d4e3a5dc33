"""Muon: an optimizer for the weight matrices of a Transformer, which needs far fewer steps than AdamW; AdamW does the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from lmkit.train import TrainConfig

A, B, C = 3.4445, -4.7750, 2.0315  # the polynomial of Jordan et al. 2024: it brings every singular value near 1, roughly but quickly
TURNS = 5  # times that it is applied


class Muon(AdamW):
    """Steps along the orthogonal matrix next to the momentum, for groups of parameters with `orthogonal=True`; AdamW for the others.

    A gradient of a weight matrix is usually dominated by a few directions. Its orthogonal neighbour weighs all directions alike, so
    that rare ones are learned as well. A step is scaled so that its numbers are as large as AdamW's: one learning rate suits both.
    `torch.optim.Muon` does the same in 16-bit numbers, which a processor computes many times more slowly than 32-bit ones.
    Sources: Jordan et al. 2024; Liu et al. 2025 (the scale).
    """

    def __init__(self, groups: list[dict], config: TrainConfig, momentum: float = 0.95):
        super().__init__(groups, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        for group in self.param_groups:
            if group.get("orthogonal"):
                for p in group["params"]:
                    if p.grad is not None:
                        self._step(p, group)
                        p.grad = None  # nothing is left for AdamW
        return super().step(closure)

    def _step(self, p: Tensor, group: dict) -> None:
        state = self.state[p]
        state.setdefault("step", torch.zeros(()))  # AdamW looks for it when a state is read
        average = state.setdefault("average", torch.zeros_like(p))
        average.lerp_(p.grad, 1 - self.momentum)
        direction = orthogonal(p.grad.lerp(average, self.momentum))  # one step ahead, as Nesterov has it
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(direction, alpha=-0.2 * math.sqrt(max(p.shape)) * group["lr"])


def optimizer(model: nn.Module, tables: set[str], config: TrainConfig) -> Muon:
    """Muon for a model: on its matrices, but for the `tables` (vectors of tokens and places), which like all vectors take AdamW.

    tables: names as in `named_parameters`. Only matrices decay.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if p.dim() == 2 and name not in tables]
    groups = [
        {"params": matrices, "orthogonal": True},
        {"params": [p for name, p in named if name in tables], "weight_decay": 0.0},
        {"params": [p for name, p in named if p.dim() != 2 and name not in tables], "weight_decay": 0.0},
    ]
    return Muon([group for group in groups if group["params"]], config)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with about the same singular vectors, and all singular values between 0.7 and 1.2.   (N, M) -> (N, M)

    Newton and Schulz's iteration. Source: Jordan et al. 2024.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(TURNS):
        square = x @ x.T
        x = A * x + (B * square + C * square @ square) @ x
    return x.T if tall else x
