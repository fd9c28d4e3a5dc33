"""Checks of the exercises of chapter 10, fine-tuning."""

import math
import statistics
from functools import lru_cache

import numpy as np
import torch
from scipy.stats import binom, ttest_1samp
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    BertForTokenClassification,
    TokenClassificationPipeline,
    XmodConfig,
)
from transformers.models.layoutlmv2.tokenization_layoutlmv2 import LayoutLMv2Tokenizer
from transformers.models.xmod.modeling_xmod import XmodAdapter
from transformers.pipelines.document_question_answering import select_starts_ends
from transformers.pipelines.token_classification import AggregationStrategy

from lmkit import entities, finetuning, minis, pretrained, topics
from lmkit.check import hidden, visible
from lmkit.compare import ask, assert_close, assert_gradients, shown, tensor
from lmkit.subject import find, gradients, make

HIDES = ("lmkit.finetuning", "peft")  # while work is graded: they hold what several exercises ask for


def _drawn(shape, seed, dtype=torch.float64):
    """Random numbers, most of them between -2 and 2."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _assert_parameters(what, module, shapes, advice):
    """AssertionError where a student's module has parameters of other names or shapes than these."""
    try:
        own = {name: tuple(one.shape) for name, one in module.named_parameters()}
    except AttributeError:
        raise AssertionError(f"{what} is no nn.Module whose super().__init__() has run: write `class …(nn.Module)`, and call it") from None
    for name in (*shapes, *own):
        assert name in own, f"{what} has no parameter {name}; it has {', '.join(own) or 'none'}: {advice}"
        assert name in shapes, f"{what} has a parameter {name}, which does not belong there: {advice}"
        assert own[name] == shapes[name], f"{what}: its parameter {name} has the shape {own[name]}, expected {shapes[name]}"


# 10.1 A head for classes

_PARTS_OF_HEAD = "its one part with parameters is linear, an nn.Linear(C, K)"


def _head(ClassificationHead, state, *settings):
    """A student's head with these weights, in float64 and in evaluation mode. settings: pooling and dropout, or fewer."""
    K, C = state["linear.weight"].shape
    head = ClassificationHead(C, K, *settings)
    what = f"ClassificationHead({', '.join(map(repr, (C, K, *settings)))})"
    _assert_parameters(what, head, {"linear.weight": (K, C), "linear.bias": (K,)}, _PARTS_OF_HEAD)
    head = head.double()
    head.load_state_dict(state, strict=False)  # a student's module may have buffers of its own
    head = head.eval()
    given = _drawn((100, 2, C), 0), torch.ones(100, 2, dtype=torch.int64)
    first, again = (tensor(f"{what}, states of shape (100, 2, {C}): the logits", head(*given), (100, K), "(B, K)") for _ in range(2))
    assert torch.equal(first, again), f"{what}: in evaluation mode two calls give two results: nothing is dropped there"
    return head


def _head_state(C, K, seed):
    return {"linear.weight": _drawn((K, C), seed), "linear.bias": _drawn((K,), seed + 1)}


@visible(points=0.5)
def check_head_by_hand(ClassificationHead):
    """The worked example: the mean of the two real tokens, and the first token"""
    state = {"linear.weight": torch.tensor([[1.0, 0.0], [0.0, -1.0]]).double(), "linear.bias": torch.tensor([0.0, 10.0]).double()}
    states, mask = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]]).double(), torch.tensor([[1, 1, 0]])

    def logits(*vector):
        return [[vector[0], 10 - vector[1]]]

    slips = [
        (logits(13 / 3, 5), "padding is part of the mean: count the places where attention_mask is 1"),
        (logits(4 / 3, 2), "the sum of the real places is divided by all T places: divide by the number of real ones"),
        (logits(4, 6), "this is the sum of the real places, not their mean"),
        (logits(9, 9), "the last place is padding"),
        (logits(3, 4), "this is the last real place"),
        ([[2.0, -3.0]], "the bias of the linear layer is missing"),
        (torch.tensor([[2.0, 7.0]]).softmax(-1), "these are probabilities; return the logits"),
    ]
    for pooling, want, other in (("mean", (2, 3), (1, 2)), ("first", (1, 2), (2, 3))):
        what = f'the worked example, pooling "{pooling}"'
        head = _head(ClassificationHead, state, pooling)
        got = tensor(f"{what}: the logits", head(states.clone(), mask.clone()), (1, 2), "(B, K)")
        known = [*slips, (logits(*other), f'this is the other pooling; "{pooling}" is asked for')]
        assert_close(f"{what}: the logits", got, torch.tensor(logits(*want)), known)


def _batch(B, T, C, seed):
    """States, and a mask: row b has T - b real places, at least one."""
    mask = torch.arange(T) < torch.tensor([max(T - b, 1) for b in range(B)])[:, None]
    return _drawn((B, T, C), seed), mask.long()


@visible(points=0.5)
def check_padding_changes_nothing(ClassificationHead):
    """A row has the same logits alone, and beside longer ones, whatever stands at its padding"""
    states, mask = _batch(4, 4, 3, 1)
    for pooling in ("mean", "first"):
        head = _head(ClassificationHead, _head_state(3, 5, 2), pooling)
        alone = [head(states[b : b + 1, :n].clone(), torch.ones(1, n).long()) for b, n in enumerate(mask.sum(1).tolist())]
        want = torch.cat([tensor(f'pooling "{pooling}", a row alone', one, (1, 5), "(B, K)") for one in alone])
        for filling, kind in ((0.0, "int64"), (1000.0, "int64"), (-7.0, "bool")):
            padded = torch.full((4, 7, 3), filling, dtype=torch.float64)
            padded[:, :4] = torch.where(mask[..., None].bool(), states, filling)
            longer = F.pad(mask, (0, 3))
            what = f'pooling "{pooling}", four rows of 7 places, {filling:g} at padding, mask of type {kind}'
            got = tensor(what, head(padded, longer.bool() if kind == "bool" else longer), (4, 5), "(B, K)")
            assert_close(f"{what}: against each row alone, the logits", got, want)


class _OracleHead(nn.Module):
    """Row by row, without padding."""

    def __init__(self, state):
        super().__init__()
        self.linear = nn.Linear(*reversed(state["linear.weight"].shape)).double()
        self.load_state_dict(state)

    def forward(self, states, mask):
        return self.linear(torch.stack([row[real.bool()].mean(0) for row, real in zip(states, mask, strict=True)]))


@hidden(points=0.5)
def check_head_of_library(ClassificationHead):
    """First token: what transformers' classifier says there; mean: rows without padding; gradients, float32, other poolings"""
    library = _token_classifier(5, 11).double()
    state = {f"linear.{name}": one.detach() for name, one in library.classifier.named_parameters()}
    ids, (states, mask) = torch.tensor([[2, 7, 9, 3], [2, 5, 3, 0]]), _batch(2, 4, 8, 3)
    with torch.no_grad():
        states = library.bert(ids, mask).last_hidden_state
        want = library(ids, mask).logits[:, 0]
    head = _head(ClassificationHead, state, "first")
    what = 'the states of a BertForTokenClassification, pooling "first"'
    assert_close(f"{what}: the logits", tensor(what, head(states, mask), (2, 5), "(B, K)"), want)
    for B, T, C, K in ((1, 1, 4, 2), (5, 6, 3, 7), (3, 9, 6, 1)):
        what = f'pooling "mean", states of shape {(B, T, C)}, {K} class(es)'
        (states, mask), state = _batch(B, T, C, T), _head_state(C, K, C)
        mask = mask.flip(1)  # padding in front
        head, oracle, kept, real = _head(ClassificationHead, state, "mean"), _OracleHead(state), states.clone(), mask.clone()
        with torch.no_grad():
            want = oracle(states, mask)
        assert_close(f"{what}: the logits", tensor(what, head(states, mask), (B, K), "(B, K)"), want)
        assert torch.equal(states, kept), f"{what}: the states that were given are changed: work on a copy"
        assert torch.equal(mask, real), f"{what}: the mask that was given is changed: work on a copy"
        names = {name: name for name in state}
        assert_gradients(what, head, oracle, (states, mask), ("what goes in",), _drawn((B, K), 9), names)
        single = tensor(f"{what}, float32", head.float()(states.float(), mask), (B, K), "(B, K)")
        assert single.dtype == torch.float32, f"{what}, float32: the logits have the type {single.dtype}"
        assert_close(f"{what}, float32: the logits", single, want, tolerance=1e-4)
    for other in ("max", "cls", ""):
        try:
            ClassificationHead(4, 2, other)
        except ValueError:
            continue
        except AssertionError:
            raise AssertionError(f'ClassificationHead(4, 2, "{other}") raised AssertionError, expected ValueError') from None
        raise AssertionError(f'ClassificationHead(4, 2, "{other}"): expected a ValueError; there are two poolings, "mean" and "first"')


