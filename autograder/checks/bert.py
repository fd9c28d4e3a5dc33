"""Checks of the exercises of chapter 8, BERT."""

import math
from collections import Counter, namedtuple
from functools import lru_cache
from itertools import pairwise

import torch
from scipy.stats import binom
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertForMaskedLM, BertForPreTraining, BertModel
from transformers.models.bert.modeling_bert import BertEmbeddings

from lmkit import corpus, minis, pretrained
from lmkit.check import hidden, visible
from lmkit.compare import ask, assert_close, assert_gradients, numbers, shown, tensor
from lmkit.subject import find, gradients, make

HIDES = ("lmkit.masked",)  # while work is graded: it holds what several exercises ask for

_SMALL = {"vocab_size": 11, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 12, "num_hidden_layers": 2,
          "max_position_embeddings": 9, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
_EMBEDDINGS = "transformers.models.bert.modeling_bert.BertEmbeddings"


_UNSEEDED = "two generators with the same seed give two results: draw all that is random with `generator=generator`"
_RESEEDED = "calls with one generator all give the same result: do not seed or copy it; each call draws on"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _drawn(shape, seed):
    """Random numbers, most of them between -2 and 2, in float64."""
    return torch.randn(shape, generator=_generator(seed), dtype=torch.float64)


def _random_state(module, seed):
    """Weights for all parameters of a module, none of them small or alike: name -> tensor, float64."""
    generator = _generator(seed)
    return {
        name: torch.randn(one.shape, generator=generator, dtype=torch.float64) / (one.shape[-1] ** 0.5 if one.ndim > 1 else 2)
        for name, one in module.named_parameters()
    }


def _with_weights(module, state):
    """The module in float64 and in evaluation mode, with these weights."""
    module = module.double()
    module.load_state_dict(state, strict=False)
    return module.eval()


def _fitted(what, module, state, library):
    """A student's module with these weights. AssertionError where its parameters have other names or shapes than the library's."""
    try:
        own = {name: tuple(one.shape) for name, one in module.named_parameters()}
    except AttributeError:
        raise AssertionError(f"{what} is no nn.Module whose super().__init__() has run: write `class …(nn.Module)`, and call it") from None
    want = {name: tuple(one.shape) for name, one in state.items()}
    advice = f"name the parts as {library} does, so that its weights fit"
    for name in (*want, *own):
        assert name in own, f"{what} has no parameter {name}: {advice}"
        assert name in want, f"{what} has a parameter {name}, which {library} has not: {advice}"
        assert own[name] == want[name], f"{what}: its parameter {name} has the shape {own[name]}, expected {want[name]}"
    return _with_weights(module, state)


def _assert_unchanged(what, given, kept):
    for name, one in kept.items():
        assert torch.equal(given[name], one), f"{what}: {name}, which was given, is changed: work on a copy"


# 8.1 Input embeddings


def _assert_own(what, module, library):
    """AssertionError where a student's module is the library's own, or has it inside."""
    is_a, itself = find(module, "builtins.isinstance"), find(module, library)
    inside = any(is_a(part, itself) for part in module.modules())
    name = library.rpartition(".")[2]
    assert not inside, f"{what} is built on {name}: write its steps yourself, and keep the library's for comparing"


def _embeddings(InputEmbeddings, V, C, places, state):
    what = f"InputEmbeddings({V}, {C}, {places})"
    module = _fitted(what, InputEmbeddings(V, C, places), state, "transformers' BertEmbeddings")
    _assert_own(what, module, _EMBEDDINGS)
    return module


def _library_embeddings(seed, scale=1.0):
    """The library's embeddings with random weights: 11 tokens, 8 numbers, 9 places."""
    library = BertEmbeddings(BertConfig(**_SMALL))
    state = {name: one if "Norm" in name else one * scale for name, one in _random_state(library, seed).items()}
    return _with_weights(library, state), state


def _exactly(got, slips):
    """Those of the slips that a result is in all its digits, so that no small mistake is taken for another."""
    return [(slip, advice) for slip, advice in slips if slip.shape == got.shape and torch.allclose(got.double(), slip, 1e-7, 1e-7)]


def _embedding_slips(got, state, ids, types):
    """Which usual mistakes give this result."""
    words = state["word_embeddings.weight"][ids]
    places = state["position_embeddings.weight"][: ids.shape[1]]
    kinds = state["token_type_embeddings.weight"][types]
    weight, bias = state["LayerNorm.weight"], state["LayerNorm.bias"]

    def norm(x, eps=1e-12):
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    first, later = state["position_embeddings.weight"][0], state["position_embeddings.weight"][1 : ids.shape[1] + 1]
    slips = [
        (norm(words + places + kinds, 1e-5), "LayerNorm's eps is 1e-12, not torch's 1e-5"),
        (norm(words + first + kinds), "every token has the row of place 0; the places of a row are 0, 1, 2, …"),
        (words + places + kinds, "this is the sum; LayerNorm comes last"),
        (norm(words + kinds), "position_embeddings are missing: add the row of each token's place"),
        (norm(words + places), "token_type_embeddings are missing: add the row of each token's type, also where all types are 0"),
        (norm(words), "these are the word embeddings alone; the place and the type have rows of their own, to be added"),
        (norm(words) + places + kinds, "LayerNorm comes last, after all three are added"),
        (norm(words + places + state["token_type_embeddings.weight"][1 - types]), "type 0 has row 0, type 1 has row 1"),
        (norm(words + places + state["token_type_embeddings.weight"][0]), "every token has the row of type 0; `types` says which it has"),
    ]
    if later.shape == places.shape:
        slips.append((norm(words + later + kinds), "the first place is 0"))
    return _exactly(got, slips)


@visible(points=0.5)
def check_two_tokens(InputEmbeddings):
    """The worked example: two tokens of four numbers"""
    rows = {
        "word_embeddings.weight": [[0, 0, 0, 0], [0, 0, 0, 2], [4, 2, 0, 0]],
        "position_embeddings.weight": [[0, 0, 4, 0], [0, 0, 0, 2]],
        "token_type_embeddings.weight": [[0, -2, 0, 0], [0, 4, 0, 0]],
        "LayerNorm.weight": [1, 1, 1, 1],
        "LayerNorm.bias": [0, 0, 0, 0],
    }
    state = {name: torch.tensor(row, dtype=torch.float64) for name, row in rows.items()}
    ids, types = torch.tensor([[2, 1]]), torch.tensor([[0, 1]])
    got = tensor("the worked example", _embeddings(InputEmbeddings, 3, 4, 2, state)(ids, types), (1, 2, 4), "(B, T, C)")
    want = torch.tensor([[[1, -1, 1, -1], [-1, 1, -1, 1]]], dtype=torch.float64)
    assert_close("the worked example", got, want, _embedding_slips(got, state, ids, types))


_IDS = torch.tensor([[2, 7, 7, 9, 3], [2, 5, 3, 10, 3], [2, 3, 6, 3, 1]])
_TYPES = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]])


