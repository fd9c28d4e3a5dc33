"""Masked language models in the layout of transformers, on the course's text: tokens, pairs, masks, losses, and what they are held to."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, BertConfig, BertForPreTraining, PreTrainedTokenizerFast

from lmkit import corpus, minis, resumable
from lmkit.errors import LmkitError
from lmkit.train import NO_TARGET, TrainConfig, similar_lengths

PAD, UNK, CLS, SEP, MASK = range(5)  # ids of the special tokens [PAD], [UNK], [CLS], [SEP], [MASK]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCAB_SIZE = 4096  # word pieces of bert-mini
LONGEST = 128  # places of bert-mini
SHARE = 0.15  # of the tokens that are chosen to be predicted, as published
TRAINED_SHARE = 0.30  # while bert-mini is trained: more to learn from the same text (Wettig et al. 2023)
TABLES = {f"bert.embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")}
WAVE = 0.05  # height of the waves of positions at the start; vectors of tokens are drawn with a deviation of 0.02
SHARPNESS = 1.2  # of the first look to the neighbours
TRAINING = TrainConfig(learning_rate=5e-3, weight_decay=0.1, betas=(0.9, 0.98), final_rate=0.01, evaluations=20)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“(])")


def train_tokenizer(texts: Sequence[str], size: int = VOCAB_SIZE, rarest: int = 3) -> PreTrainedTokenizerFast:
    """BERT's tokenizer, lower case, with word pieces learned from texts: the special tokens have the ids 0 to 4, then come letters.

    rarest: a character that occurs less often is no letter, and its word becomes [UNK]. The same texts give the same pieces.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    learning = BertWordPieceTokenizer(lowercase=True)
    counts = Counter(c for text in texts for c in learning.normalize(text) if not c.isspace())
    letters = sorted(c for c, count in counts.items() if count >= rarest)
    # Letters are given as tokens that exist from the start: in which order the library would find them changes from run to run.
    given = [*SPECIAL, *letters, *("##" + c for c in letters)]
    learning.train_from_iterator(
        texts, size, min_frequency=2, special_tokens=given, limit_alphabet=len(letters), initial_alphabet=letters, show_progress=False
    )
    tokens = BertWordPieceTokenizer(learning.get_vocab(), lowercase=True)
    return BertTokenizerFast(tokenizer_object=tokens._tokenizer, do_lower_case=True, model_max_length=LONGEST)


@lru_cache(maxsize=1)
def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of bert-mini. Errors: LmkitError where bert-mini has not been trained."""
    return AutoTokenizer.from_pretrained(minis.folder("bert-mini"))


def config(*, V: int = VOCAB_SIZE, T: int = LONGEST, C: int = 128, layers: int = 4, heads: int = 4, dropout: float = 0.1) -> BertConfig:
    """The shape of `bert-mini`, or another: BERT with T places and `layers` blocks of width C."""
    return BertConfig(
        vocab_size=V, max_position_embeddings=T, hidden_size=C, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * C, hidden_dropout_prob=dropout, attention_probs_dropout_prob=0.0, pad_token_id=PAD,
    )  # fmt: skip


def new(shape: BertConfig, seed: int) -> BertForPreTraining:
    """A model with new parameters, the same for the same seed. Torch's global generator is left as it was.

    Unlike the published BERT it starts with waves for positions, and with two heads in the first block that look one place to the
    left and one to the right. BERT grows such heads by itself (Clark et al. 2019), but only after far more text than the course has.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForPreTraining(shape)
    D = shape.hidden_size // shape.num_attention_heads
    first = model.bert.encoder.layer[0].attention.self
    with torch.no_grad():
        model.bert.embeddings.position_embeddings.weight[:, :D] += WAVE * waves(torch.arange(shape.max_position_embeddings), D)
        for head, step in enumerate((-1, 1)):
            rows = slice(head * D, (head + 1) * D)
            first.key.weight[rows, :D] += SHARPNESS * torch.eye(D)
            first.query.weight[rows, :D] += SHARPNESS * turned(step, D)
    return model


