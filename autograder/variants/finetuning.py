"""Variants of the solutions of chapter 10, fine-tuning: the mistakes that students make, and other right answers."""

import math

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F
from transformers import AutoTokenizer, BertForPreTraining, BertModel

from autograder.variant import edited, right, wrong
from lmkit import minis

# ClassificationHead

_MEAN = 'torch.einsum("bt,btc->bc", real, states) / real.sum(dim=1, keepdim=True)'
edited(
    __name__,
    "padding_in_the_mean",
    of="ClassificationHead",
    edits={_MEAN: "states.mean(dim=1)"},
    fails="check_head_by_hand",
    says="padding is part of the mean",
)
edited(
    __name__,
    "divided_by_all_places",
    of="ClassificationHead",
    edits={"real.sum(dim=1, keepdim=True)": "real.shape[1]"},
    fails="check_head_by_hand",
    says="divide by the number of real ones",
)
edited(
    __name__,
    "always_drops",
    of="ClassificationHead",
    edits={"self.linear(self.dropout(vectors))": "self.linear(F.dropout(vectors, 0.1))"},
    fails="check_head_by_hand",
    says="in evaluation mode two calls give two results",
)
edited(
    __name__,
    "drops_states",
    of="ClassificationHead",
    edits={"vectors = states[:, 0]  # (B, C)": "states = self.dropout(states)\n        vectors = states[:, 0]",
           "self.linear(self.dropout(vectors))": "self.linear(vectors)"},
    fails="check_dropout_of_the_pooled",
    says="states and logits are not dropped",
)  # fmt: skip
edited(
    __name__,
    "drops_logits",
    of="ClassificationHead",
    edits={"self.linear(self.dropout(vectors))": "self.dropout(self.linear(vectors))"},
    fails="check_dropout_of_the_pooled",
    says="the pooled vector goes through nn.Dropout, before the linear layer",
)
edited(
    __name__,
    "asserts_the_pooling",
    of="ClassificationHead",
    edits={'            raise ValueError(f\'pooling is "mean" or "first", not {pooling!r}\')': "            assert False, pooling"},
    fails="check_head_of_library",
    says="raised AssertionError, expected ValueError",
)


@right(of="ClassificationHead")
class RowByRow(nn.Module):
    def __init__(self, C, K, pooling="mean", dropout=0.1):
        super().__init__()
        if pooling != "mean" and pooling != "first":
            raise ValueError(pooling)
        self.linear, self.p, self.first = nn.Linear(C, K), dropout, pooling == "first"
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, states, attention_mask):
        rows = []
        for row, mask in zip(states, attention_mask, strict=True):
            rows.append(row[0] if self.first else row[mask.bool()].mean(dim=0))
        return self.linear(F.dropout(torch.stack(rows), self.p, self.training))


# freeze

edited(
    __name__,
    "beginnings_of_words",
    of="freeze",
    edits={'f"{name}.".startswith(f"{start}.")': "name.startswith(start)"},
    fails="check_freeze_bert",
    says="layer.10 is not layer.1",
)
edited(
    __name__,
    "counted_twice",
    of="freeze",
    edits={"sum(one.numel() for one in every)": "sum(one.numel() for _, one in named)"},
    fails="check_shared_table",
    says="a parameter with two names counts once",
)
edited(
    __name__,
    "one_name_each",
    of="freeze",
    edits={"named_parameters(remove_duplicate=False)": "named_parameters()"},
    fails="check_shared_table",
    says="with remove_duplicate=False it gives all",
)
edited(
    __name__,
    "only_ever_freezes",
    of="freeze",
    edits={"one.requires_grad_(one in chosen)": "one.requires_grad_(one.requires_grad and one in chosen)"},
    fails="check_shared_table",
    says="does not ask for a gradient, and it should",
)
edited(
    __name__,
    "all_before_trained",
    of="freeze",
    edits={"sum(one.numel() for one in chosen), sum(one.numel() for one in every)": "*(sum(one.numel() for one in ones) "
           "for ones in (every, chosen)),"},
    fails="check_freeze_by_hand",
    says="first how many are trained",
)  # fmt: skip