@visible(points=0.5)
def check_embeddings_of_library(InputEmbeddings):
    """Random weights, three sequences of five tokens: what transformers' BertEmbeddings gives"""
    library, state = _library_embeddings(1)
    own = _embeddings(InputEmbeddings, 11, 8, 9, state)
    got = tensor("random weights", own(_IDS, _TYPES), (3, 5, 8), "(B, T, C)")
    with torch.no_grad():
        assert_close("random weights", got, library(_IDS, _TYPES), _embedding_slips(got, state, _IDS, _TYPES))


@hidden(points=0.5)
def check_embeddings_at_the_ends(InputEmbeddings):
    """Types left out; one token and as many as there are places; training mode; small numbers; what is given stays as it is"""
    library, state = _library_embeddings(2)
    own = _embeddings(InputEmbeddings, 11, 8, 9, state)
    for ids in (_IDS, _IDS[:1, :1], torch.arange(1, 10)[None]):
        what, zeros = f"ids of shape {tuple(ids.shape)}, without types", torch.zeros_like(ids)
        kept = ids.clone()
        got = tensor(what, ask(what, own, ids), (*ids.shape, 8), "(B, T, C)")
        _assert_unchanged(what, {"ids": ids}, {"ids": kept})
        with torch.no_grad():
            assert_close(what, got, library(ids, zeros), _embedding_slips(got, state, ids, zeros))
    own.train()
    got = tensor("training mode", own(_IDS, _TYPES), (3, 5, 8), "(B, T, C)")
    with torch.no_grad():
        assert_close("training mode, in which there is no dropout either", got, library(_IDS, _TYPES))
    library, state = _library_embeddings(3, scale=1e-3)
    got = tensor("small numbers", _embeddings(InputEmbeddings, 11, 8, 9, state)(_IDS, _TYPES), (3, 5, 8), "(B, T, C)")
    with torch.no_grad():
        assert_close("weights of about 0.001", got, library(_IDS, _TYPES), _embedding_slips(got, state, _IDS, _TYPES))


@hidden(points=0.5)
def check_gradients_of_embeddings(InputEmbeddings):
    """Gradients of all parameters: what transformers' BertEmbeddings has"""
    library, state = _library_embeddings(4)
    own = _embeddings(InputEmbeddings, 11, 8, 9, state)
    assert_gradients("random weights", own, library, (_IDS, _TYPES), ("ids", "types"), _drawn((3, 5, 8), 5))


# 8.2 Masking: where chance is measured, a right answer fails less than once in a million runs

_SPECIAL, _MASK = [0, 1, 2, 3, 4], 4
_RARE = 1e-10  # how often a right count lies below its least, and as often above its most; no check has more than a thousand of them


def _bounds(n, p):
    """The least and the most that a count of n chances has, each of probability p, but for the rarest cases."""
    return int(binom.ppf(_RARE, n, p)), int(binom.isf(_RARE, n, p))


def _assert_likely(what, count, n, p, advice):
    low, high = _bounds(n, p)
    assert low <= count <= high, f"{what}: {int(count):,} of {n:,}, expected between {low:,} and {high:,}: {advice}"


def _text(B, T, V, seed):
    """Random ids from 5 to V - 1, with [CLS] in front and [SEP] behind, and padding behind that in every third row."""
    ids = torch.randint(5, V, (B, T), generator=_generator(seed))
    ids[:, 0], ids[:, -1] = 2, 3
    ids[::3, -3:] = torch.tensor([3, 0, 0])
    return ids


def _masked(what, got, ids):
    """The pair that an answer returned: two tensors of whole numbers, of the shape of ids."""
    assert isinstance(got, tuple | list), f"{what}: expected a pair, (masked ids, labels), got {shown(got)}"
    assert len(got) == 2, f"{what}: expected a pair, (masked ids, labels), got {len(got)} values"
    for name, one in zip(("the masked ids", "the labels"), got, strict=True):
        assert isinstance(one, torch.Tensor), f"{what}: {name}: expected a tensor of shape {tuple(ids.shape)}, got {shown(one)}"
        assert tuple(one.shape) == tuple(ids.shape), f"{what}: {name} have the shape {tuple(one.shape)}, expected {tuple(ids.shape)}"
        assert one.dtype == torch.int64, f"{what}: {name} have the type {one.dtype}, expected torch.int64"
    return got


def _assert_place(what, wrong, message, *tensors):
    """Name the first place of a wrong one: message is filled with the place's numbers in these tensors."""
    if wrong.any():
        place = tuple(torch.nonzero(wrong)[0].tolist())
        raise AssertionError(f"{what}: at place {place} {message.format(*(one[place].item() for one in tensors))}")


def _assert_consistent(what, got, ids):
    """Masked ids and labels fit together, and special tokens are left alone. Returns them, and which tokens are chosen."""
    masked, labels = _masked(what, got, ids)
    chosen, special = labels != -100, torch.isin(ids, torch.tensor(_SPECIAL))
    _assert_place(what, chosen & special, "a special token, {}, has the label {}; special tokens are never chosen", ids, labels)
    _assert_place(what, special & (masked != ids), "a special token, {}, has become {}; it stays", ids, masked)
    own = "stood {}, the label is {}; the label of a chosen token is its own id, as it was before masking; all others have -100"
    _assert_place(what, chosen & (labels != ids), own, ids, labels)
    _assert_place(what, ~chosen & (masked != ids), "stood {}, which is not chosen (its label is -100), but it has become {}", ids, masked)
    return masked, labels, chosen


@visible(points=1)
def check_labels_of_chosen(mask_tokens):
    """Labels are the chosen tokens' own ids, and -100 elsewhere; only chosen tokens change; special tokens never do"""
    ids = _text(60, 30, 50, 1)
    what = "60 random texts of 30 ids, V = 50, special [0, 1, 2, 3, 4], mask_id 4"
    kept = ids.clone()
    masked, _, chosen = _assert_consistent(what, mask_tokens(ids, _SPECIAL, _MASK, 50, _generator(2)), kept)
    assert chosen.any(), f"{what}: no label but -100; 15% of the ordinary tokens are chosen, and their labels are their ids"
    assert (masked == _MASK).any(), f"{what}: nowhere stands mask_id; 80% of the chosen tokens become {_MASK}"


