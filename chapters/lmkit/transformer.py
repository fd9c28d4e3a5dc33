"""The Transformers that chapters compare with, from torch's own layers: a causal language model, and an encoder with a decoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmkit import sequences
from lmkit.causal import windowed_log_probs
from lmkit.errors import LmkitError
from lmkit.tokenizer import END_ID, VOCAB_SIZE
from lmkit.train import Budget, History, TrainConfig, train

POSITIONS = ("sinusoidal", "learned")
TRAINING = TrainConfig(learning_rate=6e-3, weight_decay=0.1, warmup=0.1)  # of the language model
TASK_TRAINING = TrainConfig(learning_rate=3e-3, betas=(0.9, 0.98), warmup=0.1)  # of the tasks of lmkit.sequences


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a Transformer."""

    V: int = VOCAB_SIZE  # tokens in the vocabulary
    C: int = 128  # numbers in the vector of one token
    H: int = 4  # heads; each has C / H numbers
    M: int = 512  # width of the hidden layer of a feed-forward part
    layers: int = 2  # blocks; an encoder with a decoder has so many of each
    T: int = 128  # places for which there is a position; a language model looks no further back
    positions: str = "sinusoidal"  # or "learned"
    end: int = END_ID  # id of the end token, which also stands before a paragraph

    def __post_init__(self):
        if min(self.V, self.C, self.H, self.M, self.layers, self.T) < 1 or not 0 <= self.end < self.V:
            raise LmkitError("V, C, H, M, layers and T must be at least 1, and end one of the ids 0 … V - 1")
        if self.C % self.H:
            raise LmkitError(f"C = {self.C} numbers cannot be shared out among H = {self.H} heads: take a C that H divides")
        if self.positions not in POSITIONS:
            raise LmkitError(f"positions is {self.positions!r}: take one of {', '.join(POSITIONS)}")


TASK_CONFIG = TransformerConfig(V=sequences.V, C=64, M=128, T=32, end=sequences.END)


class TransformerModel(nn.Module):
    """A causal language model: token vectors E and positions P, blocks in which each place sees itself and those before it, h Eᵀ + c.

    The model is one that `lmkit.metrics.evaluate` measures. Sources: Vaswani et al. 2017; Press & Wolf 2017 (one table).
    """

    def __init__(self, config: TransformerConfig, generator: torch.Generator):
        super().__init__()
        self.config = config
        self.E = nn.Parameter(torch.empty(config.V, config.C))
        self.P = _positions(config)
        self.c = nn.Parameter(torch.zeros(config.V))
        self.blocks = _stack(nn.TransformerEncoder, nn.TransformerEncoderLayer, config, enable_nested_tensor=False)
        _draw(self, generator)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the token after each place.   ids: (B, T), T at most config.T -> (B, T, V)"""
        x = _vectors(self.E, self.P, ids)  # (B, T, C)
        return F.linear(self.blocks(x, mask=_later(ids.shape[1], x.device), is_causal=True), self.E, self.c)

    @torch.no_grad()
    def log_probs(self, ids: Sequence[int]) -> np.ndarray:
        """T ids of one paragraph -> (T + 1,) natural log-probabilities, of each token and of the end token behind the last.

        In a paragraph longer than config.T each token is seen with at least half of config.T tokens before it.
        """
        return windowed_log_probs(lambda tokens: self(tokens.to(self.E.device)), ids, self.config.T, self.config.end)

    @torch.no_grad()
    def next_probabilities(self, history: Sequence[int]) -> np.ndarray:
        """P of every token after `history`, the tokens of the paragraph so far (none at its start) -> (V,), sum one"""
        context = torch.tensor([[self.config.end, *history][-self.config.T :]], device=self.E.device)
        return F.softmax(self(context)[0, -1].double(), dim=0).cpu().numpy()

    @property
    def n_parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(p.numel() for p in self.parameters())


class SequenceTransformer(nn.Module):
    """An encoder that reads a whole row, and a decoder that writes another token by token; one table E for all tokens.

    Ids are those of `lmkit.sequences`: PAD, START, END. Source: Vaswani et al. 2017, figure 1.
    """

    def __init__(self, config: TransformerConfig, generator: torch.Generator):
        super().__init__()
        self.config = config
        self.E = nn.Parameter(torch.empty(config.V, config.C))
        self.P = _positions(config)
        self.c = nn.Parameter(torch.zeros(config.V))
        self.encoder = _stack(nn.TransformerEncoder, nn.TransformerEncoderLayer, config, enable_nested_tensor=False)
        self.decoder = _stack(nn.TransformerDecoder, nn.TransformerDecoderLayer, config)
        _draw(self, generator)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits of the token after each place of the target.   source: (B, S), target: (B, T) -> (B, T, V)"""
        return self._answer(target, self._read(source), source == sequences.PAD)

    @torch.no_grad()
    def greedy(self, source: Tensor, longest: int) -> Tensor:
        """Write the likeliest token, `longest` times, each after those written before.   source: (B, S) -> (B, 1 + longest), START first"""
        written = torch.full((len(source), 1), sequences.START, device=source.device)
        memory = self._read(source)  # once: it does not depend on what is written
        for _ in range(longest):
            logits = self._answer(written, memory, source == sequences.PAD)[:, -1]
            written = torch.cat([written, logits.argmax(dim=-1, keepdim=True)], dim=1)
        return written

    def _read(self, source: Tensor) -> Tensor:
        return self.encoder(_vectors(self.E, self.P, source), src_key_padding_mask=source == sequences.PAD)  # (B, S, C)

    def _answer(self, target: Tensor, memory: Tensor, padding: Tensor) -> Tensor:
        x, later = _vectors(self.E, self.P, target), _later(target.shape[1], target.device)
        x = self.decoder(x, memory, tgt_mask=later, memory_key_padding_mask=padding, tgt_is_causal=True)
        return F.linear(x, self.E, self.c)