def _token_classifier(K, V, **labels):
    """A tiny BertForTokenClassification with random weights, in evaluation mode."""
    sizes = {"vocab_size": V, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        library = BertForTokenClassification(BertConfig(**sizes, **(labels or {"num_labels": K}))).eval()
        for one in library.classifier.parameters():
            nn.init.normal_(one)
    return library


@hidden(points=0.5)
def check_dropout_of_the_pooled(ClassificationHead):
    """In training mode numbers of the pooled vector are dropped, the others scaled; none with dropout = 0"""
    C, B = 32, 300
    state = {"linear.weight": torch.eye(C).double(), "linear.bias": torch.ones(C).double()}
    mask = torch.tensor([[1, 1, 0]]).expand(B, 3).contiguous()
    states = 1 + _drawn((B, 3, C), 5).abs()
    mean = states[:, :2].mean(1)
    for settings, pooled, p in ((("mean", 0.25), mean, 0.25), (("first", 0.25), states[:, 0], 0.25), ((), mean, 0.1)):
        asked = f'pooling "{settings[0]}", dropout {p}' if settings else "neither pooling nor dropout named (so 0.1)"
        what = f"training mode, {asked}, a linear layer that copies the pooled vector (and adds 1, which is left out here)"
        head = _head(ClassificationHead, state, *settings).train()
        make(ClassificationHead, "torch.manual_seed", 6)
        got = tensor(what, head(states.clone(), mask.clone()), (B, C), "(B, K)") - 1
        dropped = got.abs() < 1e-12
        share = dropped.double().mean().item()
        assert dropped.any(), f"{what}: no number is dropped: the pooled vector goes through nn.Dropout, before the linear layer"
        kept = torch.isclose(got, pooled / (1 - p))
        advice = "each number of the pooled vector is either dropped or divided by 1 - dropout; states and logits are not dropped"
        assert (kept | dropped).all(), f"{what}: a number is neither 0 nor 1 / (1 - {p}) of what it was: {advice}"
        low, high = (f(1e-9, B * C, p) for f in (binom.ppf, binom.isf))
        assert low <= dropped.sum() <= high, f"{what}: {share:.0%} of the numbers are dropped, expected about {p:.0%}"
        together = dropped.all(0).any() or dropped.all(1).any()
        assert not together, f"{what}: all numbers of one text are dropped, or one number of all texts: drop each by itself"
    none = _head(ClassificationHead, state, "mean", 0.0).train()
    got = tensor("training mode, dropout 0", none(states.clone(), mask.clone()), (B, C), "(B, K)")
    assert_close("training mode, dropout 0: the logits", got, mean + 1)


# 10.2 What is trained


def _counts(what, got, want):
    """A pair of whole numbers: how many are trained, how many there are."""
    expected = f"expected {want}, a pair: trained, and all"
    pair = isinstance(got, tuple | list) and len(got) == 2
    assert pair, f"{what}: got {shown(got)}, {expected}"
    whole = [isinstance(one, int | np.integer) and not isinstance(one, bool) for one in got]
    assert all(whole), f"{what}: got {shown(got)}, {expected}: whole numbers of Python, not tensors"
    return int(got[0]), int(got[1])


def _asking(model):
    """Every name of a parameter -> whether it asks for a gradient; of one with several names, all of them."""
    return {name: one.requires_grad for name, one in model.named_parameters(remove_duplicate=False)}


def _assert_frozen(what, model, want):
    """want: names that must ask for a gradient."""
    for name, asks in _asking(model).items():
        more = f"{what}: {name} asks for a gradient, and stands under none of the names"
        assert not asks or name in want, more
        fewer = f"{what}: {name} does not ask for a gradient, and it should"
        assert asks or name not in want, fewer


@visible(points=0.5)
def check_freeze_by_hand(freeze):
    """The worked example: a table of 10 numbers is frozen, a linear layer of 9 is trained"""
    model = make(freeze, "torch.nn.Sequential", make(freeze, "torch.nn.Embedding", 5, 2), make(freeze, "torch.nn.Linear", 2, 3))
    what = 'the worked example, freeze(model, ["1"])'
    got = _counts(what, freeze(model, ["1"]), (9, 19))
    slips = {(10, 19): "these are the frozen ones", (9, 10): "the second number counts all parameters, also the trained ones",
             (2, 3): "these are parameters; count the numbers in them", (19, 19): "nothing is frozen",
             (19, 9): "first how many are trained, then how many there are"}  # fmt: skip
    assert got == (9, 19), f"{what}: got {got}, expected (9, 19){': ' + slips[got] if got in slips else ''}"
    _assert_frozen(what, model, ("1.weight", "1.bias"))


@visible(points=0.5)
def check_shared_table(freeze):
    """A table that serves at both ends is one parameter with two names: it counts once, and either name trains it"""
    table = make(freeze, "torch.nn.Embedding", 5, 2)
    parts = {"tokens": table, "body": make(freeze, "torch.nn.Linear", 2, 2), "logits": table}
    model, shared = make(freeze, "torch.nn.ModuleDict", parts), ("tokens.weight", "logits.weight")
    for trainable, trained, want in ((["body"], ("body.weight", "body.bias"), (6, 16)), (["tokens"], shared, (10, 16)),
                                     (["logits"], shared, (10, 16)), (["tokens", "logits"], shared, (10, 16))):  # fmt: skip
        what = f"tokens and logits are one table of 10 numbers, body has 6; freeze(model, {trainable})"
        try:
            got = _counts(what, freeze(model, list(trainable)), want)
        except ValueError as error:
            advice = "named_parameters() gives each parameter one name; with remove_duplicate=False it gives all"
            raise AssertionError(f"{what} stopped with ValueError ({error!s:.80}): {advice}") from None
        missed = got == (0, 16) and trained == shared
        advice = ": one name that fits is enough" if missed else ""
        advice = ": a parameter with two names counts once" if got[1] == 26 or got[0] == 20 else advice
        assert got == want, f"{what}: got {got}, expected {want}{advice}"
        _assert_frozen(what, model, trained)


_ELEVEN = {"vocab_size": 30, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 12, "num_hidden_layers": 11}


@hidden(points=0.5)
def check_freeze_bert(freeze):
    """A BERT of eleven layers: whole parts of names, the library's counts"""
    model = make(freeze, "transformers.BertForPreTraining", make(freeze, "transformers.BertConfig", **_ELEVEN))
    names = [name for name, _ in BertForPreTraining(BertConfig(**_ELEVEN)).named_parameters(remove_duplicate=False)]
    cases = (
        ["bert.encoder.layer.1", "bert.pooler", "cls.seq_relationship"],
        ["bert.encoder.layer.1", "bert.encoder.layer.10"],
        ["bert.embeddings.LayerNorm.weight"],
        ["bert"],
        ("cls.predictions.decoder",),
    )
    tied = (("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
            ("cls.predictions.bias", "cls.predictions.decoder.bias"))  # fmt: skip
    shared = dict(tied) | {there: here for here, there in tied}
    for trainable in cases:
        what = f"a BertForPreTraining of 11 layers, freeze(model, {trainable})"
        parts = [start.split(".") for start in trainable]
        fits = {name for name in names for start in parts if name.split(".")[: len(start)] == start}
        got = ask(what, freeze, model, trainable)
        asks = [name for name, asked in _asking(model).items() if asked]
        if "bert.encoder.layer.10" not in trainable and "bert" not in trainable:
            tenth = [name for name in asks if ".layer.10." in name][:1]
            assert not tenth, f"{what}: {tenth[0]} asks for a gradient: names fit by whole parts, and layer.10 is not layer.1"
        _assert_frozen(what, model, fits | {shared[name] for name in fits if name in shared})
        want = model.num_parameters(only_trainable=True), model.num_parameters()
        got = _counts(what, got, want)
        assert got == want, f"{what}: got {got}, expected {want}, as transformers counts"


@hidden(points=0.5)
def check_freeze_again(freeze):
    """Called again with other names; with none; with a name that fits nothing; buffers are no parameters; values and mode stay"""
    parts = [make(freeze, "torch.nn.Linear", 2, 2), make(freeze, "torch.nn.BatchNorm1d", 2), make(freeze, "torch.nn.Linear", 2, 1)]
    model = make(freeze, "torch.nn.Sequential", *parts, make(freeze, "torch.nn.ReLU")).eval()
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    every = tuple(before)
    cases = (
        ([], (), (0, 13)),
        (["2"], every[4:], (3, 13)),
        (["0", "1", "2"], every, (13, 13)),
        (("1", "2.bias"), (*every[2:4], "2.bias"), (5, 13)),
        (["1", "1.bias"], every[2:4], (4, 13)),
    )
    for trainable, trained, want in cases:
        what = f"a model of 6, 4 and 3 numbers, after other calls, freeze(model, {trainable})"
        names = type(trainable)(trainable)
        got = _counts(what, freeze(model, names), want)
        advice = "what an earlier call froze may be trained again"
        if got[1] == 18:
            advice = "the running means and variances of the BatchNorm1d, and its count, are buffers, not parameters"
        assert got == want, f"{what}: got {got}, expected {want}; {advice}"
        _assert_frozen(what, model, trained)
        assert names == trainable, f"{what}: the names that were given are changed"
    for typo in (["0", "3"], ["4"], [""], ["laye"], ["0.weigh"]):
        what = f"a model with the parameters {', '.join(every)}, and a ReLU as part 3, freeze(model, {typo})"
        try:
            freeze(model, typo)
        except ValueError:
            _assert_frozen(f"{what}, after its ValueError", model, every[2:4])
            continue
        raise AssertionError(f"{what}: expected a ValueError: a name that fits nothing would freeze all, unnoticed")
    for name, one in model.named_parameters():
        assert torch.equal(one.detach(), before[name]), f"freeze has changed the numbers of {name}"
    assert not model.training, "freeze has put the model into training mode; it says only what is trained"
    model.train()
    model[1].eval()
    freeze(model, ["2"])
    modes = model.training, model[0].training, model[1].training, model[2].training
    assert modes == (True, True, False, True), "freeze has changed the mode of the model or of a part (train or eval); it has no say there"


# 10.3 Labels and subwords

_NAMES = list(entities.LABELS)
_WORDS = ["B-PER", "I-PER", "O", "B-LOC"]
_PLACES = [None, 0, 1, 1, 2, 3, 3, 3, None]


def _targets(what, got, want, say=lambda t: ""):
    """The targets that an answer returned. say: what to say of the first place that is wrong."""
    assert isinstance(got, list | tuple), f"{what}: expected a list of {len(want)} numbers, got {shown(got)}"
    whole = [isinstance(one, int | np.integer) for one in got]
    assert all(whole), f"{what}: expected a list of whole numbers, indices in names, got {shown(got)}"
    assert len(got) == len(want), f"{what}: got {len(got)} targets, expected {len(want)}, one for each place"
    for t, (mine, right) in enumerate(zip(got, want, strict=True)):
        assert mine == right, f"{what}: the target of place {t} is {mine}, expected {right}{say(t)}"


def _piece_advice(t):
    """What to say of a place of the worked example."""
    if _PLACES[t] is None:
        return ": special tokens get -100"
    return ": this is a further piece of its word" if _PLACES[t] == _PLACES[t - 1] else ": this is the first piece of its word"


@visible(points=0.5)
def check_align_by_hand(align_labels):
    """The worked example: the first piece of each word has its label, all else -100"""
    what = f"the worked example, labels {_WORDS}"
    _targets(what, align_labels(list(_WORDS), list(_PLACES), list(_NAMES)), [-100, 1, 2, -100, 0, 3, -100, -100, -100], _piece_advice)


@visible(points=0.5)
def check_align_every_piece(align_labels):
    """The worked example with every_piece: further pieces have the label, B- turned into I-"""
    what = f"the worked example, labels {_WORDS}, every_piece=True"
    got = align_labels(list(_WORDS), list(_PLACES), list(_NAMES), True)

    def say(t):
        advice = ": a name begins once: further pieces of a B- word get the I- label" if t in (6, 7) else ""
        return advice or _piece_advice(t)

    _targets(what, got, [-100, 1, 2, 2, 0, 3, 4, 4, -100], say)
    inside = align_labels(["O", "B-ORG"], [0, 0, 1, None], list(_NAMES), True)
    _targets('labels ["O", "B-ORG"], word_ids [0, 0, 1, None], every_piece=True', inside, [0, 0, 5, -100])


@lru_cache(maxsize=2)
def _library_aligns(first_only):
    """The course's sentences as a tokenizer of transformers aligns them: labels of words, word_ids, targets."""
    tokens = pretrained.tokenizer()
    library = LayoutLMv2Tokenizer(vocab=tokens.get_vocab(), only_label_first_subword=first_only)
    found = []
    for sentence in entities.sentences("train")[:60]:
        words, targets = list(sentence.words), [_NAMES.index(label) for label in sentence.labels]
        encoded = library(words, boxes=[[0, 0, 1, 1]] * len(words), word_labels=targets)
        found.append((list(sentence.labels), tokens(words, is_split_into_words=True).word_ids(), encoded["labels"]))
    return found


@hidden(points=0.5)
def check_align_of_library(align_labels):
    """Sixty sentences of the course: what a tokenizer of transformers gives that aligns labels"""
    for number, (labels, word_ids, want) in enumerate(_library_aligns(True)):
        _targets(f"sentence {number} of the course", align_labels(list(labels), list(word_ids), list(_NAMES)), want)
    for number, (labels, word_ids, same) in enumerate(_library_aligns(False)):
        further = [t > 0 and word is not None and word == word_ids[t - 1] for t, word in enumerate(word_ids)]
        inside = [more and _NAMES[one].startswith("B-") for one, more in zip(same, further, strict=True)]
        want = [_NAMES.index(f"I-{_NAMES[one][2:]}") if turned else one for one, turned in zip(same, inside, strict=True)]
        got = align_labels(list(labels), list(word_ids), list(_NAMES), True)
        _targets(f"sentence {number} of the course, every_piece=True", got, want)


@hidden(points=0.5)
def check_align_at_the_ends(align_labels):
    """Words that have no place, sentences that are cut off or begin within a word, padding, other names"""
    cases = (
        (["O", "B-LOC", "B-PER"], [None, 0, 2, 2, None], [-100, 0, 1, -100, -100], [-100, 0, 1, 2, -100], "word 1 has no piece"),
        (["B-PER", "B-PER", "O"], [None, 0, 1, None, None], [-100, 1, 1, -100, -100], [-100, 1, 1, -100, -100], "cut off, then padding"),
        (["O", "O", "B-ORG", "I-ORG"], [2, 2, 3, 3], [5, -100, 6, -100], [5, 6, 6, 6], "begins with word 2"),
        ((), [None, None], [-100, -100], [-100, -100], "no word"),
        (("O",), (), [], [], "no place"),
        (["B-PER"], (0,), [1], [1], "one place"),
    )
    for labels, word_ids, first, every, about in cases:
        what = f"labels {list(labels)}, word_ids {list(word_ids)} ({about})"
        given = type(labels)(labels), type(word_ids)(word_ids), tuple(_NAMES)
        _targets(what, ask(what, align_labels, *given), first)
        _targets(f"{what}, every_piece=True", ask(what, align_labels, *given, True), every)
        assert (given[0], given[1]) == (labels, word_ids), f"{what}: what was given is changed"
    own = ["I-b", "O", "B-a", "B-b", "I-a"]
    what = f"names {own}, labels ['B-b', 'B-a', 'I-a'], word_ids [0, 0, 1, 1, 2]"
    _targets(f"{what}, every_piece=True", align_labels(["B-b", "B-a", "I-a"], [0, 0, 1, 1, 2], own, True), [3, 0, 2, 4, 4])
    own, labels, word_ids = ["O", "B-JOB", "I-JOB", "BOX", "I-SUB-X"], ["B-JOB", "BOX", "I-SUB-X"], [0, 0, 1, 1, 2, 2]
    what = f"names {own}, labels {labels}, word_ids {word_ids}, every_piece=True (only a `B-` at the beginning of a label is replaced)"
    try:
        got = align_labels(list(labels), list(word_ids), list(own), True)
    except (ValueError, LookupError) as error:
        raise AssertionError(f"{what} stopped with {type(error).__name__}: {error!s:.80}") from None
    _targets(what, got, [1, 2, 3, 3, 4, 4])


def _found(what, got, want):
    """The labels that an answer returned, one for each word."""
    assert isinstance(got, list | tuple), f"{what}: expected a list of {len(want)} labels, got {shown(got)}"
    texts = [isinstance(one, str) for one in got]
    assert all(texts), f"{what}: expected labels as texts, such as {want[0]!r}, got {shown(got)}"
    assert len(got) == len(want), f"{what}: got {len(got)} labels, expected {len(want)}, one for each word"


@visible(points=0.5)
def check_words_by_hand(word_labels):
    """The worked example: of each word the first piece decides"""
    logits = torch.zeros(9, 7, dtype=torch.float64)
    for t, label in enumerate((6, 1, 2, 5, 0, 3, 0, 0, 6)):
        logits[t, label] = 2.0
    logits[6:8, 0] = 9.0
    logits[:, 4] = -5.0
    what = f"the worked example, word_ids {_PLACES}"
    got = word_labels(logits.clone(), list(_PLACES), list(_NAMES), 4)
    _found(what, got, _WORDS)
    say = {(1, "B-ORG"): "its last piece says so; the first counts", (3, "O"): "its further pieces say so; the first counts",
           (0, "I-ORG"): "this is what stands at [CLS]: go by word_ids"}  # fmt: skip
    for n, (mine, right) in enumerate(zip(got, _WORDS, strict=True)):
        advice = f": {say[n, mine]}" if (n, mine) in say else ""
        assert mine == right, f"{what}: word {n} got {mine}, expected {right}{advice}"


@lru_cache(maxsize=1)
def _pipeline():
    """transformers' own way from places to words, on a model that need not be asked."""
    labels = {"id2label": dict(enumerate(_NAMES)), "label2id": {name: i for i, name in enumerate(_NAMES)}}
    tokens = pretrained.tokenizer()
    return TokenClassificationPipeline(model=_token_classifier(len(_NAMES), len(tokens), **labels), tokenizer=tokens), tokens


@hidden(points=0.5)
def check_words_of_library(word_labels):
    """Random logits on sentences of the course: transformers' pipeline; words without a place; equal logits"""
    pipeline, tokens = _pipeline()
    whole = [list(one.words) for one in entities.sentences("train") if all(word.isascii() and word.isalnum() for word in one.words[:-1])]
    assert len(whole) >= 10, "lmkit.entities has too few sentences of plain words"  # about the course, not about an answer
    for number, sentence in enumerate(whole[:25]):
        words = sentence[:-1]
        read = tokens(words, is_split_into_words=True, return_offsets_mapping=True, return_special_tokens_mask=True)
        word_ids, logits = read.word_ids(), _drawn((len(read["input_ids"]), len(_NAMES)), number)
        starts = [sum(len(word) + 1 for word in words[:n]) for n in range(len(words))]
        pieces = pipeline.gather_pre_entities(
            " ".join(words), np.array(read["input_ids"]), logits.softmax(-1).numpy(), read["offset_mapping"],
            np.array(read["special_tokens_mask"]), AggregationStrategy.FIRST, word_ids,
            [(start, start + len(word)) for start, word in zip(starts, words, strict=True)],
        )  # fmt: skip
        want = [one["entity"] for one in pipeline.aggregate_words(pieces, AggregationStrategy.FIRST)]
        kept, what = logits.clone(), f"{' '.join(words)!r:.100}, random logits"
        got = word_labels(logits, list(word_ids), list(_NAMES), len(words))
        _found(what, got, want)
        for n, (mine, right) in enumerate(zip(got, want, strict=True)):
            assert mine == right, f"{what}: word {n}, {words[n]!r}, got {mine}, expected {right}, as transformers' pipeline has it"
        assert torch.equal(logits, kept), f"{what}: the logits that were given are changed"
    usual = ("O", "x", "y", "z")
    cases = (
        (usual, [[0, 3, 3, 1], [0, 0, 9, 0], [9, 0, 0, 0]], [0, 2, None], 4, ["x", "O", "y", "O"], "words 1 and 3 have no place"),
        (usual, [[5, 5, 5, 5]], (0,), 1, ["O"], "all logits are equal, the first counts"),
        (usual, [[-3, -1, -2, -9], [0, 8, 0, 0]], [1, 1], 2, ["O", "x"], "word 0 has no place"),
        (usual, [[0, 9, 0, 0], [0, 9, 0, 0]], [None, None], 2, ["O", "O"], "cut off before the first word"),
        (("x", "y", "O"), [[9, 0, 0]], [1], 2, ["O", "x"], "word 0 has no place, and O is not the first of names"),
    )
    for names, rows, word_ids, n, want, about in cases:
        what = f"logits {rows}, names {list(names)}, word_ids {list(word_ids)}, n = {n} ({about})"
        got = ask(what, word_labels, torch.tensor(rows, dtype=torch.float32), word_ids, names, n)
        _found(what, got, want)
        assert list(got) == want, f"{what}: got {list(got)}, expected {want}"
    got = word_labels(torch.zeros(2, 4), [None, None], ["O", "x", "y", "z"], 0)
    assert isinstance(got, list | tuple), f"n = 0: expected an empty list, got {shown(got)}"
    assert not got, f"n = 0: expected an empty list, got {shown(got)}"


# 10.4 The best span


def _span(what, got):
    """The pair that an answer returned: two whole numbers."""
    right = isinstance(got, list | tuple) and len(got) == 2
    assert right, f"{what}: expected a pair, the first and the last place of the answer, got {shown(got)}"
    try:
        values = [float(one) for one in got]
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"{what}: expected two whole numbers, got {shown(got)}") from None
    assert all(value == int(value) for value in values), f"{what}: expected two whole numbers, got {shown(got)}"
    return int(values[0]), int(values[1])


def _assert_span(what, best_span, start, end, context, longest, want, advice):
    """advice: an answer that comes of a mistake -> what to say of it."""
    given = [torch.as_tensor(one, dtype=torch.float32) for one in (start, end)] + [torch.as_tensor(context).bool()]
    kept = [one.clone() for one in given]
    got = ask(what, best_span, *given, longest)
    for one, before, name in zip(given, kept, ("the start logits", "the end logits", "in_context"), strict=True):
        assert torch.equal(one, before), f"{what}: {name}, which were given, are changed: work on a copy"
    if want is None:
        assert got is None, f"{what}: got {shown(got)}, expected None: there is no place to answer from"
        return
    assert got is not None or None not in advice, f"{what}: got None, expected {want}: {advice.get(None)}"
    got = _span(what, got)
    assert got == want, f"{what}: got {got}, expected {want}{': ' + advice[got] if got in advice else ''}"


@visible(points=0.5)
def check_span_by_hand(best_span):
    """The worked example: start and end are chosen together"""
    start, end, context = [9, 0, 1, 5, 0, 4], [9, 0, 0, 2, 1, 4], [0, 0, 1, 1, 1, 1]
    what = f"the worked example, start {start}, end {end}, in_context {context}"
    advice = {(0, 0): "places 0 and 1 are not in the context", (3, 6): "the last place is part of the answer: return 5, not 6"}
    _assert_span(f"{what}, longest = 4", best_span, start, end, context, 4, (3, 5), advice)
    advice = {(3, 5): "that answer has three places; longest is 2", (3, 4): "this answer has the score 6, that of place 5 alone has 8"}
    _assert_span(f"{what}, longest = 2", best_span, start, end, context, 2, (5, 5), advice)
    _assert_span(f"{what}, longest = 3", best_span, start, end, context, 3, (3, 5), {(5, 5): "an answer of exactly 3 places is allowed"})


@visible(points=0.5)
def check_span_begins_before_it_ends(best_span):
    """The greatest start behind the greatest end: both greatest together are no answer"""
    start, end = [0, 1, 0, 7, 1], [0, 8, 0, 2, 1]
    what = f"start {start}, end {end}, all in the context, longest = 5"
    advice = {(3, 1): "it ends before it begins", (3, 3): "its score is 9, and (1, 1) has 9 too and begins first",
              (1, 3): "its score is 3; both ends swapped are another answer"}  # fmt: skip
    _assert_span(what, best_span, start, end, [1] * 5, 5, (1, 1), advice)
    start, end = [-8, -3, -2, -9], [-9, -7, -6, -1]
    what = f"start {start}, end {end}, in_context [0, 1, 1, 0], longest = 4"
    negative = "logits may all be negative: no score to beat is 0"
    advice = {(0, 0): negative, None: negative, (1, 3): "place 3 is not in the context", (2, 3): "place 3 is not in the context"}
    _assert_span(what, best_span, start, end, [0, 1, 1, 0], 4, (2, 2), advice)


def _tried(start, end, context, longest):
    """The best span, by trying all: a pair of places."""
    inside = [i for i, here in enumerate(context) if here]
    spans = [(i, j) for i in inside for j in inside if 0 <= j - i < longest]
    return max(spans, key=lambda span: (start[span[0]] + end[span[1]], -span[0], -span[1]), default=None)


@hidden(points=0.75)
def check_span_against_all(best_span):
    """Small whole numbers, many of them equal: every span is tried; of equal ones the first"""
    generator = torch.Generator().manual_seed(1)
    for number in range(60):
        T = int(torch.randint(1, 12, (), generator=generator))
        start, end = (torch.randint(-3, 4, (T,), generator=generator).tolist() for _ in range(2))
        low, high = sorted(torch.randint(0, T + 1, (2,), generator=generator).tolist())
        context, longest = [low <= t < high for t in range(T)], 1 + number % 5
        what = f"start {start}, end {end}, context from place {low} to {high - 1}, longest = {longest}"
        want = _tried(start, end, context, longest)
        tie = "of equal scores that which begins first counts, then that which ends first"
        advice = {}
        if want is not None:
            best = start[want[0]] + end[want[1]]
            advice = {(i, j): tie for i in range(low, high) for j in range(i, high) if j - i < longest and start[i] + end[j] == best}
        _assert_span(what, best_span, start, end, context, longest, want, advice)


@hidden(points=0.75)
def check_span_of_library(best_span):
    """Random logits over up to 384 places: transformers' own way to decode spans"""
    for number, (T, question, real, longest) in enumerate(((40, 9, 35, 15), (384, 20, 384, 30), (100, 12, 90, 1), (64, 5, 50, 64))):
        start, end = (2 * _drawn((1, T), 10 * number + k) for k in range(2))
        hidden_places = np.array([[not question <= t < real for t in range(T)]]).astype(int)
        arguments = start.numpy().copy(), end.numpy().copy(), hidden_places, np.ones((1, T), dtype=int)
        starts, ends, *_ = select_starts_ends(*arguments, max_answer_len=longest)
        what = f"random logits of {T} places, context from place {question} to {real - 1}, longest = {longest}"
        got = ask(what, best_span, start[0], end[0], torch.from_numpy(1 - hidden_places[0]).bool(), longest)
        got, want = _span(what, got), (int(starts[0]), int(ends[0]))
        assert got == want, f"{what}: got {got}, expected {want}, as transformers decodes it"


@hidden(points=0.5)
def check_span_at_the_ends(best_span):
    """No context, one place, the context at both ends of the row, an answer as long as the context"""
    _assert_span("no place in the context", best_span, [1, 2], [3, 4], [0, 0], 2, None, {})
    _assert_span("no place at all, T = 0", best_span, [], [], [], 3, None, {})
    _assert_span("one place, T = 1", best_span, [-2], [-3], [1], 1, (0, 0), {})
    _assert_span("three places, longest = 10", best_span, [4, 0, 0], [0, 0, 4], [1, 1, 1], 10, (0, 2), {})
    _assert_span("three places, longest = 3", best_span, [4, 0, 0], [0, 0, 4], [1, 1, 1], 3, (0, 2), {})
    advice = {(0, 0): "fill what is not allowed with -inf: logits may be far below any other number"}
    _assert_span("logits far below 0", best_span, [9, -3e9, -2e9], [9, -2e9, -3e9], [0, 1, 1], 3, (1, 1), advice)
    _assert_span("all logits equal, T = 4", best_span, [1] * 4, [1] * 4, [0, 1, 1, 1], 4, (1, 1), {})
    T = 400
    start, end = [float(-t) for t in range(T)], [float(t) / 2 for t in range(T)]
    want = (7, 7 + 49)
    _assert_span("400 places, context from place 7 on, longest = 50", best_span, start, end, [t >= 7 for t in range(T)], 50, want, {})


# 10.5 An adapter

_PARTS_OF_ADAPTER = "down, an nn.Linear(C, width), and up, an nn.Linear(width, C)"


def _adapter(Adapter, C, width, state=None):
    """A student's adapter in float64, with these weights or with its own."""
    adapter, what = Adapter(C, width), f"Adapter({C}, {width})"
    shapes = {"down.weight": (width, C), "down.bias": (width,), "up.weight": (C, width), "up.bias": (C,)}
    _assert_parameters(what, adapter, shapes, _PARTS_OF_ADAPTER)
    adapter = adapter.double()
    if state is not None:
        adapter.load_state_dict(state, strict=False)
    return adapter


@visible(points=0.5)
def check_adapter_adds_nothing_at_first(Adapter):
    """A new adapter gives back what it is given; up is zero, down is not"""
    make(Adapter, "torch.manual_seed", 0)
    adapter, x = _adapter(Adapter, 6, 3), _drawn((2, 4, 6), 1)
    got = tensor("a new Adapter(6, 3)", adapter(x.clone()), (2, 4, 6), "(…, C)")
    zero = got.abs().max() < 1e-12
    assert not zero, "a new Adapter(6, 3): expected x itself, got zeros: the detour is added to x"
    state = dict(adapter.state_dict())
    advice = "set up.weight and up.bias to 0, so that the encoder is at first what it was"
    assert (got - x).abs().max() < 1e-12, f"a new Adapter(6, 3) changes x: {advice}"
    moves = state["down.weight"].abs().max() > 0
    advice = "then no gradient ever reaches a weight; leave down as drawn"
    assert moves, f"a new Adapter(6, 3): down.weight is all 0, and so is up.weight: {advice}"


@visible(points=0.5)
def check_adapter_by_hand(Adapter):
    """The worked example: two numbers through a bottleneck of one"""
    rows = {"down.weight": [[1.0, 1.0]], "down.bias": [-3.0], "up.weight": [[2.0], [0.0]], "up.bias": [0.0, 1.0]}
    state = {name: torch.tensor(row, dtype=torch.float64) for name, row in rows.items()}
    drawn = {"down.weight": _drawn((4, 6), 1), "down.bias": _drawn((4,), 2), "up.weight": _drawn((6, 4), 3), "up.bias": _drawn((6,), 4)}
    adapter, what = _adapter(Adapter, 6, 4, drawn), "Adapter(6, 4) with random weights, x of shape (50, 6)"
    first, again = (tensor(what, adapter(_drawn((50, 6), 5)), (50, 6), "(…, C)") for _ in range(2))
    assert torch.equal(first, again), f"{what}: two calls give two results: there is no dropout in this adapter"
    x, gelu = torch.tensor([[1.0, 3.0]], dtype=torch.float64), 0.8413447
    got = tensor("the worked example, x = (1, 3)", _adapter(Adapter, 2, 1, state)(x), (1, 2), "(…, C)")
    slips = (
        ([[2 * gelu, 1.0]], "x itself is missing: the detour is added to it"),
        ([[3.0, 4.0]], "GELU between down and up is missing (or it is ReLU)"),
        ([[1 + 1.9545, 4 * 1.0]], "GELU stands between down and up, not behind up"),
        ([[1 + 1.9545, 3 + gelu]], "GELU stands between down and up, not behind up"),
        ([[1 + 2 * 0.8411920, 4.0]], "this is the approximation with tanh; take the exact GELU, as BERT does"),
        ([[1 + 2 * 0.7310586, 4.0]], "this is another activation; take GELU"),
        ([[1 + 2 * 0.7615942, 4.0]], "this is another activation; take GELU"),
    )
    exactly = [(slip, advice) for slip, advice in slips if torch.allclose(got, torch.tensor(slip, dtype=torch.float64), atol=2e-5)]
    assert_close("the worked example, x = (1, 3)", got, torch.tensor([[1 + 2 * gelu, 4.0]], dtype=torch.float64), exactly)


class _OracleAdapter(nn.Module):
    """transformers' adapter, and x."""

    def __init__(self, C, reduced, state):
        super().__init__()
        self.detour = XmodAdapter(XmodConfig(hidden_size=C, num_attention_heads=1, adapter_reduction_factor=reduced)).double()
        self.detour.load_state_dict({name.replace("down", "dense1").replace("up", "dense2"): one for name, one in state.items()})

    def forward(self, x):
        return x + self.detour(x)


@hidden(points=0.5)
def check_adapter_of_library(Adapter):
    """Random weights: the adapter of a model of transformers, added to x; gradients; any leading shape; x stays as it is"""
    for C, reduced, shape in ((6, 2, (2, 4, 6)), (8, 8, (3, 8)), (12, 3, (12,)), (4, 1, (2, 2, 3, 4))):
        width = C // reduced
        state = {"down.weight": _drawn((width, C), 1), "down.bias": _drawn((width,), 2),
                 "up.weight": _drawn((C, width), 3), "up.bias": _drawn((C,), 4)}  # fmt: skip
        adapter, oracle, x = _adapter(Adapter, C, width, state), _OracleAdapter(C, reduced, state), _drawn(shape, 5)
        what, kept = f"Adapter({C}, {width}) with random weights, x of shape {shape}", x.clone()
        with torch.no_grad():
            want = oracle(x)
        assert_close(f"{what}: the result", tensor(what, adapter(x), shape, "(…, C)"), want)
        assert torch.equal(x, kept), f"{what}: x, which was given, is changed: write `x + …`, not `x += …`"
        names = {name: f"detour.{name.replace('down', 'dense1').replace('up', 'dense2')}" for name in state}
        assert_gradients(what, adapter, oracle, (x,), ("what goes in",), _drawn(shape, 6), names)
        single = tensor(f"{what}, float32", adapter.float()(x.float()), shape, "(…, C)")
        assert single.dtype == torch.float32, f"{what}, float32: the result has the type {single.dtype}"


@hidden(points=0.5)
def check_adapter_learns(Adapter):
    """First values of down as torch draws them; the first gradient reaches up alone, the second down too"""
    make(Adapter, "torch.manual_seed", 1)
    first, second = (dict(_adapter(Adapter, 400, 64).state_dict()) for _ in range(2))
    bound = 1 / math.sqrt(400)
    for name in ("down.weight", "down.bias"):
        one = first[name]
        told = f"Adapter(400, 64): {name} reaches {one.abs().max():.3f}, with a standard deviation of {one.std():.4f}"
        fits = one.abs().max() <= 1.0001 * bound and 0.75 < one.std() * math.sqrt(3) / bound < 1.25
        assert fits, f"{told}; leave it as nn.Linear draws it, evenly up to {bound:g}"
    alike = torch.equal(first["down.weight"], second["down.weight"])
    assert not alike, "two adapters have the same first values of down: do not seed torch's generator"
    adapter, x, upstream = _adapter(Adapter, 6, 3), _drawn((5, 6), 2), _drawn((5, 6), 3)
    for step in range(2):
        _, _, found = gradients(adapter, x, upstream=upstream)
        reached = {name: name in found and bool((found[name].abs() > 1e-12).any()) for name in ("down.weight", "up.weight")}
        want = {"down.weight": step == 1, "up.weight": True}
        what = f"a new Adapter(6, 3), after {step} step(s) of gradient descent"
        for name, right in want.items():
            told = "a gradient reaches" if reached[name] else "no gradient reaches"
            assert reached[name] == right, f"{what}: {told} {name}; expected: first up alone, since up is 0, then both"
        state = dict(adapter.state_dict())
        adapter.load_state_dict({name: one - 0.1 * found.get(name, 0) for name, one in state.items()})


# 10.6 LoRA

_PARTS_OF_LORA = "linear, the layer that was given, A and B, and no others"


def _lora(LoRALinear, linear, r, alpha, bias=True, A=None, B=None):
    """A student's LoRALinear around a linear layer that stands there, with these A and B or with its own."""
    layer = LoRALinear(linear, r, alpha)
    out, width = tuple(linear.weight.shape)
    shapes = {"linear.weight": (out, width), **({"linear.bias": (out,)} if bias else {}), "A": (r, width), "B": (out, r)}
    _assert_parameters(f"LoRALinear(a linear layer from {width} to {out} numbers, {r}, {alpha})", layer, shapes, _PARTS_OF_LORA)
    if A is not None:
        layer.load_state_dict({"A": A, "B": B}, strict=False)
    return layer


def _linear(subject, weight, bias=None):
    """An nn.Linear with these weights, in their type, where the student's code is."""
    out, width = weight.shape
    linear = make(subject, "torch.nn.Linear", width, out, bias is not None)
    linear = linear.double() if weight.dtype == torch.float64 else linear
    linear.load_state_dict({"weight": weight, **({} if bias is None else {"bias": bias})})
    return linear


_HAND = {
    "weight": torch.eye(2, dtype=torch.float64),
    "bias": torch.tensor([0.0, 1.0], dtype=torch.float64),
    "A": torch.tensor([[1.0, 1.0]], dtype=torch.float64),
    "B": torch.tensor([[1.0], [0.0]], dtype=torch.float64),
}


@visible(points=0.5)
def check_lora_by_hand(LoRALinear):
    """The worked example: W, and beside it a change of rank 1, alpha = 2"""
    what = "a linear layer from 6 to 5 numbers, r = 4, alpha = 4, with random weights, x of shape (50, 6)"
    layer = _lora(LoRALinear, _linear(LoRALinear, _drawn((5, 6), 1), _drawn((5,), 2)), 4, 4, True, _drawn((4, 6), 3), _drawn((5, 4), 4))
    first, again = (tensor(what, layer(_drawn((50, 6), 5)), (50, 5), "(…, out)") for _ in range(2))
    assert torch.equal(first, again), f"{what}: two calls give two results: there is no dropout in this layer"
    x, what = torch.tensor([[3.0, 4.0]], dtype=torch.float64), "the worked example, x = (3, 4)"
    layer = _lora(LoRALinear, _linear(LoRALinear, _HAND["weight"], _HAND["bias"]), 1, 2, True, _HAND["A"], _HAND["B"])
    got = tensor(what, layer(x), (1, 2), "(…, out)")
    slips = (
        ([[3.0, 5.0]], "this is linear(x) alone: add what goes through A and B"),
        ([[14.0, 0.0]], "linear(x) is missing"),
        ([[10.0, 5.0]], "the change is multiplied by alpha / r, which is 2 here"),
        ([[6.5, 5.0]], "the change is multiplied by alpha / r, not divided by it"),
    )
    assert_close(what, got, torch.tensor([[17.0, 5.0]], dtype=torch.float64), slips)


@visible(points=0.75)
def check_lora_at_first(LoRALinear):
    """A new LoRALinear computes what the layer did; A and B are trained, the layer is not"""
    weight, bias, x = _drawn((5, 4), 1), _drawn((5,), 2), _drawn((2, 3, 4), 3)
    make(LoRALinear, "torch.manual_seed", 0)
    layer, what = _lora(LoRALinear, _linear(LoRALinear, weight, bias), 2, 8), "a new LoRALinear(a linear layer from 4 to 5 numbers, 2, 8)"
    got = tensor(what, layer(x.clone()), (2, 3, 5), "(…, out)")
    state = dict(layer.state_dict())
    zero = {name: not state[name].abs().max() > 0 for name in "AB"}
    assert zero["B"], f"{what}: B is not 0: then the layer computes something else before any training"
    assert not zero["A"], f"{what}: A is 0, as B is: then no gradient ever reaches either; draw A"
    assert_close(f"{what}: against the layer alone, the result", got, x @ weight.T + bias)
    asks = {name: one.requires_grad for name, one in layer.named_parameters()}
    for name, want in {"linear.weight": False, "linear.bias": False, "A": True, "B": True}.items():
        told = "asks for a gradient, and is not to be trained" if asks[name] else "asks for no gradient, and is to be trained"
        assert asks[name] == want, f"{what}: {name} {told}"


@visible(points=0.5)
def check_merged_by_hand(LoRALinear):
    """The worked example: W and the change become one linear layer"""
    layer = _lora(LoRALinear, _linear(LoRALinear, _HAND["weight"], _HAND["bias"]), 1, 2, True, _HAND["A"], _HAND["B"])
    state, what = _merged("the worked example, merged()", layer, (2, 2), True), "the worked example, merged(): the weight"
    slips = (
        (torch.eye(2), "this is the layer's own weight: add the change"),
        ([[2.0, 1.0], [0.0, 1.0]], "the change is multiplied by alpha / r, which is 2 here"),
        ([[3.0, 0.0], [2.0, 1.0]], "the change lies the wrong way round: it is B A, not its transpose"),
        ([[2.0, 2.0], [0.0, 0.0]], "this is the change alone: add the layer's weight"),
        ([[5.0, 4.0], [0.0, 1.0]], "the change has been added twice"),
    )
    assert_close(what, state["weight"], torch.tensor([[3.0, 2.0], [0.0, 1.0]], dtype=torch.float64), slips)
    assert_close("the worked example, merged(): the bias", state["bias"], _HAND["bias"])


def _merged(what, layer, shape, bias):
    """The weights of what merged() returns, and that it is a plain linear layer."""
    merged = layer.merged()
    assert merged is not None, f"{what} returned None: `return` the new layer"
    try:
        state = dict(merged.state_dict())
    except (AttributeError, TypeError):
        raise AssertionError(f"{what}: expected an nn.Linear, got {shown(merged)}") from None
    names = ["weight", "bias"] if bias else ["weight"]
    is_linear = find(layer, "builtins.isinstance")(merged, find(layer, "torch.nn.Linear"))
    assert is_linear, f"{what}: expected an nn.Linear, got {shown(merged)}"
    expected = f"expected an nn.Linear with {' and '.join(names)}"
    assert list(state) == names, f"{what}: {expected}, got a module with {', '.join(state) or 'nothing'}"
    assert tuple(state["weight"].shape) == shape, f"{what}: the weight has the shape {tuple(state['weight'].shape)}, expected {shape}"
    return {name: one.detach() for name, one in state.items()}


def _of_peft(weight, bias, r, alpha, A, B):
    """peft's LoRA around a linear layer with these weights: the wrapped model, and the name of its parts."""
    from peft import LoraConfig, get_peft_model  # takes seconds to import, and one check needs it

    model = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)).double()
    model.load_state_dict({"0.weight": weight, **({} if bias is None else {"0.bias": bias})})
    wrapped = get_peft_model(model, LoraConfig(r=r, lora_alpha=alpha, lora_dropout=0.0, target_modules=["0"]))
    own = {name: one for name, one in wrapped.named_parameters() if "lora_" in name}
    with torch.no_grad():
        for name, one in own.items():
            one.copy_(A if "lora_A" in name else B)
    return wrapped