@visible(points=1)
def check_shares(mask_tokens):
    """15% are chosen; of these 80% become mask_id, 10% a random id, 10% stay"""
    V = 1000
    ids = torch.randint(5, V, (1, 60_000), generator=_generator(3))
    what = f"one text of {ids.numel():,} ordinary tokens, V = {V}"
    masked, _, chosen = _assert_consistent(what, mask_tokens(ids.clone(), _SPECIAL, _MASK, V, _generator(4)), ids)
    n = int(chosen.sum())
    _assert_likely(f"{what}: chosen tokens", n, ids.numel(), 0.15, "each ordinary token is chosen with probability 0.15")
    kept, hid = (masked == ids)[chosen].sum(), (masked == _MASK)[chosen].sum()
    one = 0.1 / V  # a random id is mask_id, or the token's own, as often as any other
    _assert_likely(f"{what}: chosen tokens that became mask_id", hid, n, 0.8 + one, "80% of the chosen ones do")
    others = "10% of the chosen ones, not of those that the mask leaves, become a random id; and none that became mask_id is drawn again"
    _assert_likely(f"{what}: chosen tokens that became another ordinary id", n - kept - hid, n, 0.1 - 2 * one, others)
    _assert_likely(f"{what}: chosen tokens that stayed", kept, n, 0.1 + one, "10% of the chosen ones stay, but have a label")


@hidden(points=1)
def check_each_by_itself(mask_tokens):
    """Each token is chosen by itself, and each random id is drawn by itself, all V equally likely"""
    V = 12
    ids = torch.randint(5, V, (200, 200), generator=_generator(5))
    what = "200 texts of 200 ordinary tokens, V = 12"
    masked, _, chosen = _assert_consistent(what, mask_tokens(ids.clone(), _SPECIAL, _MASK, V, _generator(6)), ids)
    for dim, name in ((0, "place"), (1, "text")):
        counts = chosen.sum(dim=dim)
        for i in (int(counts.argmin()), int(counts.argmax())):
            advice = "draw for each token of each text, not once for a place or a text"
            _assert_likely(f"{what}: chosen tokens of {name} {i}", counts[i], 200, 0.15, advice)
    none, at_all = 0, _generator(55)
    for _ in range(200):
        few = torch.randint(5, V, (1, 10), generator=_generator(56))
        none += not (_masked("a text of 10 ordinary tokens", mask_tokens(few, _SPECIAL, _MASK, V, at_all), few)[1] != -100).any()
    advice = "how many are chosen is up to chance; do not choose a fixed number of them (and do not seed the generator)"
    _assert_likely("calls with one text of 10 ordinary tokens that choose none", none, 200, 0.85**10, advice)
    _assert_fates(what, masked[chosen], ids[chosen], V)
    ids[:, ::2] = 3
    what = "200 texts of 200 ids, each second of them special"
    _, _, chosen = _assert_consistent(what, mask_tokens(ids.clone(), _SPECIAL, _MASK, V, _generator(62)), ids)
    advice = "each ordinary token is chosen with probability 0.15, however many special ones stand beside it"
    _assert_likely(f"{what}: chosen tokens", chosen.sum(), 20_000, 0.15, advice)
    for shape in ((20_000, 3), (3, 20_000)):
        ids = torch.randint(5, V, shape, generator=_generator(57))
        what = f"{shape[0]:,} texts of {shape[1]:,} ordinary tokens, V = {V}, share = 1"
        masked, _, chosen = _assert_consistent(what, mask_tokens(ids.clone(), _SPECIAL, _MASK, V, _generator(58), 1.0), ids)
        for i in range(3):
            place = (slice(None), i) if shape[1] == 3 else (i, slice(None))
            of_line = f"{what}: of {'place' if shape[1] == 3 else 'text'} {i}"
            _assert_fates(of_line, masked[place][chosen[place]], ids[place][chosen[place]], V)
    what = "60,000 tokens, all of them 1, V = 2, special [0], mask_id 0, share = 1"
    ids = torch.ones(300, 200, dtype=torch.int64)
    masked, _ = _masked(what, mask_tokens(ids.clone(), [0], 0, 2, _generator(59), 1.0), ids)
    advice = "a random id is any of the V: half of them are mask_id here, half the token's own"
    _assert_likely(f"{what}: tokens that became 0", (masked == 0).sum(), 60_000, 0.85, advice)


def _assert_fates(what, now, own, V):
    """Of chosen tokens, each neither mask_id nor special: as many are hidden, and are each random id, as when each is drawn by itself."""
    advice = "what becomes of a token is drawn for each token of each text"
    _assert_likely(f"{what}: chosen tokens that became mask_id", (now == _MASK).sum(), len(own), 0.8 + 0.1 / V, advice)
    for drawn in (one for one in range(V) if one != _MASK):
        others = now[own != drawn]
        advice = "a random id is any of the V, from 0 to V - 1, all equally likely, and drawn anew for each token"
        _assert_likely(f"{what}: random ids that are {drawn}", (others == drawn).sum(), len(others), 0.1 / V, advice)


@hidden(points=0.5)
def check_generator_of_masking(mask_tokens):
    """All that is random comes from the generator"""
    ids, results = _text(40, 30, 50, 7), []
    for seed in (1, 2):
        make(mask_tokens, "torch.manual_seed", seed)
        make(mask_tokens, "random.seed", seed)
        make(mask_tokens, "numpy.random.seed", seed)
        generator = _generator(8)
        results += [[*_masked("40 random texts", mask_tokens(ids.clone(), _SPECIAL, _MASK, 50, generator), ids)] for _ in range(2)]
    same = all(torch.equal(one, other) for one, other in zip(results[0], results[2], strict=True))
    assert same, _UNSEEDED
    again = all(torch.equal(one, other) for one, other in zip(results[0], results[1], strict=True))
    assert not again, _RESEEDED


@hidden(points=0.5)
def check_masking_at_the_ends(mask_tokens):
    """Shares of 0 and 1, texts without ordinary tokens, no text at all, other special ids; what is given stays as it is"""
    ids, with_mask = _text(6, 12, 50, 9), torch.tensor([[2, 4, 7, 4, 0]])
    cases = (
        ("share = 1", ids, _SPECIAL, 1.0, ~torch.isin(ids, torch.tensor(_SPECIAL))),
        ("share = 0", ids, _SPECIAL, 0.0, torch.zeros_like(ids, dtype=torch.bool)),
        ("special tokens alone, share = 1", torch.tensor([[2, 3, 0], [2, 3, 0]]), _SPECIAL, 1.0, torch.zeros(2, 3, dtype=torch.bool)),
        ("ids of shape (2, 0)", torch.zeros(2, 0, dtype=torch.int64), _SPECIAL, 1.0, torch.zeros(2, 0, dtype=torch.bool)),
        ("special [49, 7], mask_id 49, share = 1", ids, [49, 7], 1.0, (ids != 49) & (ids != 7)),
        ("special [0], mask_id 4, which is not special here, share = 1", with_mask, [0], 1.0, with_mask != 0),
    )
    for what, given, special, share, want in cases:
        mine, listed = given.clone(), list(special)
        mask_id = special[0] if special[0] == 49 else _MASK
        _, labels = _masked(what, mask_tokens(mine, listed, mask_id, 50, _generator(10), share), given)
        assert torch.equal(mine, given), f"{what}: the ids that were given are changed: work on a copy"
        assert listed == special, f"{what}: the list `special` that was given has become {listed}"
        missed = "stood {}, whose label is {}; with this share it is chosen, and the label its own id"
        _assert_place(what, want & (labels != given), missed, given, labels)
        _assert_place(what, ~want & (labels != -100), "stood {}, whose label is {}; here it is never chosen", given, labels)