def fit(
    paragraphs: Sequence[Sequence[int]],
    config: TransformerConfig,
    budget: Budget,
    generator: torch.Generator,
    *,
    batch: int = 8,
    training: TrainConfig = TRAINING,
    evaluate: Callable[[TransformerModel], float] | None = None,
) -> tuple[TransformerModel, History]:
    """Train a new language model on token ids without end tokens, and return it in evaluation mode with what happened.

    The paragraphs stand behind one another, end tokens between them, and are cut into rows of config.T places, anew for every pass.
    `generator` draws the first parameters, the cuts and the order of the rows. batch: rows in a step. training, evaluate: as for
    `lmkit.train.train`. With a budget in steps the result is the same on every run of the same machine with the same number of threads.
    Errors: LmkitError for an id that is not in 0 … V - 1, for less text than two rows, and as for `lmkit.train.train`.
    """
    stream = torch.tensor([config.end, *(i for ids in paragraphs for i in (*ids, config.end))])
    if len(stream) <= 2 * config.T:
        raise LmkitError(f"{len(stream)} tokens cannot be cut into rows of T = {config.T}: give at least {2 * config.T + 1}")
    if not 0 <= stream.min() <= stream.max() < config.V:
        raise LmkitError(f"token ids must lie in 0 … {config.V - 1}, and here they lie in {stream.min()} … {stream.max()}")
    model = TransformerModel(config, generator)
    history = train(model, _rows(stream, config.T, batch, generator), _loss, budget, training, evaluate=evaluate)
    return model.eval(), history


def fit_task(
    task: str,
    budget: Budget,
    generator: torch.Generator,
    config: TransformerConfig = TASK_CONFIG,
    *,
    lengths: Sequence[int] = sequences.TRAINED,
    batch: int = 64,
    training: TrainConfig = TASK_TRAINING,
) -> tuple[SequenceTransformer, History]:
    """Train a new encoder with decoder on a task of `lmkit.sequences`; every example is new. Returns it in evaluation mode."""
    model = SequenceTransformer(config, generator)
    history = train(model, _examples(task, lengths, batch, generator), _task_loss, budget, training)
    return model.eval(), history