@right(of="freeze")
def by_parts(model, trainable):
    starts = [start.split(".") for start in trainable]
    found, sizes, hits = {}, {}, set()
    for name, one in model.named_parameters(remove_duplicate=False):
        parts = name.split(".")
        fits = {i for i, start in enumerate(starts) if parts[: len(start)] == start}
        hits |= fits
        found.setdefault(id(one), (one, []))[1].append(bool(fits))
        sizes[id(one)] = np.int64(one.nelement())
    if len(hits) < len(starts):
        raise ValueError("a name that fits nothing")
    for one, fits in found.values():
        one.requires_grad = any(fits)
    return [sum((sizes[key] for key, (_, fits) in found.items() if any(fits)), np.int64(0)), sum(sizes.values())]


# align_labels

edited(
    __name__,
    "one_label_after_the_other",
    of="align_labels",
    edits={"    targets = []": "    targets, rest = [], iter(labels)",
           "label = labels[word]": "label = label if word == before else next(rest)"},
    fails="check_align_at_the_ends",
    says="word 1 has no piece",
)  # fmt: skip
edited(
    __name__,
    "every_piece_always",
    of="align_labels",
    edits={" or (word == before and not every_piece)": ""},
    fails="check_align_by_hand",
    says="this is a further piece of its word",
)
edited(
    __name__,
    "many_beginnings",
    of="align_labels",
    edits={'word == before and label.startswith("B-")': "False"},
    fails="check_align_every_piece",
    says="a name begins once",
)
edited(
    __name__,
    "outside_at_special_tokens",
    of="align_labels",
    edits={"targets.append(NO_TARGET)": "targets.append(NO_TARGET if word is not None else 0)"},
    fails="check_align_by_hand",
    says="special tokens get -100",
)


@right(of="align_labels")
def from_the_words(labels, word_ids, names, every_piece=False):
    targets = np.full(len(word_ids), -100)
    for word in {one for one in word_ids if one is not None}:
        places = [t for t, one in enumerate(word_ids) if one == word]
        label = labels[word]
        targets[places[0]] = list(names).index(label)
        if every_piece:
            targets[places[1:]] = list(names).index("I-" + label[2:] if label.startswith("B-") else label)
    return [*targets]


# word_labels

edited(
    __name__,
    "last_piece_counts",
    of="word_labels",
    edits={"reversed(range(len(word_ids)))": "range(len(word_ids))"},
    fails="check_words_by_hand",
    says="its last piece says so; the first counts",
)
edited(
    __name__,
    "the_first_n_places",
    of="word_labels",
    edits={"found[word_ids[t]] = names[best[t]]": "found[word_ids[t]] = names[best[word_ids[t]]]"},
    fails="check_words_by_hand",
    says="this is what stands at [CLS]",
)


@wrong(of="word_labels", fails="check_words_of_library", says="got 2 labels, expected 4, one for each word")
def no_label_without_a_place(logits, word_ids, names, n):
    found, last = [], None
    for word, row in zip(word_ids, logits, strict=True):
        if word is not None and word != last:
            found.append(names[int(row.argmax())])
            last = word
    return found


@right(of="word_labels")
def place_after_place(logits, word_ids, names, n):
    found = {}
    for word, row in zip(word_ids, logits.tolist(), strict=True):
        if word is not None and word not in found:
            found[word] = names[max(range(len(row)), key=lambda k: (row[k], -k))]
    return tuple(found.get(word, "O") for word in range(n))


# best_span

edited(
    __name__,
    "each_end_by_itself",
    of="best_span",
    edits={"    T = len(start)": "    T, inside = len(start), in_context.nonzero().flatten()\n    if len(inside):\n"
           "        return int(inside[start[inside].argmax()]), int(inside[end[inside].argmax()])"},
    fails="check_span_by_hand",
    says="that answer has three places; longest is 2",
)  # fmt: skip
edited(
    __name__,
    "ends_before_it_begins",
    of="best_span",
    edits={"(length >= 1)": "(length >= -T)"},
    fails="check_span_begins_before_it_ends",
    says="it ends before it begins",
)
edited(
    __name__,
    "one_place_too_few",
    of="best_span",
    edits={"(length <= longest)": "((length < longest) | (length == 1))"},
    fails="check_span_by_hand",
    says="an answer of exactly 3 places is allowed",
)
edited(
    __name__,
    "last_of_equal_ones",
    of="best_span",
    edits={".argmax()": ".flatten().flip(0).argmax()",
           "return int(best) // T, int(best) % T": "return (T * T - 1 - int(best)) // T, (T * T - 1 - int(best)) % T"},
    fails="check_span_begins_before_it_ends",
    says="and begins first",
)  # fmt: skip