# 8.3 Sentence pairs


def _pairs(what, got, firsts):
    """What an answer returned: triples, whose firsts are these."""
    assert isinstance(got, list | tuple), f"{what}: expected a list of triples, (first, second, is_next), got {shown(got)}"
    strange = [one for one in got if not isinstance(one, tuple | list) or len(one) != 3]
    assert not strange, f"{what}: expected triples, (first, second, is_next), got {shown(strange[0])}"
    found = [one[0] for one in got]
    about = "a pair for each sentence that is not the last of its document, in the order of the text"
    assert found == firsts, f"{what}: the firsts are {found!s:.80}, expected {firsts!s:.80}: {about}"
    return [(first, second, bool(is_next)) for first, second, is_next in got]


_DOCUMENTS = [["a1", "a2", "a3"], ["b1"], ["c1", "c2"], []]


@visible(points=0.5)
def check_neighbours_and_strangers(next_sentence_pairs):
    """The documents of the example, 40 times: a neighbour with True, a sentence of another document with False"""
    what = f"documents {_DOCUMENTS}"
    follows, seen = {"a1": "a2", "a2": "a3", "c1": "c2"}, set()
    for seed in range(40):
        documents = [list(document) for document in _DOCUMENTS]
        for first, second, is_next in _pairs(what, next_sentence_pairs(documents, _generator(seed)), ["a1", "a2", "c1"]):
            pair = f"{what}: the pair ({first!r}, {second!r}, {is_next})"
            seen.add((second, is_next))
            assert not is_next or second == follows[first], f"{pair}: with True stands the next sentence of the same document"
            stranger = "with False stands a sentence of another document, never one of its own, near or far"
            assert is_next or str(second)[:1] in set("abc") - {first[0]}, f"{pair}: {stranger}"
    assert ("b1", False) in seen, f"{what}: in 40 runs 'b1' was never drawn; a document of one sentence gives no first, but it can be drawn"


@visible(points=0.5)
def check_half_are_neighbours(next_sentence_pairs):
    """Half of the pairs are neighbours, drawn for each pair by itself"""
    documents = [[f"{name}{i}" for i in range(1501)] for name in "ab"]
    got = _pairs("two documents of 1,501 sentences", next_sentence_pairs(documents, _generator(50)), documents[0][:-1] + documents[1][:-1])
    answers = [is_next for _, _, is_next in got]
    turns = sum(one != other for one, other in pairwise(answers))
    for what, count, n in (("pairs with True", sum(answers), 3000), ("answers unlike that of the pair before", turns, 2999)):
        _assert_likely(f"two documents of 1,501 sentences: {what}", count, n, 0.5, "each pair has the probability 1/2, by itself")


@hidden(points=0.5)
def check_strangers_are_equally_likely(next_sentence_pairs):
    """All other documents are equally likely, however long they are, and all sentences of the one that is drawn"""
    documents = [[f"a{i}" for i in range(3001)], ["b0"], [f"c{i}" for i in range(9)], [], ["d0", "d1"]]
    what = "documents of 3,001, 1, 9, 0 and 2 sentences"
    firsts = [sentence for document in documents for sentence in document[:-1]]
    got = _pairs(what, next_sentence_pairs(documents, _generator(51)), firsts)
    advice = "each pair has the probability 1/2, however many documents there are"
    _assert_likely(f"{what}: pairs with True", sum(is_next for _, _, is_next in got), len(got), 0.5, advice)
    drawn = Counter(second for first, second, is_next in got if first[0] == "a" and not is_next)
    n = sum(drawn.values())
    for name, size in (("b", 1), ("c", 9), ("d", 2)):
        of_document = sum(count for second, count in drawn.items() if second[0] == name)
        advice = "first one of the other documents that hold a sentence is drawn, then one of its sentences"
        _assert_likely(f"{what}: strangers of the first one from the one of {size}", of_document, n, 1 / 3, advice)
        for i in range(size):
            advice = "all sentences of the document that is drawn are equally likely"
            _assert_likely(f"{what}: of these, sentence {name}{i}", drawn[f"{name}{i}"], n, 1 / 3 / size, advice)


@hidden(points=0.5)
def check_pairs_at_the_ends(next_sentence_pairs):
    """Documents of one sentence, too few documents, equal sentences, sentences of ids, the generator; what is given stays as it is"""
    assert _pairs("documents [['a'], ['b']]", next_sentence_pairs([["a"], ["b"]], _generator(52)), []) == []
    for documents in ([["a", "b"]], [["a", "b"], []], []):
        try:
            got = next_sentence_pairs(documents, _generator(53))
        except ValueError:
            continue
        raise AssertionError(f"documents {documents}: expected a ValueError, as no other document holds a sentence, got {shown(got)}")
    alike = [[f"s{i}" for i in range(301)] for _ in range(2)]
    what = "two documents of the same 301 sentences, and one of one, 'z'"
    got = _pairs(what, next_sentence_pairs([*alike, ["z"]], _generator(60)), alike[0][:-1] * 2)
    strangers = [second for _, second, is_next in got if not is_next]
    advice = "two documents with equal sentences are still two: leave out the document itself, not all that equal it"
    _assert_likely(f"{what}: strangers that are 'z'", strangers.count("z"), len(strangers), 0.5, advice)
    for seed in range(40):
        pair = _pairs("documents 'a b a c' and 'z'", next_sentence_pairs([[*"abac"], ["z"]], _generator(seed)), [*"aba"])[2]
        told = f"documents 'a b a c' and 'z': the third pair is {pair}, expected ('a', 'c', True) where it is True"
        assert not pair[2] or pair[1] == "c", f"{told}: a sentence may stand twice, so go by its place"
    documents = [[[5, 6], [7], [8, 9]], [], ([10], [11, 12]), [[13], [14]]]
    kept, results = [[list(sentence) for sentence in document] for document in documents], []
    firsts = [sentence for document in kept for sentence in document[:-1]]
    for seed in (1, 2):
        make(next_sentence_pairs, "torch.manual_seed", seed)
        make(next_sentence_pairs, "random.seed", seed)
        make(next_sentence_pairs, "numpy.random.seed", seed)
        generator = _generator(54)
        results += [[_pairs("sentences of ids", next_sentence_pairs(documents, generator), firsts) for _ in range(8)]]
    assert results[0] == results[1], _UNSEEDED
    assert any(one != results[0][0] for one in results[0]), _RESEEDED
    now = [[list(sentence) for sentence in document] for document in documents]
    assert now == kept, "sentences of ids: the documents that were given are changed: work on copies"


# 8.4 The encoder

_REAL = torch.tensor([[True, True, True, True, True], [True, True, True, False, False], [True, False, False, False, False]])
_ALL = torch.ones(2, 5, dtype=torch.bool)
_SENSE = "`real` is True for tokens, a key_padding_mask of torch is True for padding: hand over ~real"