def _lora_cases():
    """Weights, bias or None, r, alpha, A, B."""
    sizes = (6, 4, 2, 8, True), (3, 7, 3, 1, False), (5, 5, 1, 0.5, True), (4, 2, 6, 12, True)
    for number, (width, out, r, alpha, has_bias) in enumerate(sizes):
        seed = 20 * number
        bias = _drawn((out,), seed + 1) if has_bias else None
        yield _drawn((out, width), seed), bias, r, alpha, _drawn((r, width), seed + 2), _drawn((out, r), seed + 3)


@hidden(points=1)
def check_lora_of_peft(LoRALinear):
    """Other sizes, ranks, alphas, without a bias: what peft computes with the same weights, unmerged and merged"""
    for weight, bias, r, alpha, A, B in _lora_cases():
        out, width = weight.shape
        what = f"a linear layer from {width} to {out} numbers{'' if bias is not None else ', no bias'}, r = {r}, alpha = {alpha}"
        layer = _lora(LoRALinear, _linear(LoRALinear, weight, bias), r, alpha, bias is not None, A, B)
        library, x = _of_peft(weight, bias, r, alpha, A, B), _drawn((2, 3, width), 7)
        kept = x.clone()
        with torch.no_grad():
            want = library(x)
        assert_close(f"{what}: the result", tensor(what, layer(x), (2, 3, out), "(…, out)"), want)
        assert torch.equal(x, kept), f"{what}: x, which was given, is changed"
        plain = library.merge_and_unload()[0]
        state = _merged(f"{what}, merged()", layer, (out, width), bias is not None)
        assert_close(f"{what}, merged(): the weight, in float64", state["weight"], plain.weight.detach(), tolerance=1e-9)
        if bias is not None:
            assert_close(f"{what}, merged(): the bias", state["bias"], plain.bias.detach())
        got = tensor(f"{what}, merged()", layer.merged()(x), (2, 3, out), "(…, out)")
        assert_close(f"{what}: the result of merged()", got, want)