def exact_match(model: SequenceTransformer, task: str, lengths: Sequence[int], number: int, generator: torch.Generator) -> float:
    """The share of `number` sequences that were kept for measuring whose whole answer, END included, the model writes rightly."""
    inputs, targets = sequences.examples(task, lengths, number, generator, held_out=True)
    written = model.greedy(inputs, targets.shape[1] - 1)
    return ((written == targets) | (targets == sequences.PAD)).all(dim=1).double().mean().item()


@torch.no_grad()
def attention_weights(model: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    """What every `nn.MultiheadAttention` within a model looks at while model(*inputs) is computed: its name -> (B, H, T, S)."""
    found: dict[str, Tensor] = {}
    hooks = []

    def ask(module: nn.Module, arguments: tuple, named: dict) -> tuple[tuple, dict]:
        return arguments, {**named, "need_weights": True, "average_attn_weights": False}

    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            hooks.append(module.register_forward_pre_hook(ask, with_kwargs=True))
            hooks.append(module.register_forward_hook(lambda _, __, output, name=name: found.update({name: output[1]})))
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def sinusoids(T: int, C: int) -> Tensor:
    """Positions 0 … T - 1 as waves: place t has sin(t / 10000^(i / C)) at every even i, and its cosine at i + 1.   -> (T, C)

    Source: Vaswani et al. 2017, section 3.5.
    """
    angles = torch.arange(T)[:, None] * torch.exp(torch.arange(0, C, 2) * (-math.log(10000) / C))  # (T, C / 2, rounded up)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :C]


def _positions(config: TransformerConfig) -> Tensor:
    if config.positions == "learned":
        return nn.Parameter(torch.empty(config.T, config.C))
    return nn.Buffer(sinusoids(config.T, config.C), persistent=False)


def _stack(Stack: type, Layer: type, config: TransformerConfig, **options: bool) -> nn.Module:
    layer = Layer(config.C, config.H, config.M, dropout=0.0, batch_first=True, norm_first=True)
    return Stack(layer, config.layers, nn.LayerNorm(config.C), **options)


def _draw(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all matrices anew. Biases start at 0, gains at 1, and rows of E that with their factor √C are as long as sinusoids."""
    for name, p in model.named_parameters():
        if name in ("E", "P"):
            nn.init.normal_(p, std=(0.5 / p.shape[1]) ** 0.5 if name == "E" else 0.1, generator=generator)
        elif p.dim() >= 2:
            nn.init.xavier_uniform_(p, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(p)


def _vectors(E: Tensor, P: Tensor, ids: Tensor) -> Tensor:
    T = ids.shape[1]
    if len(P) < T:
        raise LmkitError(f"a row has {T} places, and there are positions for {len(P)}: cut the row, or give the configuration a larger T")
    return F.embedding(ids, E) * math.sqrt(E.shape[1]) + P[:T]


def _later(T: int, device: torch.device) -> Tensor:
    """True where a place must not look, as torch's layers have it: at the places behind it.   -> (T, T)"""
    return torch.ones(T, T, dtype=torch.bool, device=device).triu(diagonal=1)


def _rows(stream: Tensor, T: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        shift = int(torch.randint(T, (), generator=generator))
        rows = stream[shift:].unfold(0, T + 1, T)  # the last token of a row is the first of the next
        for chosen in torch.randperm(len(rows), generator=generator).split(size):
            yield rows[chosen]


def _loss(model: TransformerModel, rows: Tensor) -> Tensor:
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def _examples(task: str, lengths: Sequence[int], size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield sequences.examples(task, lengths, size, generator)


def _task_loss(model: SequenceTransformer, batch: tuple[Tensor, Tensor]) -> Tensor:
    inputs, targets = batch
    logits = model(inputs, targets[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=sequences.PAD)
