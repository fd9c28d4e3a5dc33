"""The feed-forward language model that later chapters compare with: a window of vectors, one hidden layer, a softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmkit.errors import LmkitError
from lmkit.tokenizer import END_ID
from lmkit.train import Budget, History, TrainConfig, train

TRAINING = TrainConfig(learning_rate=0.02, weight_decay=0.1)  # what suits this model and the course's text


@dataclass(frozen=True)
class WindowConfig:
    """The shape of a window model."""

    V: int  # tokens in the vocabulary
    n: int  # order: the model looks at n - 1 tokens and predicts the next; at least 2
    C: int  # numbers in the vector of one token
    M: int  # width of the hidden layer
    end: int = END_ID  # id of the end token, which also fills the history at the start of a paragraph

    def __post_init__(self):
        if self.n < 2:
            raise LmkitError(f"n is {self.n}: a window model needs at least one token to look at, so n is 2 or more")
        if min(self.V, self.C, self.M) < 1 or not 0 <= self.end < self.V:
            raise LmkitError(f"V = {self.V}, C = {self.C}, M = {self.M} must be at least 1, and end = {self.end} one of the ids 0 … V - 1")


class WindowModel(nn.Module):
    """logits = tanh(x W + b) U + c, where x holds the vectors of the n - 1 tokens in a row, oldest first.

    embeddings: (V, C), where the vectors start; without it they are drawn at random. The logits are small at the start, so that the
    first loss is about ln V. The model is one that `lmkit.metrics.evaluate` measures. Source: Bengio et al. 2003, section 2, without
    the direct connections from x to the logits.
    """

    def __init__(self, config: WindowConfig, generator: torch.Generator, embeddings: Tensor | None = None):
        super().__init__()
        V, C, M, width = config.V, config.C, config.M, (config.n - 1) * config.C
        self.config = config
        self.E = nn.Parameter(torch.randn(V, C, generator=generator) * 0.3)
        self.W = nn.Parameter(torch.randn(width, M, generator=generator) / math.sqrt(width))
        self.b = nn.Parameter(torch.zeros(M))
        self.U = nn.Parameter(torch.randn(M, V, generator=generator) * 0.1 / math.sqrt(M))
        self.c = nn.Parameter(torch.zeros(V))
        if embeddings is not None:
            self._start_from(torch.as_tensor(embeddings))

    def forward(self, histories: Tensor) -> Tensor:
        """Logits of the next token.   histories: (B, n - 1) ids -> (B, V)"""
        x = F.embedding(histories, self.E).flatten(1)  # (B, (n - 1) C)
        return F.linear(torch.tanh(F.linear(x, self.W.T, self.b)), self.U.T, self.c)

    @torch.no_grad()
    def log_probs(self, ids: Sequence[int]) -> np.ndarray:
        """T ids of one paragraph -> (T + 1,) natural log-probabilities, of each token and of the end token behind the last."""
        histories, targets = windows([ids], self.config.n, self.config.end)
        losses = F.cross_entropy(self(histories.to(self.E.device)).double(), targets.to(self.E.device), reduction="none")
        return -losses.cpu().numpy()

    @torch.no_grad()
    def next_probabilities(self, history: Sequence[int]) -> np.ndarray:
        """P of every token after `history`, the tokens of the paragraph so far (none at its start) -> (V,), sum one"""
        n, end = self.config.n, self.config.end
        context = torch.tensor([([end] * (n - 1) + list(history))[-(n - 1) :]], device=self.E.device)
        return F.softmax(self(context)[0].double(), dim=0).cpu().numpy()

    @property
    def n_parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(p.numel() for p in self.parameters())

    def _start_from(self, embeddings: Tensor) -> None:
        if embeddings.shape != self.E.shape:
            raise LmkitError(f"embeddings have shape {tuple(embeddings.shape)}, expected (V, C) = {tuple(self.E.shape)}: one row a token")
        with torch.no_grad():
            self.E.copy_(embeddings)


def windows(paragraphs: Sequence[Sequence[int]], n: int, end: int) -> tuple[Tensor, Tensor]:
    """All windows of the paragraphs: histories (N, n - 1) and the tokens that follow them (N,), both int64.

    Each paragraph is read as n - 1 end tokens, its own tokens and one end token; no window reaches from one into the next.
    N is the number of tokens and of paragraphs together. The windows stand in the order of the text.
    """
    padded = [torch.tensor([*[end] * (n - 1), *paragraph, end]) for paragraph in paragraphs]
    rows = torch.cat([torch.empty(0, n, dtype=torch.int64), *(tokens.unfold(0, n, 1) for tokens in padded)])
    return rows[:, :-1], rows[:, -1]


def fit(
    paragraphs: Sequence[Sequence[int]],
    config: WindowConfig,
    budget: Budget,
    generator: torch.Generator,
    embeddings: Tensor | None = None,
    *,
    batch: int = 512,
    training: TrainConfig = TRAINING,
    evaluate: Callable[[WindowModel], float] | None = None,
) -> tuple[WindowModel, History]:
    """Train a new model on token ids without end tokens, and return it in evaluation mode with what happened.

    The windows are shuffled anew for every pass; `generator` draws the first parameters and the order. batch: windows in a step.
    embeddings: as for WindowModel. training, evaluate: as for `lmkit.train.train`. With a budget in steps the result is
    the same on every run of the same machine with the same number of threads.
    Errors: LmkitError for an id that is not in 0 … V - 1, for no paragraph, and as for `lmkit.train.train`.
    """
    histories, targets = windows(paragraphs, config.n, config.end)
    if not len(targets):
        raise LmkitError("there is no paragraph to train on: paragraphs is empty")
    if not 0 <= targets.min() <= targets.max() < config.V:
        found = f"{targets.min()} … {targets.max()}"
        raise LmkitError(f"token ids must lie in 0 … {config.V - 1}, and here they lie in {found}: check V and the tokenizer")
    model = WindowModel(config, generator, embeddings)
    history = train(model, _batches(histories, targets, batch, generator), _loss, budget, training, evaluate=evaluate)
    return model.eval(), history


def _loss(model: WindowModel, batch: tuple[Tensor, Tensor]) -> Tensor:
    histories, targets = batch
    return F.cross_entropy(model(histories), targets)


def _batches(histories: Tensor, targets: Tensor, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end: every pass in an order of its own; its last batch may be smaller."""
    while True:
        for chosen in torch.randperm(len(targets), generator=generator).split(size):
            yield histories[chosen], targets[chosen]