@hidden(points=0.5)
def check_gradients_of_lora(LoRALinear):
    """Gradients of x, A and B: peft's; none for the layer; A drawn as torch draws weights, in the layer's type"""
    for weight, bias, r, alpha, A, B in _lora_cases():
        out, width = weight.shape
        what = f"a linear layer from {width} to {out} numbers, r = {r}, alpha = {alpha}"
        layer = _lora(LoRALinear, _linear(LoRALinear, weight, bias), r, alpha, bias is not None, A, B)
        x, upstream = _drawn((4, width), 8), _drawn((4, out), 9)
        library = _of_peft(weight, bias, r, alpha, A, B)
        theirs = {"A" if "lora_A" in name else "B": name for name, one in library.named_parameters() if one.requires_grad}
        assert_gradients(what, layer, library, (x,), ("what goes in",), upstream, theirs)
        _, _, found = gradients(layer, x, upstream=upstream)
        assert set(found) == {"A", "B"}, f"{what}: gradients reach {', '.join(sorted(found))}, expected A and B alone"
    make(LoRALinear, "torch.manual_seed", 2)
    for dtype in (torch.float32, torch.float64):
        layers = [_lora(LoRALinear, _linear(LoRALinear, _drawn((3, 400), 1, dtype), _drawn((3,), 2, dtype)), 16, 16) for _ in range(2)]
        one, other = (dict(layer.state_dict())["A"] for layer in layers)
        what = f"a new LoRALinear around a layer from 400 numbers in {dtype}"
        assert one.dtype == dtype, f"{what}: A has the type {one.dtype}; it has that of the layer's weights"
        bound = 1 / math.sqrt(400)
        fits = one.abs().max() <= 1.0001 * bound and 0.9 < one.std() * math.sqrt(3) / bound < 1.1
        told = f"{what}: A reaches {one.abs().max():.3f}, with a standard deviation of {one.std():.4f}"
        assert fits, f"{told}; draw it as nn.Linear(400, r) draws its weights, evenly up to {bound:g}"
        assert not torch.equal(one, other), f"{what}: two of them have the same A: do not seed torch's generator"


