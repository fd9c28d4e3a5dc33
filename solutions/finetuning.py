"""Chapter 10, fine-tuning: heads for classes, labels and spans, what is frozen, adapters, LoRA, and an encoder fine-tuned on topics."""

import copy
import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, BertForPreTraining

from lmkit import minis
from lmkit.train import NO_TARGET, Budget, TrainConfig, train


class ClassificationHead(nn.Module):
    """Logits of K classes for each sequence, from an encoder's states: pooling, dropout, one linear layer.

    Part: linear (C to K); no other parameters. pooling: "mean", over the real tokens, or "first", the token at place 0.
    """

    def __init__(self, C: int, K: int, pooling: str = "mean", dropout: float = 0.1):
        """C: width; K: classes; dropout: the probability that a number of the pooled vector is dropped. Other poolings: ValueError."""
        super().__init__()
        if pooling not in ("mean", "first"):
            raise ValueError(f'pooling is "mean" or "first", not {pooling!r}')
        self.pooling = pooling
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(C, K)

    def forward(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """states: (B, T, C); attention_mask: (B, T), 1 or True at real tokens, at least one a row -> (B, K)

        What stands at padding changes nothing. In training mode the pooled vector goes through dropout.
        """
        vectors = states[:, 0]  # (B, C)
        if self.pooling == "mean":
            real = attention_mask.to(states.dtype)
            vectors = torch.einsum("bt,btc->bc", real, states) / real.sum(dim=1, keepdim=True)
        return self.linear(self.dropout(vectors))


def freeze(model: nn.Module, trainable: Sequence[str]) -> tuple[int, int]:
    """Let only the parameters under these names ask for a gradient. Returns how many numbers are trained, and how many there are.

    trainable: beginnings of names, whole parts of them: "layer.1" stands for layer.1 and all below it, not for layer.10. A parameter
    with several names is trained if one of them fits, and counts once. Errors: ValueError where a beginning fits no name;
    then nothing is changed.
    """
    named = list(model.named_parameters(remove_duplicate=False))
    under = {start: {one for name, one in named if f"{name}.".startswith(f"{start}.")} for start in trainable}
    for start, found in under.items():
        if not found:
            raise ValueError(f"no parameter of the model stands under {start!r}")
    chosen, every = set().union(*under.values()), {one for _, one in named}
    for one in every:
        one.requires_grad_(one in chosen)
    return sum(one.numel() for one in chosen), sum(one.numel() for one in every)


def align_labels(labels: Sequence[str], word_ids: Sequence[int | None], names: Sequence[str], every_piece: bool = False) -> list[int]:
    """Labels of words as targets for the places of a tokenized sentence.   -> T numbers: indices in `names`, or -100

    labels: one for each word; word_ids: for each place the number of its word, None at special tokens and padding.
    The first place of a word gets the word's label. Further places get -100, or with every_piece the label too, B-… turned into I-….
    """
    targets = []
    for before, word in pairwise([None, *word_ids]):
        if word is None or (word == before and not every_piece):
            targets.append(NO_TARGET)
            continue
        label = labels[word]
        if word == before and label.startswith("B-"):
            label = f"I-{label[2:]}"
        targets.append(names.index(label))
    return targets


def word_labels(logits: Tensor, word_ids: Sequence[int | None], names: Sequence[str], n: int) -> list[str]:
    """One label for each of n words: that with the greatest logit at the word's first place.   logits: (T, K) -> n of the names

    The first of equal logits counts. A word that has no place, such as one that was cut off, gets "O".
    """
    found = ["O"] * n
    best = logits.argmax(dim=-1).tolist()
    for t in reversed(range(len(word_ids))):  # the first place comes last, and stays
        if word_ids[t] is not None:
            found[word_ids[t]] = names[best[t]]
    return found


def best_span(start: Tensor, end: Tensor, in_context: Tensor, longest: int) -> tuple[int, int] | None:
    """The first and the last place of the likeliest answer; None where the context has no place.

    start, end: logits (T,); in_context: (T,) bool, one stretch of places; longest: tokens of an answer, at most.
    The answer lies in the context, begins no later than it ends, and has the greatest start[i] + end[j]. Of equal ones that which
    begins first counts, then that which ends first. Source: Devlin et al. 2019, section 4.2.
    """
    T = len(start)
    length = torch.arange(T) - torch.arange(T)[:, None] + 1  # (T, T) of the answer from row to column
    allowed = in_context[:, None] & in_context & (length >= 1) & (length <= longest)
    if not allowed.any():
        return None
    best = (start[:, None] + end).masked_fill(~allowed, -math.inf).argmax()  # row by row: the first of equal ones
    return int(best) // T, int(best) % T


class Adapter(nn.Module):
    """A detour through `width` numbers, added to what goes by; at first it adds nothing.

    Parts: down (C to width) and up (width to C), linear layers with biases; up begins with zeros, down as torch draws it.
    """

    def __init__(self, C: int, width: int):
        super().__init__()
        self.down, self.up = nn.Linear(C, width), nn.Linear(width, C)
        with torch.no_grad():
            for one in self.up.parameters():
                one.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """x + up(GELU(down(x))), the exact GELU.   x: (…, C) -> (…, C); x is not changed. Source: Houlsby et al. 2019, section 2.1."""
        return x + self.up(F.gelu(self.down(x)))


class LoRALinear(nn.Module):
    """A linear layer that stays as it is, and beside it a change of rank r that is trained: x W^T + b + (alpha / r) x A^T B^T.

    Parts: linear, the layer that was given, frozen; A (r, in) drawn as torch draws the weights of a linear layer; B (out, r) zeros.
    Source: Hu et al. 2022, section 4.1.
    """

    def __init__(self, linear: nn.Linear, r: int, alpha: float):
        super().__init__()
        self.linear, self.scale = linear.requires_grad_(False), alpha / r
        self.A = nn.Parameter(linear.weight.new_empty(r, linear.in_features))
        self.B = nn.Parameter(linear.weight.new_zeros(linear.out_features, r))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """x: (…, in) -> (…, out)"""
        return self.linear(x) + self.scale * (x @ self.A.T @ self.B.T)

    def merged(self) -> nn.Linear:
        """A new linear layer, with memory of its own, that computes the same. This module is left as it is."""
        linear = copy.deepcopy(self.linear)
        with torch.no_grad():
            linear.weight += self.scale * self.B @ self.A
        return linear


class TopicClassifier(nn.Module):
    """bert-mini with a head on the mean of its last states, all of it trained on a few hundred labelled texts."""

    T = 64  # tokens of a text that are read

    def __init__(self, K: int):
        """K: classes. The head is drawn by torch's own generator."""
        super().__init__()
        folder = minis.folder("bert-mini")
        self.tokens = AutoTokenizer.from_pretrained(folder)
        self.encoder = BertForPreTraining.from_pretrained(folder).bert
        self.head = ClassificationHead(self.encoder.config.hidden_size, K)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Logits for each text.   N texts, N >= 1 -> (N, K)"""
        batch = self.tokens(list(texts), padding=True, truncation=True, max_length=self.T, return_tensors="pt")
        states = self.encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state
        return self.head(states, batch["attention_mask"])

    def fit(self, texts: Sequence[str], labels: Sequence[int], generator: torch.Generator) -> None:
        """Train the encoder and the head on these texts; for 360, ten seconds are enough, as a rule. The generator draws the order."""
        passes, size = 2, 8

        def batches():
            while True:
                yield from torch.randperm(len(texts), generator=generator).split(size)

        def loss(model: nn.Module, chosen: Tensor) -> Tensor:
            return F.cross_entropy(model([texts[i] for i in chosen.tolist()]), torch.tensor(labels)[chosen])

        rates = [{"params": self.encoder.parameters(), "lr": 1e-3}, {"params": self.head.parameters(), "lr": 1e-2}]
        steps = passes * math.ceil(len(texts) / size)
        train(self, batches(), loss, Budget(steps=steps), TrainConfig(final_rate=0.0, warmup=0.1), optimizer=torch.optim.AdamW(rates))


def interval(scores: Sequence[float]) -> tuple[float, float, float]:
    """Mean of the scores, and the two ends of its 95% interval by Student's t.

    scores: n numbers, n >= 2, one a seed; the ends lie t s / sqrt(n) from the mean, with n - 1 degrees of freedom.
    """
    mean, n = statistics.fmean(scores), len(scores)
    half = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(scores) / math.sqrt(n)
    return mean, mean - half, mean + half