def _stack(layers, state, **other):
    """torch's own encoder of blocks of 8 numbers, with these weights; other: what differs from BERT's."""
    options = {"dropout": 0.0, "activation": "gelu", "layer_norm_eps": 1e-12, "batch_first": True} | other
    library = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, **options), layers, enable_nested_tensor=False)
    return _with_weights(library, _random_state(library, 20) if state is None else state)


def _own_encoder(Encoder, layers, state, *eps):
    sizes = 8, 2, 12, layers, *eps
    return _fitted(f"Encoder{sizes}", Encoder(*sizes), state, "nn.TransformerEncoder")


def _encoded(what, encoder, x, real):
    """What an encoder gives for the tokens: finite, the same in a second call, also in training mode."""
    encoder.train()
    try:
        results = [encoder(x.clone(), real.clone()) for _ in range(2)]
    except AssertionError as error:  # torch's own, which does not name its remedy
        raise AssertionError(f"{what}: {error}; torch's blocks want batch_first=True, and a mask of shape (B, T)") from None
    got, again = (tensor(what, one, tuple(x.shape), "(B, T, C)")[real] for one in results)
    assert got.isfinite().all(), f"{what}: a token gets nan: does it look at nothing? {_SENSE}"
    assert (got - again).abs().max() < 1e-9, f"{what}: two calls give two results: no dropout here, neither in training"
    return got


def _encoder_slips(got, layers, state, x, real):
    """Which usual mistakes give this result, for the tokens."""

    def tanh_gelu(x):
        return F.gelu(x, approximate="tanh")

    others = (
        ({"norm_first": True}, "the norms stand after what is added (post-norm): norm1(x + attention(x)), norm2(x + …)"),
        ({"activation": "relu"}, "between linear1 and linear2 stands GELU, not ReLU"),
        ({"activation": tanh_gelu}, "this is the approximation of GELU by tanh; BERT has the exact one"),
        ({"batch_first": False}, "places and sequences are mixed up: torch's blocks want batch_first=True"),
        ({"layer_norm_eps": 1e-5}, "the layer norms have torch's eps of 1e-5; BERT's is 1e-12"),
    )
    with torch.no_grad():
        slips = [(_stack(layers, state, **other)(x)[real], advice) for other, advice in others if real.all()]
        first = {name: state[f"layers.0.{name.split('.', 2)[2]}"] for name in state}
        slips.append((_stack(layers, first)(x, src_key_padding_mask=~real)[real], "every block has the weights of the first"))
        slips.append((_stack(1, state)(x, src_key_padding_mask=~real)[real], "only the first block is applied"))
        slips.append((_stack(layers, state)(x)[real], "the padding is looked at: `real` must reach every block"))
        slips.append((_stack(layers, state).train()(x, src_key_padding_mask=real)[real], _SENSE))
    return _exactly(got, slips)


@visible(points=1)
def check_encoder_of_torch(Encoder):
    """Two blocks with random weights, no padding: what nn.TransformerEncoder gives as BERT has it"""
    library, x = _stack(2, None), _drawn((2, 5, 8), 21)
    state = library.state_dict()
    got = _encoded("random weights", _own_encoder(Encoder, 2, state), x, _ALL)
    with torch.no_grad():
        assert_close("random weights: a token's number", got, library(x)[_ALL], _encoder_slips(got, 2, state, x, _ALL))


@visible(points=0.5)
def check_encoder_with_padding(Encoder):
    """Padding changes nothing for the tokens; the tokens look to both sides"""
    library, x, other = _stack(2, None), _drawn((3, 5, 8), 22), _drawn((3, 5, 8), 23)
    state = library.state_dict()
    encoder = _own_encoder(Encoder, 2, state)
    other[_REAL] = x[_REAL]
    got, again = (_encoded("padding", encoder, one, _REAL) for one in (x, other))
    with torch.no_grad():
        want = library(x, src_key_padding_mask=~_REAL)[_REAL]
    assert_close("padding: a token's number", got, want, _encoder_slips(got, 2, state, x, _REAL))
    moved = (got - again).abs().max()
    assert moved < 1e-9, f"padding: other numbers in the padding change what the tokens get, by {moved:.4f}"
    given = {"x": x.clone(), "real": _REAL.clone()}
    encoder(*given.values())
    _assert_unchanged("padding", given, {"x": x, "real": _REAL})
    what, short = "evaluation mode, and the last place is padding in every row", _REAL & (torch.arange(5) < 4)
    encoder.eval()
    with torch.no_grad():
        got = tensor(what, encoder(x.clone(), short.clone()), tuple(x.shape), "(B, T, C)")
        assert_close(f"{what}: a token's number", got[short], library(x, src_key_padding_mask=~short)[short])


def _bert(seed, **other):
    """transformers' BertModel, small, with random weights; other: what differs in its configuration."""
    library = BertModel(BertConfig(**_SMALL, **other), add_pooling_layer=False)
    return _with_weights(library, _random_state(library, seed))