@hidden(points=0.75)
def check_layers_stay_apart(LoRALinear):
    """Merging changes no layer and shares no memory; other values of A count at once; float32 stays float32"""
    weight, bias, A, B = (_drawn(shape, seed, torch.float32) for shape, seed in (((4, 3), 1), ((4,), 2), ((2, 3), 3), ((4, 2), 4)))
    x, what = _drawn((5, 3), 5, torch.float32), "a linear layer from 3 to 4 numbers, r = 2, alpha = 6"
    linear = _linear(LoRALinear, weight, bias)
    layer = _lora(LoRALinear, linear, 2, 6, True, A, B)
    before = tensor(what, layer(x), (5, 4), "(…, out)").clone()
    merged, again = layer.merged(), layer.merged()
    assert_close(f"{what}: the result after merged() was called twice", tensor(what, layer(x), (5, 4)), before, tolerance=1e-5)
    asks = {name: one.requires_grad for name, one in layer.named_parameters()}
    kept = asks == {"linear.weight": False, "linear.bias": False, "A": True, "B": True}
    assert kept, f"{what}: after merged() other parameters ask for a gradient than before; merging leaves this module as it is"
    assert layer.training, f"{what}: merged() has put the module into evaluation mode; merging leaves it as it is"
    one, two = dict(merged.state_dict()), dict(again.state_dict())
    assert one["weight"].dtype == torch.float32, f"{what}: the merged weight has the type {one['weight'].dtype}, the layer's is float32"
    assert_close(f"{what}: a second merged(): the weight", two["weight"], one["weight"], tolerance=1e-5)
    merged.load_state_dict({name: torch.zeros_like(value) for name, value in one.items()})
    own = dict(linear.state_dict())
    for name, value in (("weight", weight), ("bias", bias)):
        advice = "merged() returns a layer with memory of its own"
        assert torch.equal(own[name], value), f"{what}: the {name} of the layer has changed with that of merged(): {advice}"
    after = tensor(what, layer(x), (5, 4), "(…, out)")
    assert_close(f"{what}: the result after the merged layer has changed", after, before, tolerance=1e-5)
    layer.load_state_dict({"A": 2 * A, "B": B}, strict=False)
    changed = tensor(what, layer(x), (5, 4), "(…, out)")
    want = F.linear(x, weight, bias) + 2 * (before - F.linear(x, weight, bias))
    assert_close(f"{what}: the result after A has doubled", changed, want, tolerance=1e-4)
    linear.load_state_dict({"weight": weight + 1, "bias": bias + 1})
    moved = tensor(what, layer(x), (5, 4), "(…, out)")
    told = f"{what}: the result after 1 was added to each number of the layer that was given"
    want = want + 1 + x.sum(-1, keepdim=True)
    assert_close(f"{told} (keep the layer itself, not a copy)", moved, want, tolerance=1e-4)
    anew = tensor(f"{what}, merged()", layer.merged()(x), (5, 4), "(…, out)")
    assert_close(f"{what}, merged() once more, after these changes: the result", anew, want, tolerance=1e-4)


