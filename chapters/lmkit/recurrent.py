"""The recurrent language models that chapters compare with: RNN, LSTM or GRU layers between one embedding and a softmax."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmkit.cache import write_whole
from lmkit.errors import LmkitError
from lmkit.tokenizer import END_ID, VOCAB_SIZE
from lmkit.train import NO_TARGET, Budget, History, TrainConfig, side_by_side, similar_lengths, train

LAYERS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
TRAINING = TrainConfig(learning_rate=4e-3, weight_decay=0.02, clip=0.5, final_rate=0.01)

SHIPPED = Path(__file__).parent / "models" / "lstm"  # made by `python -m lmkit.pretrain lstm`
WEIGHTS, CONFIG = "model.safetensors", "config.json"

State = list[Tensor | tuple[Tensor, Tensor]]  # one entry a layer, as the layer itself returns it


@dataclass(frozen=True)
class RecurrentConfig:
    """The shape of a recurrent language model, and what is dropped while it learns."""

    kind: str = "LSTM"  # "RNN", "LSTM" or "GRU"
    V: int = VOCAB_SIZE  # tokens in the vocabulary
    C: int = 128  # numbers in the vector of one token, and width of the last layer
    M: int = 128  # width of the layers before the last
    layers: int = 1  # at least 1
    dropout: float = 0.0  # of the numbers that enter a layer or the softmax; one mask for all the places of a paragraph
    token_dropout: float = 0.0  # of the whole vector of a token
    weight_dropout: float = 0.0  # of the weights from a state to the next
    end: int = END_ID  # id of the end token, which also stands before a paragraph

    def __post_init__(self):
        if self.kind not in LAYERS:
            raise LmkitError(f"kind is {self.kind!r}: take one of {', '.join(LAYERS)}")
        if min(self.V, self.C, self.M, self.layers) < 1 or not 0 <= self.end < self.V:
            raise LmkitError("V, C, M and layers must be at least 1, and end one of the ids 0 … V - 1")
        if not all(0 <= p < 1 for p in (self.dropout, self.token_dropout, self.weight_dropout)):
            raise LmkitError("a dropout is a probability: at least 0, and below 1")


class RecurrentModel(nn.Module):
    """Token vectors E, recurrent layers one above the other, logits = h Eᵀ + c: one table reads and writes.

    The model is one that `lmkit.metrics.evaluate` measures; it starts each paragraph with states of zeros and the end token.
    Sources: Press & Wolf 2017 (one table); Gal & Ghahramani 2016 (one mask a paragraph); Merity et al. 2018 (dropped weights).
    """

    def __init__(self, config: RecurrentConfig, generator: torch.Generator):
        super().__init__()
        self.config, self._noise = config, generator
        self.E = nn.Parameter(torch.empty(config.V, config.C))
        self.c = nn.Parameter(torch.zeros(config.V))
        sizes = [config.C] + [config.M] * (config.layers - 1) + [config.C]
        layer = LAYERS[config.kind]
        self.layers = nn.ModuleList(layer(n, m, batch_first=True) for n, m in itertools.pairwise(sizes))
        self._draw(generator)

    def forward(self, ids: Tensor, states: State | None = None) -> tuple[Tensor, State]:
        """Logits of the token after each place, and the states behind the last.   ids: (B, T) -> (B, T, V)

        states: what an earlier call returned, to go on from there; without it, zeros.
        """
        E = self._dropped(self.E, self.config.token_dropout, (self.config.V, 1))
        x = F.embedding(ids, E)  # (B, T, C)
        after = []
        for i, layer in enumerate(self.layers):
            x, state = self._run(layer, self._locked(x), None if states is None else states[i])
            after.append(state)
        return F.linear(self._locked(x), self.E, self.c), after

    @torch.no_grad()
    def log_probs(self, ids: Sequence[int]) -> np.ndarray:
        """T ids of one paragraph -> (T + 1,) natural log-probabilities, of each token and of the end token behind the last."""
        inputs, targets = rows([ids], self.config.end)
        logits, _ = self(inputs.to(self.E.device))
        return -F.cross_entropy(logits[0].double(), targets[0].to(self.E.device), reduction="none").cpu().numpy()

    @torch.no_grad()
    def next_probabilities(self, history: Sequence[int]) -> np.ndarray:
        """P of every token after `history`, the tokens of the paragraph so far (none at its start) -> (V,), sum one"""
        logits, _ = self(torch.tensor([[self.config.end, *history]], device=self.E.device))
        return F.softmax(logits[0, -1].double(), dim=0).cpu().numpy()

    @property
    def n_parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(p.numel() for p in self.parameters())

    def _draw(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.E.normal_(0.0, 0.1, generator=generator)
            for layer in self.layers:
                bound = layer.hidden_size**-0.5
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
                if self.config.kind == "LSTM":
                    layer.bias_ih_l0[layer.hidden_size : 2 * layer.hidden_size].add_(1.0)  # start by remembering

    def _dropped(self, x: Tensor, p: float, shape: Sequence[int]) -> Tensor:
        """x, while training with each entry of a mask of `shape` set to 0 with probability p and the others scaled up."""
        if not self.training or not p:
            return x
        return x * (torch.rand(shape, generator=self._noise) >= p) / (1 - p)

    def _locked(self, x: Tensor) -> Tensor:
        """Dropout with the same mask in every place of a row.   x: (B, T, C)"""
        return self._dropped(x, self.config.dropout, (x.shape[0], 1, x.shape[2]))

    def _run(self, layer: nn.RNNBase, x: Tensor, state: Tensor | tuple[Tensor, Tensor] | None):
        if not self.training or not self.config.weight_dropout:
            return layer(x, state)
        weights = self._dropped(layer.weight_hh_l0, self.config.weight_dropout, layer.weight_hh_l0.shape)
        return torch.func.functional_call(layer, {"weight_hh_l0": weights}, (x, state))


def rows(paragraphs: Sequence[Sequence[int]], end: int) -> tuple[Tensor, Tensor]:
    """Paragraphs side by side: inputs and targets, both (B, T) int64, T the longest length and one.

    A row of inputs is the end token and the paragraph, a row of targets the paragraph and the end token; behind them inputs are
    filled with `end` and targets with NO_TARGET.
    """
    return side_by_side([[end, *ids, end] for ids in paragraphs], end)


def fit(
    paragraphs: Sequence[Sequence[int]],
    config: RecurrentConfig,
    budget: Budget,
    generator: torch.Generator,
    *,
    batch: int = 16,
    T: int = 64,
    training: TrainConfig = TRAINING,
    evaluate: Callable[[RecurrentModel], float] | None = None,
) -> tuple[RecurrentModel, History]:
    """Train a new model on token ids without end tokens, and return it in evaluation mode with what happened.

    Paragraphs of similar length share a batch; which ones, and the order of the batches, is drawn anew for every pass.
    `generator` draws the first parameters, the batches and what is dropped. batch: paragraphs side by side; T: places in a step, the
    length through which gradients flow. training, evaluate: as for `lmkit.train.train`. With a budget in steps the result is the
    same on every run of the same machine with the same number of threads.
    Errors: LmkitError for an id that is not in 0 … V - 1, for no paragraph, and as for `lmkit.train.train`.
    """
    if not len(paragraphs):
        raise LmkitError("there is no paragraph to train on: paragraphs is empty")
    lowest, highest = min(min(ids, default=0) for ids in paragraphs), max(max(ids, default=0) for ids in paragraphs)
    if not 0 <= lowest <= highest < config.V:
        raise LmkitError(f"token ids must lie in 0 … {config.V - 1}, and here they lie in {lowest} … {highest}: check V and the tokenizer")
    model = RecurrentModel(config, generator)
    history = train(model, batches(paragraphs, batch, T, config.end, generator), loss, budget, training, evaluate=evaluate)
    return model.eval(), history


def loss(model: RecurrentModel, piece: Piece) -> Tensor:
    """Mean cross-entropy of the targets of a piece, in nats; filling does not count. The states behind it go on to the next piece."""
    logits, states = model(piece.inputs, piece.carried.get("states"))
    piece.carried["states"] = [tuple(h.detach() for h in one) if isinstance(one, tuple) else one.detach() for one in states]
    return F.cross_entropy(logits.flatten(0, 1), piece.targets.flatten(), ignore_index=NO_TARGET)


@dataclass(frozen=True)
class Piece:
    """What one step of training reads: a stretch of places of some paragraphs side by side."""

    inputs: Tensor  # (B, T) ids
    targets: Tensor  # (B, T) ids, or NO_TARGET
    carried: dict[str, State]  # shared by the pieces of the same paragraphs: "states" behind the piece before, none at the start


def batches(paragraphs: Sequence[Sequence[int]], size: int, T: int, end: int, generator: torch.Generator) -> Iterator[Piece]:
    """Pieces without end: `size` paragraphs of similar length side by side, T places a step, the states carried from step to step.

    Every pass has an order of its own: `lmkit.train.similar_lengths`.
    """
    lengths = [len(ids) for ids in paragraphs]
    while True:
        for chosen in similar_lengths(lengths, size, 32, generator):
            inputs, targets = rows([paragraphs[i] for i in chosen], end)
            carried: dict[str, State] = {}
            for x, y in zip(inputs.split(T, dim=1), targets.split(T, dim=1), strict=True):
                yield Piece(x, y, carried)


def save(model: RecurrentModel, folder: Path, card: dict) -> None:
    """Write a model's weights, in 16 bits each, and its configuration with the card into a folder; each file whole or not at all.

    card: how the model came to be, what `card` returns; plain numbers and text. Errors: OSError.
    """
    from safetensors.torch import save as to_bytes

    write_whole(folder / WEIGHTS, to_bytes({name: one.detach().half().contiguous() for name, one in model.state_dict().items()}))
    write_whole(folder / CONFIG, json.dumps({"model": asdict(model.config), "card": card}, indent=1) + "\n")


def load(folder: Path) -> RecurrentModel:
    """A model that `save` wrote, in evaluation mode and 32 bits. Errors: LmkitError where the folder holds none."""
    from safetensors.torch import load as from_bytes

    try:
        config = RecurrentConfig(**json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model"])
        weights = {name: one.float() for name, one in from_bytes((folder / WEIGHTS).read_bytes()).items()}
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise LmkitError(f"{folder} holds no model, for {missing} is missing: run `python -m lmkit.pretrain lstm`") from None
    model = RecurrentModel(config, torch.Generator().manual_seed(0))
    model.load_state_dict(weights)
    return model.eval()


def pretrained() -> RecurrentModel:
    """The LSTM that comes with the course, trained once on its training text by `python -m lmkit.pretrain lstm`; see `card`."""
    return load(SHIPPED)


def card() -> dict:
    """How the LSTM of `pretrained` came to be: "command", "seed", "steps", "train_seconds", "bits_per_byte" (validation text), …"""
    return json.loads((SHIPPED / CONFIG).read_text(encoding="utf-8"))["card"]
