"""Decoder-only models in the layout of transformers, on the course's text: rows to train on, the loss, and a score for the ladder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from lmkit import resumable
from lmkit.tokenizer import END_ID, VOCAB_SIZE
from lmkit.train import NO_TARGET, TrainConfig, side_by_side, similar_lengths

TABLES = {"transformer.wte.weight", "transformer.wpe.weight"}  # vectors of tokens and places
TRAINING = TrainConfig(learning_rate=7e-3, weight_decay=0.1, betas=(0.9, 0.98), final_rate=0.01, evaluations=20)


def config(*, T: int = 256, C: int = 192, layers: int = 4, heads: int = 3, dropout: float = 0.1, V: int = VOCAB_SIZE) -> GPT2Config:
    """The shape of `gpt-mini`, or another: GPT-2 with T places, `layers` blocks of width C, and the course's tokens."""
    return GPT2Config(
        vocab_size=V, n_positions=T, n_embd=C, n_layer=layers, n_head=heads, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=0.0,
        bos_token_id=END_ID, eos_token_id=END_ID,
    )  # fmt: skip


def new(shape: GPT2Config, seed: int) -> GPT2LMHeadModel:
    """A model with new parameters, the same for the same seed. Torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(shape)


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean cross-entropy over the targets that are none of the filling.   batch: inputs and targets, both (B, T)"""
    inputs, targets = batch
    return F.cross_entropy(model(inputs).logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)


def batches(
    paragraphs: Sequence[Sequence[int]], size: int, T: int, seed: int, start: int = 0, end: int = END_ID
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets, both (B, T) int64, without end, from step `start` on: what a step gets depends on the seed and the step alone.

    Each paragraph starts a row of its own, the end token before and behind it; one that is longer than a row is cut, at another
    place in every pass. Rows of similar length stand side by side (`lmkit.train.similar_lengths`).
    """
    turn = 0
    while True:
        generator = resumable.generator(seed, "pass", turn)
        rows = [row for ids in paragraphs for row in _cut([end, *ids, end], T, generator)]
        plan = similar_lengths([len(row) for row in rows], size, 32, generator)
        for chosen in plan[start:]:
            yield side_by_side([rows[i] for i in chosen], end)
        start, turn = max(0, start - len(plan)), turn + 1


def _cut(row: list[int], T: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Stretches of at most T + 1 tokens; the last token of one is the first of the next."""
    first = T
    if len(row) > T + 1:
        first = int(torch.randint(T // 2, T + 1, (), generator=generator))
    yield row[: first + 1]
    for begin in range(first, len(row) - 1, T):
        yield row[begin : begin + T + 1]


class LanguageModel:
    """A decoder-only model as `lmkit.metrics.evaluate` measures one.

    model: called with ids (1, T); it returns logits (1, T, V), or an object with these as `.logits`, as transformers' models do.
    longest: the most places that it takes; by default what its configuration says.
    """

    def __init__(self, model: Callable[[Tensor], Any], longest: int | None = None, end: int = END_ID):
        self.model, self.end = model, end
        self.longest = longest or model.config.n_positions

    @torch.no_grad()
    def log_probs(self, ids: Sequence[int]) -> np.ndarray:
        """T ids of one paragraph -> (T + 1,) natural log-probabilities, of each token and of the end token behind the last.

        In a paragraph with more places than the model takes each token is seen with at least half of them before it.
        """
        return windowed_log_probs(self._logits, ids, self.longest, self.end)

    @torch.no_grad()
    def next_probabilities(self, history: Sequence[int]) -> np.ndarray:
        """P of every token after `history`, the tokens of the paragraph so far (none at its start) -> (V,), sum one"""
        context = torch.tensor([[self.end, *history][-self.longest :]])
        return F.softmax(self._logits(context)[0, -1].double(), dim=0).cpu().numpy()

    def _logits(self, ids: Tensor) -> Tensor:
        output = self.model(ids)
        return output.logits if hasattr(output, "logits") else output


def windowed_log_probs(logits: Callable[[Tensor], Tensor], ids: Sequence[int], longest: int, end: int) -> np.ndarray:
    """ln p of each token of a paragraph and of the end token, from a model that takes at most `longest` places.   T ids -> (T + 1,)

    logits: ids (1, T) -> (1, T, V). The windows overlap by half, so that each token has at least half a window before it.
    """
    tokens = torch.tensor([end, *ids, end])
    parts, done = [], 0
    while done <= len(ids):
        stop = min(len(ids) + 1, done + max(1, longest // 2) if done else longest)
        begin = max(0, stop - longest)
        found = logits(tokens[None, begin:stop])[0, done - begin :].double().cpu()
        parts.append(-F.cross_entropy(found, tokens[done + 1 : stop + 1], reduction="none"))
        done = stop
    return torch.cat(parts).numpy()