# 10.7 Measured


_SEEDS = (0, 1, 2)  # splits on which a classifier is measured
_READ = 64  # tokens of a text that the frozen features are made of


def _logits_of(what, classifier, texts):
    """Logits of texts, with no gradient."""
    with torch.no_grad():
        got = tensor(f"{what}: the logits of {len(texts)} texts", classifier(list(texts)), (len(texts), len(topics.TOPICS)), "(N, K)")
    assert got.isfinite().all(), f"{what}: a logit of {len(texts)} texts is nan or inf"
    return got


@lru_cache(maxsize=1)
def _bert_mini():
    folder = minis.folder("bert-mini")
    return AutoTokenizer.from_pretrained(folder), BertForPreTraining.from_pretrained(folder).bert.eval()


def _words_of_one_token(n):
    """Different words from test texts, each of them one token of bert-mini's."""
    found = (word for row in topics.split(0).test for word in row.text.split() if word.isalpha())
    return [word for word in dict.fromkeys(found) if len(_bert_mini()[0].tokenize(word)) == 1][:n]


def _inside(model):
    """Which of the student's parameters begin as bert-mini's: name in bert-mini -> the student's name, and its numbers."""
    state, library = dict(model.state_dict()), _bert_mini()[1].state_dict()
    last = max(int(name.split(".")[2]) for name in library if name.startswith("encoder.layer."))
    found = {}
    for name in ("encoder.layer.0.attention.self.query.weight", f"encoder.layer.{last}.output.dense.weight"):
        for own, one in state.items():
            if one.shape == library[name].shape and torch.allclose(one.float(), library[name], atol=1e-6):
                found[name] = own, one.detach().clone()
    return found