@wrong(of="best_span", fails="check_span_begins_before_it_ends", says="got None, expected (2, 2): logits may all be negative")
def score_to_beat_is_zero(start, end, in_context, longest):
    starts, ends, inside = start.tolist(), end.tolist(), in_context.tolist()
    best, span = 0, None
    for i in range(len(starts)):
        for j in range(i, min(len(starts), i + longest)):
            if inside[i] and inside[j] and starts[i] + ends[j] > best:
                best, span = starts[i] + ends[j], (i, j)
    return span


@right(of="best_span")
def end_by_end(start, end, in_context, longest):
    starts, ends = start.tolist(), end.tolist()
    inside, best = [t for t, here in enumerate(in_context) if here], None
    for i in inside:
        for j in range(i, min(i + longest, inside[-1] + 1)):
            if best is None or starts[i] + ends[j] > starts[best[0]] + ends[best[1]]:
                best = [np.int64(i), np.int64(j)]
    return best


# Adapter

_DETOUR = "x + self.up(F.gelu(self.down(x)))"
edited(
    __name__,
    "no_way_past",
    of="Adapter",
    edits={_DETOUR: "self.up(F.gelu(self.down(x)))"},
    fails="check_adapter_adds_nothing_at_first",
    says="the detour is added to x",
)
edited(
    __name__,
    "up_as_drawn",
    of="Adapter",
    edits={"one.zero_()": "one.mul_(0.5)"},
    fails="check_adapter_adds_nothing_at_first",
    says="set up.weight and up.bias to 0",
)
edited(
    __name__,
    "all_zeros",
    of="Adapter",
    edits={"self.up.parameters()": "self.parameters()"},
    fails="check_adapter_adds_nothing_at_first",
    says="no gradient ever reaches a weight",
)
edited(
    __name__,
    "activation_behind",
    of="Adapter",
    edits={_DETOUR: "x + F.gelu(self.up(self.down(x)))"},
    fails="check_adapter_by_hand",
    says="GELU stands between down and up, not behind up",
)


@right(of="Adapter")
class InSequence(nn.Module):
    def __init__(self, C, width):
        super().__init__()
        self.down = nn.Linear(C, width)
        self.up = nn.Linear(width, C)
        for name in ("weight", "bias"):
            nn.init.zeros_(getattr(self.up, name))

    def forward(self, x):
        z = self.down(x)
        return torch.add(self.up(z * (1 + torch.erf(z / math.sqrt(2))) / 2), x)


# LoRALinear

edited(
    __name__,
    "not_scaled",
    of="LoRALinear",
    edits={"self.scale = linear.requires_grad_(False), alpha / r": "self.scale = linear.requires_grad_(False), 1"},
    fails="check_lora_by_hand",
    says="the change is multiplied by alpha / r",
)
edited(
    __name__,
    "layer_still_learns",
    of="LoRALinear",
    edits={"linear.requires_grad_(False)": "linear"},
    fails="check_lora_at_first",
    says="linear.weight asks for a gradient",
)
edited(
    __name__,
    "both_drawn",
    of="LoRALinear",
    edits={"nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))": "[nn.init.normal_(one) for one in (self.A, self.B)]"},
    fails="check_lora_at_first",
    says="B is not 0",
)
edited(
    __name__,
    "merged_into_itself",
    of="LoRALinear",
    edits={"copy.deepcopy(self.linear)": "self.linear"},
    fails="check_lora_of_peft",
    says="the result of merged()",
)


@right(of="LoRALinear")
class ByTheWeight(nn.Module):
    def __init__(self, linear, r, alpha):
        super().__init__()
        for one in linear.parameters():
            one.requires_grad = False
        out, width = linear.weight.shape
        drawn = nn.Linear(width, r, bias=False, dtype=linear.weight.dtype)
        self.linear, self.alpha, self.r = linear, alpha, r
        self.A = drawn.weight
        self.B = nn.Parameter(torch.zeros(out, r, dtype=linear.weight.dtype))

    def weight(self):
        return self.linear.weight + self.alpha * (self.B @ self.A) / self.r

    def forward(self, x):
        return F.linear(x, self.weight(), self.linear.bias)

    def merged(self):
        out, width = self.linear.weight.shape
        new = nn.Linear(width, out, bias=self.linear.bias is not None, dtype=self.linear.weight.dtype)
        new.weight = nn.Parameter(self.weight().detach())
        if self.linear.bias is not None:
            new.bias.data.copy_(self.linear.bias.data)
        return new


