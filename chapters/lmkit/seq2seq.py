"""The translator that chapter 6 looks at: an encoder and a decoder of gated recurrent units, with attention or without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lmkit import dutch
from lmkit.dutch import END, PAD, START, Pair
from lmkit.errors import LmkitError
from lmkit.train import Budget, History, TrainConfig, similar_lengths, train

ATTENTIONS = (None, "additive", "dot")
TRAINING = TrainConfig(learning_rate=8e-3, final_rate=0.01)
MAX_LENGTH = 30  # words of a translation, more than any of the grammar has


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The shape of a translator."""

    V_source: int  # words of the language that is read
    V_target: int  # words of the language that is written
    attention: str | None = "dot"  # "dot", "additive", or None: one vector for the whole sentence
    C: int = 64  # numbers in the vector of a word
    M: int = 128  # width of the decoder's state and of a vector of the memory; even
    A: int = 32  # width of the layer that scores, in additive attention

    def __post_init__(self):
        if self.attention not in ATTENTIONS:
            raise LmkitError(f'attention is {self.attention!r}: take "dot", "additive" or None')
        if min(self.V_source, self.V_target, self.C, self.M) < 1 or self.M % 2:
            raise LmkitError("V_source, V_target, C and M must be at least 1, and M even: each direction of the encoder has half of it")