def _classifier(TopicClassifier, seed):
    make(TopicClassifier, "torch.manual_seed", seed)
    return TopicClassifier(len(topics.TOPICS))


def _assert_each_alone(what, model):
    """The logits of a text do not depend on the texts beside it."""
    texts = sorted((row.text for row in topics.split(0).test[:5]), key=len)
    texts = [texts[0][:60], *texts]
    together, again = (_logits_of(what, model, texts) for _ in range(2))
    assert torch.equal(together, again), f"{what}: in evaluation mode two calls give two results"
    for i in (0, 3):
        moved = (_logits_of(what, model, texts[i : i + 1])[0] - together[i]).abs().max()
        advice = "a text's logits must not depend on the texts beside it: hand the attention mask to the encoder and to the pooling"
        assert moved < 1e-3, f"{what}: the logits of a text alone differ from those beside longer texts by {moved:.2f}: {advice}"


@visible(points=0.5)
def check_untrained_classifier(TopicClassifier):
    """Before training: bert-mini is inside, logits have their shape, and a text has the same ones alone and beside others"""
    model = _classifier(TopicClassifier, 1)
    try:
        model = model.eval()
    except AttributeError:
        raise AssertionError("TopicClassifier(6) is no nn.Module whose super().__init__() has run") from None
    what = "an untrained TopicClassifier(6)"
    _assert_each_alone(what, model)
    words = _words_of_one_token(80)
    whole = _logits_of(what, model, [" ".join(words)])[0]
    for read, cut, advice in ((True, 61, "it is among the first 64 tokens"), (False, 62, "read 64 tokens, [CLS] and [SEP] among them")):
        other = " ".join([*words[:cut], words[0], *words[cut + 1 :]])
        moved = (_logits_of(what, model, [other])[0] - whole).abs().max() > 1e-6
        told = f"{what}: of a text of 80 words, each one token, word {cut} (from 0) makes {'a' if moved else 'no'} difference"
        assert moved == read, f"{told}: {advice}"
    advice = 'load it from minis.folder("bert-mini"), and keep it as a part of the module'
    assert len(_inside(model)) == 2, f"{what}: bert-mini's weights are not among its parameters: {advice}"