def _into_stack(state, layers):
    """The weights of a BertModel's encoder under the names of nn.TransformerEncoder."""
    ours = {"attention.output.dense": "self_attn.out_proj", "attention.output.LayerNorm": "norm1",
            "intermediate.dense": "linear1", "output.dense": "linear2", "output.LayerNorm": "norm2"}  # fmt: skip
    made = {}
    for kind in ("weight", "bias"):
        for i in range(layers):
            block = f"encoder.layer.{i}"
            made |= {f"layers.{i}.{own}.{kind}": state[f"{block}.{name}.{kind}"] for name, own in ours.items()}
            three = [state[f"{block}.attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            made[f"layers.{i}.self_attn.in_proj_{kind}"] = torch.cat(three)
    return made


@hidden(points=1)
def check_encoder_of_bert(Encoder):
    """The weights of a BertModel: what its own encoder gives, padding included, also for small numbers and another eps"""
    coarse, fine = "the layer norms have torch's eps of 1e-5; BERT's is 1e-12", "every layer norm has the eps that Encoder is given"
    for scale, eps, other, advice in ((1.0, 1e-12, 1e-5, coarse), (1e-3, 1e-12, 1e-5, coarse), (1.0, 0.1, 1e-12, fine)):
        x = scale * _drawn((3, 5, 8), 25)
        state = {name: one if "Norm" in name else scale * one for name, one in _bert(24).state_dict().items()}
        theirs = _with_weights(_bert(24, layer_norm_eps=eps), state)
        with torch.no_grad():
            hides = torch.zeros(3, 1, 1, 5, dtype=torch.float64).masked_fill(~_REAL[:, None, None], -math.inf)
            want = theirs.encoder(x, attention_mask=hides).last_hidden_state[_REAL]
        what = f"the weights of a BertModel, numbers of about {scale:g}, eps = {eps:g}"
        own = _into_stack(state, 2)
        got = _encoded(what, _own_encoder(Encoder, 2, own, *((eps,) if eps == 0.1 else ())), x, _REAL)
        with torch.no_grad():
            slips = ((_stack(2, own, layer_norm_eps=other)(x, src_key_padding_mask=~_REAL)[_REAL], advice),)
        assert_close(f"{what}: a token's number", got, want, slips)


@hidden(points=0.5)
def check_gradients_of_blocks(Encoder):
    """Gradients of x and of all weights, three blocks: what nn.TransformerEncoder has"""
    library, x = _stack(3, None).train(), _drawn((3, 5, 8), 26)
    own = _own_encoder(Encoder, 3, library.state_dict()).train()
    _encoded("three blocks", own, x, _REAL)
    upstream = _drawn((3, 5, 8), 27) * _REAL[..., None]
    assert_gradients("three blocks", own, library, (x, _REAL), ("x",), upstream, of_oracle=(x, None, ~_REAL))


# 8.5 Published weights


def _modules(load_pretrained, **sizes):
    """Empty modules where the answer is: the library's embeddings, torch's encoder. The first weights are always the same."""
    make(load_pretrained, "torch.manual_seed", 0)
    config = make(load_pretrained, "transformers.BertConfig", **sizes)
    embeddings = make(load_pretrained, _EMBEDDINGS, config)
    block = make(load_pretrained, "torch.nn.TransformerEncoderLayer", sizes["hidden_size"], sizes["num_attention_heads"],
                 sizes["intermediate_size"], 0.0, "gelu", 1e-12, True)  # fmt: skip
    encoder = make(load_pretrained, "torch.nn.TransformerEncoder", block, sizes["num_hidden_layers"], None, False)
    return config, embeddings.eval(), encoder.eval()


def _hidden_states(embeddings, encoder, ids, real):
    """What the two modules give together, in one call each."""
    with torch.no_grad():
        return encoder(embeddings(ids, torch.zeros_like(ids)), None, ~real)


def _small_model(load_pretrained, state, pooler=True):
    """Small modules in float64, and a BertModel with this state, where the answer is."""
    config, embeddings, encoder = _modules(load_pretrained, **_SMALL)
    theirs = _with_weights(make(load_pretrained, "transformers.BertModel", config, pooler), state)
    return embeddings.double(), encoder.double(), theirs


def _exchanged(state, one, other):
    """A state in which the tensors of two parts of every block have changed places."""
    turned = {}
    for name, value in state.items():
        block, found, rest = name.partition(".layer.")
        number, _, part = rest.partition(".")
        head, _, kind = part.rpartition(".")
        swapped = {one: other, other: one}.get(head, head)
        turned[f"{block}.layer.{number}.{swapped}.{kind}" if found else name] = value
    return turned


def _load_slips(state, ids, real):
    """What usual mistakes give, for the tokens."""
    first = {name: state[".".join(["encoder.layer.0", *name.split(".")[3:]])] if ".layer." in name else one for name, one in state.items()}
    attention = "attention.self."
    turned = {name: one.T if attention in name and one.ndim == 2 else one for name, one in state.items()}
    norms = _exchanged(state, "attention.output.LayerNorm", "output.LayerNorm")
    cases = (
        (norms, "the two norms of a block have changed places: which one stands behind the attention?"),
        (_exchanged(state, f"{attention}query", f"{attention}key"), "in_proj holds queries first, then keys, then values"),
        (_exchanged(state, f"{attention}query", f"{attention}value"), "in_proj holds queries first, then keys, then values"),
        (first, "every block has the weights of block 0"),
        (turned, "the matrices of the attention are turned over; both sides have rows for what comes out"),
    )
    library = _bert(0)
    slips = []
    for other, advice in cases:
        with torch.no_grad():
            slips.append((_with_weights(library, other)(ids, real.long()).last_hidden_state[real], advice))
    return slips


@visible(points=1)
def check_small_model(load_pretrained):
    """A small model with random weights: the two modules give together what the BertModel gives"""
    library = _bert(30)
    state = library.state_dict()
    embeddings, encoder, theirs = _small_model(load_pretrained, state)
    before = {name: one.clone() for module in (embeddings, encoder) for name, one in module.state_dict().items()}
    load_pretrained(embeddings, encoder, theirs)
    after = {**embeddings.state_dict(), **encoder.state_dict()}
    same = [name for name in before if torch.equal(before[name], after[name])]
    assert not same, f"a small model: {same[0]} is as it was: nothing is copied into it"
    got = _hidden_states(embeddings, encoder, _IDS, _REAL)
    got = tensor("a small model: the hidden states", got, (3, 5, 8), "(B, T, C)")
    with torch.no_grad():
        want = library(_IDS, _REAL.long()).last_hidden_state
    vectors = library.embeddings(_IDS).detach()
    assert_close("a small model: what the embeddings give", embeddings(_IDS, torch.zeros_like(_IDS)).detach(), vectors)
    assert_close("a small model: a hidden number of a token", got[_REAL], want[_REAL], _load_slips(state, _IDS, _REAL))


@hidden(points=0.5)
def check_copies(load_pretrained):
    """The weights are copies; the published model stays as it is, and may lack its pooler"""
    state = _bert(31).state_dict()
    for pooler in (True, False):
        embeddings, encoder, theirs = _small_model(load_pretrained, state, pooler)
        was = {name: one.clone() for name, one in theirs.state_dict().items()}
        ask(f"a small model with{'' if pooler else 'out'} a pooler", load_pretrained, embeddings, encoder, theirs)
        now = theirs.state_dict()
        changed = [name for name in was if name not in now or not torch.equal(now[name], was[name])]
        assert not changed, f"a small model: {changed[0]} of the published model is changed: read from it, and write to your own"
    before = _hidden_states(embeddings, encoder, _IDS, _REAL)
    theirs.load_state_dict({name: torch.zeros_like(one) for name, one in state.items()}, strict=False)
    after = _hidden_states(embeddings, encoder, _IDS, _REAL)
    shared = "when the published model's weights change later, the hidden states change too: copy the numbers, do not share the tensors"
    assert torch.equal(before[_REAL], after[_REAL]), f"a small model: {shared}"


@lru_cache(maxsize=1)
def _fifty_paragraphs():
    """Fifty paragraphs of the validation text, 42 short and 8 longer ones, each kind padded together.

    Of each kind: ids, which are real, what MiniLM gives for these.
    """
    tokenizer, library, batches = pretrained.tokenizer(), pretrained.encoder(), []
    texts = sorted(corpus.texts("validation"), key=lambda text: len(tokenizer(text)["input_ids"]))
    for chosen in (texts[:42], texts[60:180:15]):
        batch = tokenizer(chosen, padding=True, return_tensors="pt")
        with torch.no_grad():
            batches.append((batch["input_ids"], batch["attention_mask"].bool(), library(**batch).last_hidden_state))
    return batches


@hidden(points=1.5)
def check_fifty_paragraphs(load_pretrained):
    """The published weights of MiniLM: hidden states equal those of transformers' BertModel on fifty paragraphs, to 1e-5"""
    short, longer = _fifty_paragraphs()
    config = AutoConfig.from_pretrained(pretrained.folder())
    _, embeddings, encoder = _modules(load_pretrained, **{name: getattr(config, name) for name in _SMALL})
    load_pretrained(embeddings, encoder, make(load_pretrained, "lmkit.pretrained.encoder"))
    for ids, real, want in ([one[:2] for one in short], short, longer):  # two at first: where they are wrong, so are the others
        what = f"{len(ids)} paragraphs of {int(real.sum(dim=1).min())} to {int(real.sum(dim=1).max())} tokens"
        got = _hidden_states(embeddings, encoder, ids, real)
        got = tensor(f"{what}: the hidden states", got, tuple(want.shape), "(B, T, C)")
        apart = (got - want)[real].abs().max()
        assert apart < 1e-5, f"{what}: a hidden number differs by {apart:.2g}, expected at most 1e-5: is every tensor in its place?"


# 8.6 The loss


def _loss(what, got):
    """A loss that an answer returned, as a tensor of shape ()."""
    assert isinstance(got, torch.Tensor), f"{what}: expected a tensor with one number, got {shown(got)}"
    assert got.numel() == 1, f"{what}: expected one number, the mean, got a tensor of shape {tuple(got.shape)}"
    return tensor(what, got.reshape(()), ())


_NO_LABEL = -100


@visible(points=0.5)
def check_loss_by_hand(masked_lm_loss):
    """The worked example: two of four places are to be predicted"""
    two = math.log(2)
    hidden = torch.tensor([[[two, 0], [5, 5], [0, 0], [7, 1]]], dtype=torch.float64)
    labels = torch.tensor([[1, _NO_LABEL, 2, _NO_LABEL]])
    table = torch.tensor([[0, 0], [1, 0], [0, 1]], dtype=torch.float64)
    bias = torch.tensor([0, 0, two], dtype=torch.float64)
    got = _loss("the worked example", masked_lm_loss(hidden, labels, torch.Tensor.clone, table, bias))
    slips = (
        (math.log(5), "this is the sum; divide by the number of places that have a label, 2"),
        (math.log(5) / 4, "the sum is divided by all four places; divide by those that have a label, 2"),
        ((two + math.log(3)) / 2, "the bias is missing"),
        (-math.log(5) / 2, "its sign is turned: a loss is minus the logarithm of a probability"),
        (math.log(5) / 2 / two, "this is in bits; use the natural logarithm"),
    )
    assert_close("the worked example: the loss", got, torch.tensor(math.log(5) / 2, dtype=torch.float64), slips)


@visible(points=0.5)
def check_places_of_the_head(masked_lm_loss):
    """Only the vectors of places that have a label go through the head"""
    hidden, table, bias = _drawn((3, 6, 4), 40), _drawn((9, 4), 41), _drawn((9,), 42)
    labels = torch.full((3, 6), _NO_LABEL)
    labels[0, 2], labels[0, 5], labels[2, 0] = 3, 8, 0
    asked = []

    def transform(x):
        asked.append(x.detach().reshape(-1, 4).clone())
        return 2 * x

    what = "18 places, of which (0, 2), (0, 5) and (2, 0) have a label, the last one 0"
    got = _loss(what, masked_lm_loss(hidden, labels, transform, table, bias))
    assert asked, f"{what}: transform was never called: the vectors go through it before they meet the table"
    rows = torch.cat(asked)
    forgotten = "0 is an id like others, so its place counts too; -100 alone means that there is no label"
    about = forgotten if len(rows) == 2 else "choose the vectors first: the table has a row for each token, so each place costs much"
    assert len(rows) == 3, f"{what}: {len(rows)} vectors went through transform, expected 3: {about}"
    same = torch.equal(rows.sort(dim=0).values, hidden[labels != _NO_LABEL].sort(dim=0).values)
    assert same, f"{what}: other vectors than those of these places went through transform"
    logits, plain = (scale * hidden[labels != _NO_LABEL] @ table.T + bias for scale in (2, 1))
    want, skipped = (F.cross_entropy(one, labels[labels != _NO_LABEL]) for one in (logits, plain))
    by_rows = (F.cross_entropy(logits[:2], torch.tensor([3, 8])) + F.cross_entropy(logits[2:], torch.tensor([0]))) / 2
    advice = "this is the mean of the sequences' means; the mean is over all places that have a label, whatever sequence they are in"
    slips = ((skipped, "what transform returns is not used"), (by_rows, advice))
    assert_close(f"{what}: the loss", got, want, slips)


def _masked_model():
    """transformers' BertForMaskedLM, small, with random weights, and the state of the layer that stands before its table."""
    library = BertForMaskedLM(BertConfig(**_SMALL))
    state = _random_state(library, 43)
    prefix = "cls.predictions.transform."
    return _with_weights(library, state), {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}


_HEAD = "transformers.models.bert.modeling_bert.BertPredictionHeadTransform"
_LABELS = torch.tensor([[_NO_LABEL, 7, _NO_LABEL, 0, _NO_LABEL], [_NO_LABEL, 5, _NO_LABEL, _NO_LABEL, _NO_LABEL], [_NO_LABEL] * 5])


@hidden(points=0.5)
def check_loss_of_library(masked_lm_loss):
    """Random weights and transformers' own head: the loss that BertForMaskedLM gives; what is given stays as it is"""
    library, head = _masked_model()
    with torch.no_grad():
        hidden = library.bert(_IDS).last_hidden_state
        want = library(_IDS, labels=_LABELS).loss
    table, bias = library.bert.embeddings.word_embeddings.weight.detach(), library.cls.predictions.bias.detach()
    config = make(masked_lm_loss, "transformers.BertConfig", **_SMALL)
    transform = _with_weights(make(masked_lm_loss, _HEAD, config), head)
    given = {"hidden": hidden, "labels": _LABELS.clone(), "table": table, "bias": bias}
    kept = {name: one.clone() for name, one in given.items()}
    got = _loss("random weights", masked_lm_loss(given["hidden"], given["labels"], transform, given["table"], given["bias"]))
    assert_close("random weights: the loss", got, want)
    _assert_unchanged("random weights", given, kept)


@hidden(points=0.5)
def check_gradients_of_loss(masked_lm_loss):
    """Gradients reach the vectors, the table and the bias; without any label the loss is 0, and so are they"""
    hidden, table, bias = _drawn((3, 5, 4), 44), _drawn((9, 4), 45), _drawn((9,), 46)

    def oracle(hidden, labels, transform, table, bias):
        return F.cross_entropy((hidden.tanh() @ table.T + bias).flatten(0, 1), labels.flatten(), ignore_index=_NO_LABEL)

    given = hidden, _LABELS, torch.tanh, table, bias
    names = "hidden", "labels", "transform", "table", "bias"
    assert_gradients("three labels", masked_lm_loss, oracle, given, names, torch.tensor(1.0, dtype=torch.float64))
    what = "no label but -100"
    nothing = torch.full_like(_LABELS, _NO_LABEL)
    got = _loss(what, masked_lm_loss(hidden, nothing, torch.tanh, table, bias))
    assert got == 0, f"{what}: the loss is {got:g}, expected 0: a mean over no place is 0 / 0; return 0"
    try:
        _, found, _ = gradients(masked_lm_loss, hidden, nothing, torch.tanh, table, bias)
    except RuntimeError:
        raise AssertionError(f"{what}: backward fails on the 0: training goes on, so it must depend on the weights") from None
    for name, one in zip(names, found, strict=True):
        assert one is None or (one == 0).all(), f"{what}: the gradient of {name} is not 0"


# 8.7 Measure it

_Output = namedtuple("Output", "prediction_logits")


def _scripted(text, odds, V, asked):
    """A model whose answer depends on what it is asked: at place t, hidden alone, the text's own id has odds[t] to 1 against each other."""

    def model(input_ids, attention_mask=None, token_type_ids=None):
        rows = input_ids.reshape(-1, len(text))
        asked.extend(rows.tolist())
        logits = torch.zeros(len(rows), len(text), V, dtype=torch.float64)
        for row, ids in zip(logits, rows.tolist(), strict=True):
            changed = [t for t in range(len(text)) if ids[t] != text[t]]
            for t, token in enumerate(text):
                row[t, token] = math.log(odds[t]) if changed == [t] else 9.0
        return _Output(logits.reshape(*input_ids.shape, V) + 3)

    return model


@visible(points=0.75)
def check_one_gap_at_a_time(pseudo_log_probs):
    """The worked example: each ordinary token is hidden once, alone, and its own probability is read at its place"""
    text, asked = [2, 7, 5, 3], []
    what = "the worked example, ids [2, 7, 5, 3]"
    got = pseudo_log_probs(_scripted(text, [1, 7, 3.5, 1], 8, asked), torch.tensor(text), _SPECIAL, _MASK)
    assert asked, f"{what}: the model was never asked: call it with ids of shape (B, T), and read .prediction_logits"
    assert text not in asked, f"{what}: the model was asked about the text itself, {text}: it sees the token that it should guess"
    for row in asked:
        gaps = [t for t in range(4) if row[t] == _MASK]
        strange = [t for t in range(4) if row[t] != text[t] and t not in gaps]
        assert not strange, f"{what}: the model was asked about {row}: all tokens but the hidden one stand as they are"
        assert not {0, 3} & set(gaps), f"{what}: the model was asked about {row}: special tokens are not hidden"
        assert len(gaps) == 1, f"{what}: the model was asked about {row}: hide one token at a time, so that it sees all others"
    values = numbers(what, got, 2, "(2,), one for each ordinary token")
    want = torch.tensor([math.log(0.5), math.log(1 / 3)], dtype=torch.float64)
    slips = (
        (want.exp(), "these are probabilities; return their natural logarithms"),
        (-want, "the sign is turned: a logarithm of a probability is at most 0"),
        (want / math.log(2), "these are logarithms to base 2; use the natural logarithm"),
        ([math.log(7) + 3, math.log(3.5) + 3], "these are logits; take their log-softmax over the vocabulary"),
        ([-math.log(math.exp(9) + 7)] * 2, "this was read at another place; the place that is hidden in a row is asked for"),
        ([-math.log(14), -math.log(10.5)], "this is the probability of another token, of mask_id perhaps; read that of the text's own"),
    )
    assert_close(what, torch.from_numpy(values), want, slips)


@lru_cache(maxsize=1)
def _gap_by_gap():
    """Two paragraphs of the validation text: each its ids, and what bert-mini gives when it is asked about one gap after the other."""
    folder = minis.folder("bert-mini")
    tokenizer, library = AutoTokenizer.from_pretrained(folder), BertForPreTraining.from_pretrained(folder).eval()
    found = []
    for text in sorted(corpus.texts("validation"), key=len)[:2]:
        ids, scores = torch.tensor(tokenizer.encode(text)), []
        for t in range(len(ids)):
            gap = ids.clone()
            gap[t] = tokenizer.mask_token_id
            with torch.no_grad():
                scores.append(float(library(gap[None]).prediction_logits[0, t].log_softmax(dim=0)[ids[t]]))
        found.append((ids, [score for score, token in zip(scores, ids.tolist(), strict=True) if token not in tokenizer.all_special_ids]))
    return found, list(tokenizer.all_special_ids), tokenizer.mask_token_id


@hidden(points=0.75)
def check_bert_mini(pseudo_log_probs):
    """bert-mini on two paragraphs of the validation text: what the model gives when it is asked gap by gap"""
    folder = find(pseudo_log_probs, "lmkit.minis.folder")("bert-mini")
    model = find(pseudo_log_probs, "transformers.BertForPreTraining").from_pretrained(folder).eval()
    found, special, mask_id = _gap_by_gap()
    for ids, want in found:
        what = f"bert-mini on a paragraph of {len(ids)} ids"
        got = pseudo_log_probs(model, ids.clone(), list(special), mask_id)
        assert not getattr(got, "requires_grad", False), f"{what}: the result carries gradients: ask the model in `with torch.no_grad():`"
        values = numbers(what, got, len(want), f"({len(want)},), one for each ordinary token")
        apart = abs(values - want).max()
        assert apart < 1e-3, f"{what}: a logarithm differs from that of the library, asked gap by gap; are places and tokens in order?"


@hidden(points=0.5)
def check_texts_at_the_ends(pseudo_log_probs):
    """A text without ordinary tokens, a long one, special ids within; what is given stays as it is"""
    cases = (([2, 3], "no ordinary token"), ([5], "one token"), ([2, 7, 1, 6, 3, 0], "[UNK] and padding within"))
    cases += (([2, 7, 4, 6, 3], "mask_id within"),)
    long = [2, *range(5, 120), 3]
    for text, about in (*cases, (long, "115 ordinary tokens")):
        odds = [1 + t % 5 for t in range(len(text))]
        V, asked, ids, special = 130, [], torch.tensor(text), list(_SPECIAL)
        what = f"a text of {len(text)} ids ({about})"
        got = pseudo_log_probs(_scripted(text, odds, V, asked), ids, special, _MASK)
        want = [math.log(odds[t] / (odds[t] + V - 1)) for t in range(len(text)) if text[t] not in _SPECIAL]
        values = numbers(what, got, len(want), f"({len(want)},), one for each ordinary token")
        assert_close(what, torch.from_numpy(values), torch.tensor(want, dtype=torch.float64))
        assert ids.tolist() == text, f"{what}: the ids that were given are changed: hide tokens in copies"
        assert special == _SPECIAL, f"{what}: the list `special` that was given is changed"