def waves(places: Tensor, D: int) -> Tensor:
    """Cosine and sine of each place at D / 2 frequencies. Places less than D apart are at right angles.   (T,) -> (T, D)"""
    angles = places[:, None] * math.pi * (torch.arange(D // 2) + 0.5) * 2 / D  # (T, D / 2)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def turned(step: int, D: int) -> Tensor:
    """The matrix that makes of the waves of any place those of the place `step` further on.   -> (D, D)"""
    cosine, sine = waves(torch.tensor([step]), D)[0].split(D // 2)
    return torch.cat([torch.cat([cosine.diag(), -sine.diag()], dim=1), torch.cat([sine.diag(), cosine.diag()], dim=1)])


class Chunk(NamedTuple):
    """A stretch of one paragraph: the ids of its sentences, and the title of its article."""

    sentences: list[list[int]]
    title: str


def chunks(split: str, tokens: PreTrainedTokenizerFast, longest: int = LONGEST - 3) -> list[Chunk]:
    """The paragraphs of a split, cut at ends of sentences into stretches of at most `longest` tokens.

    A sentence that is longer than that is cut into parts that count as sentences.
    """
    found = []
    for paragraph in corpus.wikipedia(split):
        sentences = tokens(SENTENCE_END.split(paragraph.text), add_special_tokens=False, verbose=False)["input_ids"]
        parts = [ids[i : i + longest] for ids in sentences for i in range(0, len(ids), longest)]
        for stretch in _filled(parts, longest):
            found.append(Chunk(stretch, paragraph.title))
    return found


def _filled(parts: Sequence[list[int]], longest: int) -> Iterator[list[list[int]]]:
    stretch: list[list[int]] = []
    for part in parts:
        if stretch and sum(map(len, stretch)) + len(part) > longest:
            yield stretch
            stretch = []
        stretch.append(part)
    if stretch:
        yield stretch


@dataclass(frozen=True)
class Batch:
    """What one step of training reads; everything int64."""

    input_ids: Tensor  # (B, T) with masks
    token_type_ids: Tensor  # (B, T) 0 up to and with the first [SEP], then 1
    attention_mask: Tensor  # (B, T) 0 at the filling
    labels: Tensor  # (B, T) ids at the chosen places, NO_TARGET elsewhere
    next_sentence_label: Tensor  # (B,) 0: B follows A, as transformers has it; 1: it comes from another article


def batches(found: Sequence[Chunk], size: int, V: int, seed: int, start: int = 0, share: float = TRAINED_SHARE) -> Iterator[Batch]:
    """Batches without end, from step `start` on: what a step gets depends on the seed and the step alone.

    In every pass each chunk is parted anew into A and B at an end of a sentence (in its middle where it is one sentence). In half
    of the pairs B is exchanged for that of a chunk of another article. The places to predict are chosen anew each time.
    """
    turn = 0
    while True:
        generator = resumable.generator(seed, "pass", turn)
        pairs = _pairs(found, generator)
        plan = similar_lengths([len(a) + len(b) for a, b, _ in pairs], size, 32, generator)
        for i in range(start, len(plan)):
            yield _batch([pairs[k] for k in plan[i]], V, resumable.generator(seed, "masks", turn, i), share)
        start, turn = max(0, start - len(plan)), turn + 1


def _pairs(found: Sequence[Chunk], generator: torch.Generator) -> list[tuple[list[int], list[int], int]]:
    parted = [_parted(chunk.sentences, generator) for chunk in found]
    pairs = []
    for chunk, (a, b) in zip(found, parted, strict=True):
        label = int(torch.randint(2, (), generator=generator))
        if label:
            b = parted[_elsewhere(found, chunk.title, generator)][1][: LONGEST - 3 - len(a)]
        pairs.append((a, b, label))
    return pairs


def _parted(sentences: Sequence[list[int]], generator: torch.Generator) -> tuple[list[int], list[int]]:
    ids = [i for sentence in sentences for i in sentence]
    ends = list(itertools.accumulate(map(len, sentences)))[:-1] or [len(ids) // 2]
    cut = ends[int(torch.randint(len(ends), (), generator=generator))]
    return ids[:cut], ids[cut:]


def _elsewhere(found: Sequence[Chunk], title: str, generator: torch.Generator) -> int:
    for _ in range(1000):
        i = int(torch.randint(len(found), (), generator=generator))
        if found[i].title != title:
            return i
    raise LmkitError("all chunks are of one article: pairs that do not belong together need at least two")


def _batch(pairs: Sequence[tuple[list[int], list[int], int]], V: int, generator: torch.Generator, share: float = SHARE) -> Batch:
    T = max(len(a) + len(b) for a, b, _ in pairs) + 3
    ids, types = torch.full((len(pairs), T), PAD), torch.zeros((len(pairs), T), dtype=torch.int64)
    for i, (a, b, _) in enumerate(pairs):
        row = torch.tensor([CLS, *a, SEP, *b, SEP])
        ids[i, : len(row)] = row
        types[i, len(a) + 2 : len(row)] = 1
    inputs, labels = mask_tokens(ids, V, generator, share)
    return Batch(inputs, types, (ids != PAD).long(), labels, torch.tensor([label for *_, label in pairs]))


def mask_tokens(ids: Tensor, V: int, generator: torch.Generator, share: float = SHARE) -> tuple[Tensor, Tensor]:
    """Choose a share of the places, and hide them.   ids: (B, T) int64 -> inputs (B, T), labels (B, T)

    Of the chosen, 80% become [MASK], 10% a random one of the V tokens, 10% stay. Special tokens are never chosen; labels are
    the ids at chosen places and NO_TARGET elsewhere. Source: Devlin et al. 2019, section 3.1.
    """
    chosen = (torch.rand(ids.shape, generator=generator) < share) & (ids > MASK)
    kind = torch.rand(ids.shape, generator=generator)
    random = torch.randint(V, ids.shape, generator=generator)
    inputs = torch.where(chosen & (kind < 0.8), MASK, ids)
    inputs = torch.where(chosen & (kind >= 0.8) & (kind < 0.9), random, inputs)
    return inputs, torch.where(chosen, ids, NO_TARGET)


def loss(model: BertForPreTraining, batch: Batch) -> Tensor:
    """Mean cross-entropy over the chosen places, plus that of the pairs. The head computes the chosen places only."""
    hidden = model.bert(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    chosen = batch.labels != NO_TARGET
    logits, belongs = model.cls(hidden.last_hidden_state[chosen], hidden.pooler_output)
    return F.cross_entropy(logits, batch.labels[chosen]) + F.cross_entropy(belongs, batch.next_sentence_label)


@dataclass(frozen=True)
class Gaps:
    """Held-out text with places hidden, the same for every model: what masked accuracy is measured on."""

    ids: Tensor  # (N, T) with [CLS] and [SEP], filled with [PAD]
    inputs: Tensor  # (N, T) the same, [MASK] at the hidden places
    hidden: Tensor  # (N, T) bool, the hidden places


def gaps(split: str = "validation", share: float = SHARE, seed: int = 0) -> Gaps:
    """Every chunk of a split as one row; a share of its tokens, drawn with the seed, is hidden behind [MASK]."""
    return gaps_of(chunks(split, tokenizer()), share, seed)


def gaps_of(found: Sequence[Chunk], share: float = SHARE, seed: int = 0) -> Gaps:
    """`gaps` for chunks that are at hand."""
    rows = [torch.tensor([CLS, *itertools.chain(*chunk.sentences), SEP]) for chunk in found]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    hidden = (torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)) < share) & (ids > MASK)
    return Gaps(ids, torch.where(hidden, MASK, ids), hidden)


@torch.no_grad()
def guesses(model: BertForPreTraining, held_out: Gaps, size: int = 32) -> Tensor:
    """The model's likeliest token for each hidden place, in the order of the rows.   -> (M,) int64, M hidden places"""
    found = []
    for inputs, hidden in zip(held_out.inputs.split(size), held_out.hidden.split(size), strict=True):
        places = model.bert(inputs, (inputs != PAD).long()).last_hidden_state[hidden]
        found.append(model.cls.predictions(places).argmax(dim=-1))
    return torch.cat(found)


def accuracy(guessed: Tensor, held_out: Gaps) -> float:
    """The share of hidden places that were guessed rightly.   guessed: (M,) in the order of the rows"""
    return (guessed == held_out.ids[held_out.hidden]).double().mean().item()


def masked_accuracy(model: BertForPreTraining, held_out: Gaps) -> float:
    """The share of hidden places at which the model finds the token."""
    return accuracy(guesses(model, held_out), held_out)


class Neighbours:
    """What counting knows of a gap: the most frequent token, the likeliest after the left neighbour, the likeliest between both."""

    def __init__(self, found: Sequence[Chunk]):
        rows = [[CLS, *itertools.chain(*chunk.sentences), SEP] for chunk in found]
        self.single = Counter(i for row in rows for i in row if i > MASK)
        self.pair = Counter(pair for row in rows for pair in itertools.pairwise(row))
        self.likeliest = max(self.single, key=lambda w: (self.single[w], -w))
        self.after: dict[int, list[int]] = {}
        for left, right in self.pair:
            if right > MASK:
                self.after.setdefault(left, []).append(right)

    def most_frequent(self, held_out: Gaps) -> Tensor:
        """The same guess at every hidden place.   -> (M,)"""
        return torch.full((int(held_out.hidden.sum()),), self.likeliest)

    def bigram(self, held_out: Gaps) -> Tensor:
        """The token that followed the left neighbour most often; the most frequent one where that is hidden, too.   -> (M,)"""
        return self._each(held_out, lambda left, right: self._likeliest_after(left))

    def both_sides(self, held_out: Gaps) -> Tensor:
        """The w with the largest count(left w) · count(w right) / count(w); as `bigram` where no token was seen between the two."""

        def between(left: int, right: int) -> int:
            scores = {w: self.pair[left, w] * self.pair[w, right] / self.single[w] for w in self.after.get(left, ())}
            best = max(scores, key=lambda w: (scores[w], -w), default=None)
            return best if best is not None and scores[best] > 0 else self._likeliest_after(left)

        return self._each(held_out, between)

    def _each(self, held_out: Gaps, guess: Callable[[int, int], int]) -> Tensor:
        places = held_out.hidden.nonzero().tolist()
        inputs = held_out.inputs.tolist()
        return torch.tensor([guess(inputs[i][t - 1], inputs[i][t + 1]) for i, t in places])

    def _likeliest_after(self, left: int) -> int:
        return max(self.after.get(left, ()), key=lambda w: (self.pair[left, w], -w), default=self.likeliest)


@torch.no_grad()
def belongs_accuracy(model: BertForPreTraining, found: Sequence[Chunk], seed: int = 0) -> float:
    """The share of pairs, half of them exchanged, of which the model says rightly whether B follows A; nothing is hidden."""
    pairs = _pairs(found, torch.Generator().manual_seed(seed))
    right = 0
    for start in range(0, len(pairs), 32):
        some = pairs[start : start + 32]
        batch = _batch(some, VOCAB_SIZE, torch.Generator().manual_seed(seed))
        ids = torch.where(batch.labels == NO_TARGET, batch.input_ids, batch.labels)
        logits = model(ids, batch.attention_mask, batch.token_type_ids).seq_relationship_logits
        right += int((logits.argmax(dim=-1) == batch.next_sentence_label).sum())
    return right / len(pairs)


@torch.no_grad()
def pseudo_log_probs(model: BertForPreTraining, ids: Sequence[int], size: int = 32) -> np.ndarray:
    """ln p of each token of a row, hidden alone, given all others.   T ids without special tokens, at most LONGEST - 2 -> (T,)

    Source: Salazar et al. 2020. These are no probabilities of the text: they do not multiply to one.
    """
    if len(ids) > LONGEST - 2:
        raise LmkitError(f"{len(ids)} tokens do not fit into {LONGEST} places beside [CLS] and [SEP]: give at most {LONGEST - 2}")
    if not len(ids):
        return np.zeros(0)
    row = torch.tensor([CLS, *ids, SEP])
    places = torch.arange(1, len(ids) + 1)
    found = []
    for some in places.split(size):
        inputs = row.repeat(len(some), 1)
        inputs[torch.arange(len(some)), some] = MASK
        hidden = model.bert(inputs).last_hidden_state[torch.arange(len(some)), some]
        found.append(-F.cross_entropy(model.cls.predictions(hidden).double(), row[some], reduction="none"))
    return torch.cat(found).numpy()