@lru_cache(maxsize=1)
def _measured(TopicClassifier):
    """Fine-tune and measure once for both checks: the accuracy on each split, and what is wrong, if anything is."""
    try:
        _assert_each_alone("an untrained TopicClassifier(6)", _classifier(TopicClassifier, 1).eval())
        return [_accuracy(TopicClassifier, seed) for seed in _SEEDS], ""
    except AssertionError as error:
        return [], str(error)


def _accuracy(TopicClassifier, seed):
    """Train on the split's training texts, count right answers on its test texts."""
    parts, model = topics.split(seed), _classifier(TopicClassifier, seed)
    before = _inside(model)
    assert len(before) == 2, "TopicClassifier(6): bert-mini's weights are not among its parameters: it would learn from nothing"
    texts, labels = [row.text for row in parts.train], [row.label for row in parts.train]
    model.train()
    given = list(texts), list(labels)
    model.fit(*given, torch.Generator().manual_seed(seed))
    assert given == (texts, labels), "fit has changed the texts or the labels that it was given: work on copies"
    model.eval()
    state = dict(model.state_dict())
    for name, (own, one) in before.items():
        moved = (state[own] - one).abs().max()
        advice = "fit trains the encoder, too; frozen features are what it is compared with"
        assert moved > 1e-5, f"after fit bert-mini's {name} is what it was: {advice}"
    found = torch.cat([_logits_of("the trained model", model, [row.text for row in some]) for some in _by(parts.test, 40)]).argmax(-1)
    right = (found == torch.tensor([row.label for row in parts.test])).double().mean().item()
    advice = "is the learning rate so high that bert-mini is forgotten, or are there too few steps?"
    assert right > 0.4, f"split {seed}: after fit fewer than 4 in 10 test paragraphs get their topic: {advice}"
    told = f"split {seed}: {right:.0%} of the test paragraphs get their topic, more than bert-mini can learn from these"
    assert right < 0.9, f"{told}: it has seen their labels"
    return right


def _by(rows, size):
    return [rows[i : i + size] for i in range(0, len(rows), size)]


@lru_cache(maxsize=1)
def _baselines():
    """Mean accuracy of logistic regression over the splits: on TF-IDF, and on bert-mini's mean vectors, left as they are."""
    counted = statistics.fmean(finetuning.tf_idf(topics.split(seed).train, topics.split(seed).test)[0] for seed in _SEEDS)
    return counted, statistics.fmean(_frozen(topics.split(seed)) for seed in _SEEDS)


@torch.no_grad()
def _frozen(parts):
    tokens, encoder = _bert_mini()
    vectors, labels = [], [row.label for row in (*parts.train, *parts.test)]
    for rows in _by([*parts.train, *parts.test], 40):
        read, _ = finetuning.batch(rows, tokens, _READ)
        real = read["attention_mask"][..., None].float()
        vectors.append((encoder(**read).last_hidden_state * real).sum(1) / real.sum(1))
    X, n = torch.cat(vectors).numpy(), len(parts.train)
    return LogisticRegression(max_iter=2000).fit(X[:n], labels[:n]).score(X[n:], labels[n:])


def _assert_above(TopicClassifier, which, name):
    scores, problem = _measured(TopicClassifier)
    assert not problem, problem
    mean, baseline = statistics.fmean(scores), _baselines()[which]
    advice = "more passes; a learning rate that rises, then falls; a higher one for the head than for the encoder"
    assert mean > baseline, f"mean accuracy over three splits {mean:.0%}, {name} has {baseline:.0%}: {advice}"


@hidden(points=0.5)
def check_above_counting(TopicClassifier):
    """Fine-tuned on three splits: above logistic regression on TF-IDF"""
    _assert_above(TopicClassifier, 0, "TF-IDF")


@hidden(points=0.5)
def check_above_frozen(TopicClassifier):
    """Fine-tuned on three splits: above logistic regression on bert-mini's frozen vectors of the same 64 tokens"""
    _assert_above(TopicClassifier, 1, "the frozen encoder")


def _three(what, got, nan=""):
    """Three finite numbers. nan: what to say where one is not finite."""
    right = isinstance(got, list | tuple) and len(got) == 3
    advice = ": return a tuple of three floats" if isinstance(got, np.ndarray | torch.Tensor) else ""
    assert right, f"{what}: expected (mean, low, high), got {shown(got)}{advice}"
    try:
        values = torch.tensor([float(one) for one in got], dtype=torch.float64)
    except (TypeError, ValueError):
        raise AssertionError(f"{what}: expected three numbers, got {shown(got)}") from None
    assert values.isfinite().all(), f"{what}: got {shown(got)}, expected finite numbers{nan}"
    return values


@visible(points=0.25)
def check_interval_by_hand(interval):
    """The worked example: three scores, 0.5, 0.6 and 0.7"""
    what, root = "scores [0.5, 0.6, 0.7]", 3**0.5
    got = _three(what, interval([0.5, 0.6, 0.7]))
    spreads = (
        (1.959964 * 0.1 / root, "this is the normal distribution's 1.96; with three scores t is 4.303"),
        (4.302653 * 0.1, "divide the standard deviation by the root of n"),
        (4.302653 * 0.1 * (2 / 3) ** 0.5 / root, "divide the sum of squares by n - 1, not by n"),
        (3.182446 * 0.1 / root, "the degrees of freedom are n - 1"),
        (2.919986 * 0.1 / root, "95% lie inside, so 2.5% beyond each end: t is 4.303"),
        (0.1 / root, "this is one standard error; multiply it by t"),
        (0.1, "this is the standard deviation"),
        (4.303 * 0.1 / root, "almost; is t rounded, or the result? Take t from scipy.stats"),
    )
    slips = [([0.6, 0.6 - spread, 0.6 + spread], advice) for spread, advice in spreads]
    assert_close(f"{what}: (mean, low, high)", got, torch.tensor([0.6, 0.3515862, 0.8484138], dtype=torch.float64), slips)


@hidden(points=0.25)
def check_interval_of_scipy(interval):
    """Other scores, also negative ones and equal ones: scipy's interval of a t-test; the scores stay as they are"""
    cases = (
        [0.61, 0.64],
        [0.7, 0.7, 0.7, 0.7],
        [0.1, 0.1, 0.1],
        [-0.02, 0.05, 0.011, 0.03, 0.0],
        (3.0, 1.0, 2.0),
        list(_drawn((40,), 1).tolist()),
    )
    for scores in cases:
        what, given = f"{len(scores)} scores, {scores!s:.60}", type(scores)(scores)
        equal = "all scores are equal, so s = 0 and both ends are the mean"
        by_hand = "scipy's interval with scale = 0 is nan, so compute mean ± half yourself"
        got = _three(what, interval(given), f": {equal}; {by_hand}" if len(set(scores)) == 1 else "")
        if len(set(scores)) == 1:
            want = [scores[0]] * 3
        else:
            ends = ttest_1samp(scores, 0).confidence_interval(0.95)
            want = [statistics.fmean(scores), ends.low, ends.high]
        assert_close(f"{what}: (mean, low, high)", got, torch.tensor(want, dtype=torch.float64))
        assert given == scores, f"{what}: the scores that were given are changed"