# TopicClassifier: written out, so that none depends on another exercise's answer


class _FirstToken(nn.Module):
    """bert-mini and a linear layer on its first token."""

    steps, trains_encoder, uses_mask = 90, True, True

    def __init__(self, K):
        super().__init__()
        self.read = AutoTokenizer.from_pretrained(minis.folder("bert-mini"))
        self.bert = BertForPreTraining.from_pretrained(minis.folder("bert-mini")).bert
        self.out = nn.Linear(self.bert.config.hidden_size, K)

    def forward(self, texts):
        batch = self.read(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
        if not self.uses_mask:
            del batch["attention_mask"]
        return self.out(self.bert(**batch).last_hidden_state[:, 0])

    def fit(self, texts, labels, generator):
        self.bert.requires_grad_(self.trains_encoder)
        groups = [{"params": self.bert.parameters(), "lr": 1e-3, "peak": 1e-3}, {"params": self.out.parameters(), "lr": 1e-2, "peak": 1e-2}]
        optimizer = torch.optim.AdamW(groups)
        order = torch.cat([torch.randperm(len(texts), generator=generator) for _ in range(3)])
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * min((step + 1) / 8, 1 - step / self.steps)
            rows = order[8 * step : 8 * step + 8].tolist()
            loss = F.cross_entropy(self([texts[i] for i in rows]), torch.tensor([labels[i] for i in rows]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()


@right(of="TopicClassifier")
class WithAPlainLoop(_FirstToken):
    def forward(self, texts):
        batch = self.read(list(texts), padding=True, truncation=True, max_length=64, return_tensors="pt")
        states = self.bert(**batch).last_hidden_state
        real = batch["attention_mask"][..., None].bool()
        return self.out((states * real).sum(1) / real.sum(1))


@wrong(of="TopicClassifier", fails="check_untrained_classifier", says="hand the attention mask to the encoder")
class NoMask(_FirstToken):
    uses_mask = False


@wrong(of="TopicClassifier", fails="check_untrained_classifier", says="bert-mini's weights are not among its parameters")
class FromScratch(_FirstToken):
    def __init__(self, K):
        super().__init__(K)
        self.bert = BertModel(self.bert.config)


@wrong(of="TopicClassifier", fails="check_above_counting", says="fit trains the encoder, too")
class FrozenEncoder(_FirstToken):
    steps, trains_encoder = 2, False


@wrong(of="TopicClassifier", fails="check_above_counting", says="too few steps")
class StopsEarly(_FirstToken):
    steps = 2


# interval

edited(
    __name__,
    "normal_distribution",
    of="interval",
    edits={"stats.t.ppf(0.975, n - 1)": "stats.norm.ppf(0.975)"},
    fails="check_interval_by_hand",
    says="with three scores t is 4.303",
)
edited(
    __name__,
    "not_by_the_root",
    of="interval",
    edits={" / math.sqrt(n)": ""},
    fails="check_interval_by_hand",
    says="divide the standard deviation by the root of n",
)
edited(
    __name__,
    "squares_by_n",
    of="interval",
    edits={"statistics.stdev(scores)": "statistics.pstdev(scores)"},
    fails="check_interval_by_hand",
    says="divide the sum of squares by n - 1",
)
edited(
    __name__,
    "rounded",
    of="interval",
    edits={"return mean, mean - half, mean + half": "return tuple(round(one, 3) for one in (mean, mean - half, mean + half))"},
    fails="check_interval_by_hand",
    says="is t rounded, or the result?",
)


@wrong(of="interval", fails="check_interval_of_scipy", says="stopped with ValueError: math domain error")
def mean_of_squares(scores):
    n, mean = len(scores), sum(scores) / len(scores)
    s = math.sqrt((sum(one * one for one in scores) - n * mean * mean) / (n - 1))
    half = float(stats.t.ppf(0.975, n - 1)) * s / math.sqrt(n)
    return mean, mean - half, mean + half


@right(of="interval")
def with_arrays(scores):
    values = np.array(scores)
    half = stats.t.interval(0.95, len(values) - 1)[1] * values.std(ddof=1) / np.sqrt(len(values))
    return np.array([values.mean(), values.mean() - half, values.mean() + half]).tolist()