class EncoderDecoder(nn.Module):
    """A bidirectional GRU reads the source; a GRU writes the target, looking back at what was read.

    The memory holds one vector for each source word. The decoder's state starts from the encoder's last states. In each step the
    state is updated first; it is the query of the attention; the logits come from tanh((state, context) A + a). Without attention the
    context is the same vector in every step, the encoder's last states, and all the rest is the same.
    Sources: Cho et al. 2014 (without attention), Bahdanau et al. 2015 (additive), Luong et al. 2015 (dot; order of the step).
    """

    def __init__(self, config: Seq2SeqConfig, generator: torch.Generator):
        super().__init__()
        C, M = config.C, config.M
        self.config = config
        self.source_embedding = nn.Embedding(config.V_source, C)
        self.target_embedding = nn.Embedding(config.V_target, C)
        self.encoder = nn.GRU(C, M // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(C, M, batch_first=True)
        self.start = nn.Linear(M, M)
        self.combine = nn.Linear(2 * M, M)
        self.output = nn.Linear(M, config.V_target)
        if config.attention == "additive":
            self.query, self.key = nn.Linear(M, config.A), nn.Linear(M, config.A, bias=False)
            self.score = nn.Linear(config.A, 1, bias=False)
        self._draw(generator)

    def forward(self, source: Tensor, inputs: Tensor) -> Tensor:
        """Logits of the next word at every place, the words before it given.   source: (B, S), inputs: (B, T) -> (B, T, V_target)"""
        memory, mask, state = self.encode(source)
        states, _ = self.decoder(self.target_embedding(inputs), state[None])  # (B, T, M)
        return self._logits(states, memory, mask)[0]

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the decoder needs of a source.   source: (B, S) ids -> memory (B, S, M), mask (B, S) bool, first state (B, M)

        mask: True where a word or END stands. Without attention the memory has one place, S = 1, the whole sentence's vector.
        """
        mask = source != PAD
        packed = pack_padded_sequence(self.source_embedding(source), mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        whole = torch.cat([last[0], last[1]], dim=1)  # (B, M)
        state = torch.tanh(self.start(whole))
        if self.config.attention is None:
            return whole[:, None], mask.any(dim=1, keepdim=True), state
        return pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])[0], mask, state

    def step(self, tokens: Tensor, state: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the decoder.   tokens: (B,) ids, state (B, M) -> logits (B, V_target), next state (B, M), weights (B, S)"""
        states, last = self.decoder(self.target_embedding(tokens)[:, None], state[None])
        logits, weights = self._logits(states, memory, mask)
        return logits[:, 0], last[0], weights[:, 0]

    def attend(self, states: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Look at the memory.   states: (B, T, M), memory: (B, S, M), mask: (B, S) -> contexts (B, T, M), weights (B, T, S)"""
        if self.config.attention == "additive":
            scores = self.score(torch.tanh(self.query(states)[:, :, None] + self.key(memory)[:, None]))[..., 0]  # (B, T, S)
        else:
            scores = states @ memory.transpose(1, 2)
        weights = scores.masked_fill(~mask[:, None], float("-inf")).softmax(dim=2)
        return weights @ memory, weights

    @property
    def n_parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(p.numel() for p in self.parameters())

    def _logits(self, states: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        contexts, weights = self.attend(states, memory, mask)
        return self.output(torch.tanh(self.combine(torch.cat([states, contexts], dim=2)))), weights

    def _draw(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "embedding" in name:
                    parameter.normal_(0.0, 0.3, generator=generator)
                else:
                    bound = self.config.M**-0.5
                    parameter.uniform_(-bound, bound, generator=generator)


def fit(
    pairs: Sequence[Pair],
    attention: str | None,
    budget: Budget,
    generator: torch.Generator,
    *,
    C: int = 64,
    M: int = 128,
    batch: int = 32,
    training: TrainConfig = TRAINING,
    evaluate: Callable[[EncoderDecoder], float] | None = None,
) -> tuple[EncoderDecoder, History]:
    """Train a new translator from English to Dutch, and return it in evaluation mode with what happened.

    `generator` draws the first parameters and the batches, each of sentences of similar length. attention, C, M: as for Seq2SeqConfig.
    batch: pairs in a step. training, evaluate: as for `lmkit.train.train`. With a budget in steps the result is the same on every run of
    the same machine with the same number of threads.
    Errors: LmkitError for no pair, and as for `lmkit.train.train`.
    """
    if not pairs:
        raise LmkitError("there is no pair to train on: pairs is empty")
    model = EncoderDecoder(Seq2SeqConfig(len(dutch.english()), len(dutch.dutch()), attention, C, M), generator)
    history = train(model, batches(pairs, batch, generator), loss, budget, training, evaluate=evaluate)
    return model.eval(), history


def batches(pairs: Sequence[Pair], size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (source, target) without end: every pass in an order of its own, in each batch sentences of similar length."""
    lengths = [len(pair.dutch) for pair in pairs]
    while True:
        for chosen in similar_lengths(lengths, size, 16, generator):
            yield dutch.batch([pairs[i] for i in chosen])


def loss(model: EncoderDecoder, pair: tuple[Tensor, Tensor]) -> Tensor:
    """Mean cross-entropy of the target's words and ENDs, in nats, with teacher forcing; padding does not count."""
    source, target = pair
    return F.cross_entropy(model(source, shifted(target)).flatten(0, 1), target.flatten(), ignore_index=PAD)


def shifted(target: Tensor) -> Tensor:
    """What a decoder reads while it writes the target: START in front, the last place dropped.   (B, T) -> (B, T)"""
    return F.pad(target, (1, -1), value=START)


@torch.no_grad()
def log_probs(model: EncoderDecoder, source: Tensor, target: Tensor) -> Tensor:
    """The natural log-probability of each target, END included.   source: (B, S), target: (B, T) -> (B,) float64"""
    logits = model(source, shifted(target)).double()
    return -F.cross_entropy(logits.transpose(1, 2), target, ignore_index=PAD, reduction="none").sum(dim=1)


@torch.no_grad()
def greedy(model: EncoderDecoder, source: Tensor, max_length: int = MAX_LENGTH) -> tuple[Tensor, Tensor]:
    """The most likely word at every place.   source: (B, S) -> ids (B, T) with END and PAD behind it, weights (B, T, S)

    A row that has not ended after max_length places has no END.
    """
    memory, mask, state = model.encode(source)
    tokens = torch.full((len(source),), START)
    over = torch.zeros(len(source), dtype=torch.bool)
    written, looked = [], []
    while len(written) < max_length and not over.all():
        logits, state, weights = model.step(tokens, state, memory, mask)
        tokens = logits.argmax(dim=1).masked_fill(over, PAD)
        over = over | (tokens == END)
        written.append(tokens)
        looked.append(weights)
    return torch.stack(written, dim=1), torch.stack(looked, dim=1)


@torch.no_grad()
def beam(model: EncoderDecoder, source: Tensor, width: int, max_length: int = MAX_LENGTH) -> list[tuple[list[int], float]]:
    """The best sentences that a beam finds.   source: (1, S) -> at most `width` pairs (ids without END, natural log-probability)

    Best first. Sentences that ended stay in the beam with the score that they have, and one that reaches max_length has ended. The
    greedy sentence competes as well, so the first score is never below its score. Of equal scores the one found first stands first.
    """
    memory, mask, state = model.encode(source)
    alive, ended = [([], 0.0)], []
    tokens = torch.tensor([START])
    for _ in range(max_length):
        rows = len(alive)
        logits, state, _ = model.step(tokens, state, memory.expand(rows, -1, -1), mask.expand(rows, -1))
        longer = torch.tensor([score for _, score in alive], dtype=torch.float64)[:, None] + logits.double().log_softmax(dim=1)
        best = longer.flatten().topk(min(width, longer.numel()))
        found = [(score, *divmod(place, longer.shape[1])) for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        continued = [(alive[row][0] + [token] * (token != END), score, token, row) for score, row, token in found]
        kept = sorted([(ids, score, END, -1) for ids, score in ended] + continued, key=lambda one: -one[1])[:width]
        ended = [(ids, score) for ids, score, token, _ in kept if token == END]
        going = [one for one in kept if one[2] != END]
        alive = [(ids, score) for ids, score, _, _ in going]
        if not alive:
            break
        state, tokens = state[[row for *_, row in going]], torch.tensor([token for _, _, token, _ in going])
    sentences = sorted(ended + alive, key=lambda one: -one[1])
    if width > 1:
        sentences += [one for one in beam(model, source, 1, max_length) if one[0] not in [ids for ids, _ in sentences]]
    return sorted(sentences, key=lambda one: -one[1])[:width]


def translate(model: EncoderDecoder, pairs: Sequence[Pair], batch: int = 256) -> list[tuple[str, ...]]:
    """The greedy Dutch translation of each pair's English."""
    found = []
    for start in range(0, len(pairs), batch):
        source, _ = dutch.batch(pairs[start : start + batch])
        found += [dutch.decode(row, dutch.dutch()) for row in greedy(model, source)[0].tolist()]
    return found


def exact_match(model: EncoderDecoder, pairs: Sequence[Pair]) -> float:
    """The share of pairs whose greedy translation is the Dutch sentence, word for word."""
    return sum(words == pair.dutch for words, pair in zip(translate(model, pairs), pairs, strict=True)) / len(pairs)
