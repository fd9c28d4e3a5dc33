"""Checks of the exercises of chapter 11, text embeddings."""

from collections import Counter
from functools import lru_cache
from itertools import pairwise, product, zip_longest

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer
from torch.nn import functional as F
from transformers.utils import logging

from lmkit import corpus, embedded, pretrained, retrieval
from lmkit.check import hidden, visible
from lmkit.compare import alike, ask, assert_close, shown, tensor
from lmkit.subject import gradients
from lmkit.words import in_words

# While work is graded: they hold what exercises ask for, the words of groups among it, and which paragraphs 11.6 is to find.
HIDES = ("sentence_transformers", "sklearn.cluster", "lmkit.embedded", "lmkit.retrieval", "lmkit.topics")


def _drawn(shape, seed, dtype=torch.float64):
    """Random numbers, most of them between -2 and 2."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _array(what, got, shape, letters=""):
    """An answer's array of this shape, as a tensor of float64. Else AssertionError. letters: how the shape is called."""
    expected = f"an array of shape {f'{letters} = ' if letters else ''}{shape}"
    try:
        values = np.asarray(got, dtype=np.float64)
    except (TypeError, ValueError):  # an object, or rows of different lengths
        raise AssertionError(f"{what}: expected {expected}, got {shown(got)}") from None
    assert got is not None, f"{what}: expected {expected}, got {shown(got)}"
    assert values.shape == shape, f"{what}: expected {expected}, got the shape {values.shape}"
    return torch.from_numpy(values.copy())  # a view such as scores[:, ::-1] has strides that torch does not take


def _whole(what, got, shape, letters=""):
    """An answer's array of whole numbers, as lists."""
    values = _array(what, got, shape, letters)
    kind = np.asarray(got).dtype.kind
    assert kind in "iu" or not values.numel(), f"{what}: expected whole numbers, got an array of {np.asarray(got).dtype}"
    return values.long().tolist()


def _parts(what, got, names):
    """A tuple of as many things as there are names."""
    expected = f"expected {len(names)} things, {', '.join(names)}"
    assert isinstance(got, tuple | list), f"{what}: {expected}, got {shown(got)}"
    assert len(got) == len(names), f"{what}: {expected}, got {len(got)}"
    return got


def _assert_unchanged(what, **given):
    """given: name -> (what was handed over, a copy of it as it was)."""
    for name, (now, before) in given.items():
        same = (now == before).all() if isinstance(now, np.ndarray | torch.Tensor) else now == before
        assert same, f"{what}: {name}, which was given, is changed: work on a copy"


_CUT = "is there a .detach(), a torch.tensor(…) or a no_grad on the way?"


def _by_input(what, function, *inputs, upstream=None):
    """Gradients of what an answer returns, by its inputs. Else AssertionError."""
    try:
        return gradients(function, *inputs, upstream=upstream)[1]
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise AssertionError(f"{what}: the result has no gradient at all: {_CUT}") from None


# 11.1 Mean pooling

_STATES = torch.tensor([[[1.0, 0.0], [2.0, 3.0], [9.0, 9.0]], [[0.0, -2.0], [8.0, 1.0], [4.0, 4.0]]], dtype=torch.float64)
_MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])


def _pooling_slips(states, mask):
    """What usual mistakes give: unnormalised, and what to say of it."""
    real = mask[:, :, None].to(states.dtype)
    units = F.normalize(states, dim=-1) * real
    return (
        (states.mean(1), "padding is in the mean: only places with attention_mask 1 count"),
        ((states * real).sum(1) / states.shape[1], "this is the sum of the real tokens divided by T; divide by the number of real tokens"),
        ((states * real).sum(1), "this is the sum; divide by the number of real tokens"),
        (states[:, 0], "this is the first token's vector"),
        (units.sum(1) / real.sum(1), "take the mean of the vectors as they are, and divide by the length of the mean"),
        ((states * real).amax(1), "this is each number's maximum over the tokens, or [CLS] is left out; take the mean of all real tokens"),
    )


def _assert_pooled(what, got, want, slips, normalise):
    both = [(F.normalize(slip, dim=-1), advice) for slip, advice in slips] if normalise else []
    turned = (F.normalize(want, dim=-1), "with normalise=False the mean is left as it is")
    assert_close(what, got, F.normalize(want, dim=-1) if normalise else want, [*both, *slips, *(() if normalise else (turned,))])


@visible(points=0.75)
def check_pooling_by_hand(mean_pooling):
    """The worked example: two texts, of two tokens and of one"""
    slips, want = _pooling_slips(_STATES, _MASK), torch.tensor([[1.5, 1.5], [0.0, -2.0]], dtype=torch.float64)
    what = "the worked example, normalise=False"
    got = tensor(what, ask(what, mean_pooling, _STATES.clone(), _MASK.clone(), False), (2, 2), "(B, C)")
    _assert_pooled(what, got, want, slips, False)
    what = "the worked example"
    got = tensor(what, ask(what, mean_pooling, _STATES.clone(), _MASK.clone()), (2, 2), "(B, C)")
    _assert_pooled(what, got, want, [(want, "each vector is to have length 1, unless normalise=False is given"), *slips], True)


@visible(points=0.5)
def check_padding_changes_nothing(mean_pooling):
    """A text alone, and the same text padded, with whatever stands at the padded places"""
    for normalise in (True, False):
        alone = _drawn((1, 3, 4), 1)
        ones = torch.ones(1, 3, dtype=torch.int64)
        want = tensor("a text of three tokens", mean_pooling(alone.clone(), ones, normalise), (1, 4), "(B, C)")
        for longer, size in ((1, 1.0), (6, 1.0), (6, 1000.0)):
            states = torch.cat([alone, size * _drawn((1, longer, 4), 2)], dim=1)
            mask = torch.cat([ones, torch.zeros(1, longer, dtype=torch.int64)], dim=1)
            what = f"a text of three tokens and {longer} padded places, normalise={normalise}"
            got = tensor(what, mean_pooling(states, mask, normalise), (1, 4), "(B, C)")
            advice = "beside its vector without padding: padded places must have no part in sum and number"
            assert_close(f"{what}, {advice}", got, want)


def _library_pooling(states, mask):
    """What sentence-transformers' Pooling makes of states: the mean of real tokens."""
    pooling = Pooling(states.shape[-1])
    return pooling({"token_embeddings": states, "attention_mask": mask})["sentence_embedding"]


def _library_unit(states, mask):
    return Normalize()({"sentence_embedding": _library_pooling(states, mask)})["sentence_embedding"]


@hidden(points=0.5)
def check_pooling_of_library(mean_pooling):
    """Random states, padding at any place, masks of both types: what sentence-transformers' Pooling gives; nothing is changed"""
    for number, (B, T, C) in enumerate(((4, 7, 5), (1, 1, 3), (3, 2, 1), (2, 30, 8))):
        for dtype, mask_type in ((torch.float64, torch.int64), (torch.float32, torch.bool), (torch.float64, torch.bool)):
            states, mask = _drawn((B, T, C), 10 + number, dtype), _drawn((B, T), 20 + number) > 0
            mask[:, -1] |= ~mask.any(1)  # every text has a token
            mask = mask.to(mask_type)
            kept = states.clone(), mask.clone()
            what = f"states of shape {(B, T, C)} and {dtype}, a mask of {mask_type}, padding at any place"
            for normalise, library in ((False, _library_pooling), (True, _library_unit)):
                got = tensor(what, mean_pooling(states, mask, normalise), (B, C), "(B, C)")
                assert got.dtype == dtype, f"{what}: the result has the type {got.dtype}, expected that of states"
                tolerance = 1e-6 if dtype == torch.float64 else 1e-5
                assert_close(f"{what}, normalise={normalise}", got, library(*kept), tolerance=tolerance)
                _assert_unchanged(what, states=(states, kept[0]), attention_mask=(mask, kept[1]))


@hidden(points=0.5)
def check_pooling_edges(mean_pooling):
    """A text without a real token, a mean of zeros, short vectors"""
    states, mask = _drawn((3, 2, 4), 30), torch.tensor([[0, 0], [1, 1], [1, 0]])
    states[1, 1] = -states[1, 0]
    states[2] *= 1e-3
    for normalise in (False, True):
        got = tensor("three texts", mean_pooling(states.clone(), mask, normalise), (3, 4), "(B, C)")
        zeros = torch.zeros(4, dtype=torch.float64)
        assert_close(f"a text without a real token, normalise={normalise}", got[0], zeros)
        assert_close(f"two tokens whose vectors add up to 0, normalise={normalise}", got[1], zeros)
        want = F.normalize(states[2, 0], dim=0) if normalise else states[2, 0]
        what = f"a text of one token with a short vector, normalise={normalise}"
        assert_close(what, got[2], want, tolerance=1e-5 if normalise else 1e-9)
    for normalise in (False, True):
        what = f"the gradient of states, normalise={normalise}"
        found = _by_input(what, mean_pooling, states, mask, normalise, upstream=_drawn((3, 4), 31))[0]
        assert found is not None, f"{what}, is missing: {_CUT}"
        for text, about in enumerate(("a text without a real token", "two tokens whose vectors add up to 0", "a text of one token")):
            advice = "torch.where and nan_to_num do not mend the gradient; take care of 0 before you divide or take a root"
            assert found[text].isfinite().all(), f"{what}, of {about} holds nan or inf: {advice}"


@hidden(points=0.25)
def check_gradients_of_pooling(mean_pooling):
    """Gradients of the states: what sentence-transformers' Pooling has"""
    states, mask, upstream = _drawn((2, 4, 3), 40), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]), _drawn((2, 3), 41)
    for normalise, library in ((False, _library_pooling), (True, _library_unit)):
        what = f"two texts of four places, normalise={normalise}: the gradient of states"
        got = _by_input(what, mean_pooling, states, mask, normalise, upstream=upstream)[0]
        assert got is not None, f"{what} is missing: {_CUT}"
        assert_close(what, got, gradients(library, states, mask, upstream=upstream)[1][0])


_TEXTS = (
    "The heart pumps blood through the body.",
    "Athens",
    "An abacus is a frame with beads on rods; it was used for counting long before figures were written down, and still is.",
    "What is a glacier made of?",
)


@lru_cache(maxsize=1)
def _of_encoder():
    """States and mask of four texts from the installed encoder, and their vectors from sentence-transformers with the same weights."""
    logging.disable_progress_bar()
    model = SentenceTransformer(modules=[Transformer(str(pretrained.folder())), Pooling(384), Normalize()], device="cpu")
    batch = pretrained.tokenizer()(list(_TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        states = pretrained.encoder()(**batch).last_hidden_state
    return states, batch["attention_mask"], model.encode(list(_TEXTS), convert_to_tensor=True, show_progress_bar=False)


@hidden(points=0.5)
def check_vectors_of_encoder(mean_pooling):
    """The installed encoder on four texts: the vectors of sentence-transformers, to one part in 100,000"""
    states, mask, want = _of_encoder()
    got = tensor("four texts", mean_pooling(states.clone(), mask.clone()), tuple(want.shape), "(B, C)")
    assert_close("the encoder's vectors of four texts", got, want, tolerance=1e-5)


# 11.2 Search

_QUERIES, _DOCUMENTS = np.array([[1.0, 0.0], [1.0, 2.0]]), np.array([[3.0, 1.0], [1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])


def _found(what, got, Q, k):
    """Indices as lists, and scores."""
    indices, scores = _parts(what, got, ("indices", "scores"))
    letters = "(Q, min(k, N))"
    return _whole(f"{what}: the indices", indices, (Q, k), letters), _array(f"{what}: the scores", scores, (Q, k), letters)


def _assert_row(what, got, want, slips=()):
    known = [f": {advice}" for slip, advice in slips if got == slip]
    place = next((i for i, (mine, right) in enumerate(zip(got, want, strict=True)) if mine != right), None)
    where = f"; place {place} has document {got[place]}, expected {want[place]}" if place is not None and len(want) > 10 else ""
    assert got == want, f"{what}: got the indices {got!s:.100}, expected {want!s:.100}{where}{''.join(known[:1])}"


@visible(points=0.5)
def check_search_by_hand(top_k):
    """The worked example: two queries, four documents"""
    what = "the worked example, k = 3"
    indices, scores = _found(what, ask(what, top_k, _QUERIES.copy(), _DOCUMENTS.copy(), 3), 2, 3)
    slips = (
        ([1, 0, 3], "these are the greatest cosines; here the dot product counts, as it is"),
        ([2, 1, 3], "these are the smallest; the greatest come first"),
        ([2, 3, 1], "these are the smallest; the greatest come first"),
        ([3, 1, 0], "the greatest comes first"),
        ([0, 3, 1], "documents 1 and 3 have equal scores: the lower index comes first"),
    )
    _assert_row(f"{what}, query (1, 0)", indices[0], [0, 1, 3], slips)
    _assert_row(f"{what}, query (1, 2)", indices[1], [0, 2, 3])
    assert_close(f"{what}: the scores", scores, torch.tensor([[3.0, 1.0, 1.0], [5.0, 4.0, 3.0]]))


def _whole_vectors(shape, seed, dtype):
    """Vectors of small whole numbers: all dot products are exact, and many are equal."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


def _assert_ranked(what, indices, got, scores):
    """Whether a row of indices is the one right answer, by what the order must be. scores: of all documents."""
    advice = "of equal scores the lower index comes first"
    assert len(set(indices)) == len(indices), f"{what}: a document occurs twice in {indices!s:.80}"
    assert all(0 <= i < len(scores) for i in indices), f"{what}: there is no such document: {indices!s:.80}"
    for place, (i, score) in enumerate(zip(indices, got.tolist(), strict=True)):
        assert abs(score - scores[i]) < 1e-6, f"{what}: place {place} has document {i}, whose score is {scores[i]:g}, not {score:g}"
    for place, (i, j) in enumerate(pairwise(indices)):
        told = f"{what}: document {i} (score {scores[i]:g}) stands before document {j} (score {scores[j]:g})"
        assert scores[i] >= scores[j], f"{told}: the greatest score comes first (place {place})"
        assert scores[i] > scores[j] or i < j, f"{told}: {advice}"
    last = indices[-1]
    better = [j for j in range(len(scores)) if j not in indices and (scores[j] > scores[last] or (scores[j] == scores[last] and j < last))]
    if better:
        i = better[0]
        told = f"{what}: document {i} (score {scores[i]:g}) is missing, and document {last} (score {scores[last]:g}) is there"
        raise AssertionError(f"{told}{': ' + advice if scores[i] == scores[last] else ''}")


@visible(points=0.5)
def check_equal_scores(top_k):
    """A hundred documents with many equal scores: the lower index comes first"""
    queries, documents = _whole_vectors((3, 3), 50, np.float64), _whole_vectors((100, 3), 51, np.float64)
    for k in (1, 7, 40):
        what = f"100 documents of three small whole numbers, k = {k}"
        indices, scores = _found(what, ask(what, top_k, queries.copy(), documents.copy(), k), 3, k)
        for i in range(3):
            _assert_ranked(f"{what}, query {i}", indices[i], scores[i], (documents @ queries[i]).tolist())


@hidden(points=0.5)
def check_search_of_torch(top_k):
    """Random vectors: what torch.topk finds; nothing is changed"""
    for number, (Q, N, C) in enumerate(((5, 300, 8), (1, 40, 2), (7, 1, 3))):
        queries, documents = _drawn((Q, C), 52 + number).numpy(), _drawn((N, C), 62 + number).numpy()
        kept = queries.copy(), documents.copy()
        for k in (1, min(10, N), N):
            want = torch.topk(torch.from_numpy(queries) @ torch.from_numpy(documents).T, k)
            what = f"{Q} random queries, {N} documents, k = {k}"
            indices, scores = _found(what, ask(what, top_k, queries, documents, k), Q, k)
            for i, row in enumerate(want.indices.tolist()):
                _assert_row(f"{what}, query {i}", indices[i], row)
            assert_close(f"{what}: the scores", scores, want.values)
            _assert_unchanged(what, queries=(queries, kept[0]), documents=(documents, kept[1]))


@hidden(points=0.5)
def check_search_edges(top_k):
    """k of 0, as many as there are documents, and more; no documents; float32; scores below 0 alone"""
    cases = ((4, 3, 2), (4, 4, 2), (4, 9, 2), (4, 0, 2), (0, 3, 2), (4, 2, 0), (90, 1000, 3), (90, 60, 3))
    for N, k, Q in cases:
        for dtype in (np.float32, np.float64):
            queries, documents = _whole_vectors((Q, 4), 70, dtype), _whole_vectors((N, 4), 71, dtype)
            what = f"{N} documents, k = {k}, {np.dtype(dtype).name}"
            indices, scores = _found(what, ask(what, top_k, queries.copy(), documents.copy(), k), Q, min(k, N))
            for i in range(Q if min(k, N) else 0):
                _assert_ranked(f"{what}, query {i}", indices[i], scores[i], (documents @ queries[i]).tolist())
    what = "three documents with scores below 0, k = 2"
    indices, scores = _found(what, ask(what, top_k, np.array([[-1.0]]), np.array([[3.0], [1.0], [2.0]]), 2), 1, 2)
    _assert_row(what, indices[0], [1, 2])
    assert_close(f"{what}: the scores", scores, torch.tensor([[-1.0, -2.0]]))
    what = "documents 1 and 1.000000001 in float64, query 1, k = 2"
    indices, _ = _found(what, ask(what, top_k, np.array([[1.0]]), np.array([[1.0], [1.0 + 1e-9]]), 2), 1, 2)
    _assert_row(what, indices[0], [1, 0], (([0, 1], "in float32 they would be equal: compute with the numbers as they are"),))


# 11.3 k-means

_LAST_ROUND = (
    "a round that gives every point the centre of the round before ends it; the first round has none before it, even if it moves no centre"
)
_ON_A_LINE, _TWO = np.array([[0.0], [1.0], [2.0], [6.0]]), np.array([[0.0], [2.0]])


def _clustered(what, got, points, start):
    """Labels as a list, centres, and objectives as a list of floats."""
    labels, centres, objectives = _parts(what, got, ("labels", "centres", "objectives"))
    K, C = start.shape
    labels = _whole(f"{what}: the labels", labels, (len(points),), "(N,)")
    centres = _array(f"{what}: the centres", centres, (K, C), "(K, C)")
    assert isinstance(objectives, list | tuple | np.ndarray), f"{what}: expected a list of objectives, got {shown(objectives)}"
    objectives = _array(f"{what}: the objectives", objectives, (len(objectives),)).tolist()
    assert all(0 <= c < K for c in labels), f"{what}: a label is {next(c for c in labels if not 0 <= c < K)}, expected 0 to {K - 1}"
    return labels, centres, objectives


def _rounds(kmeans, points, start, most=None):
    """Ask for clusters of copies."""
    names = [one.T.tolist()[0] if one.shape[1] == 1 else one.tolist() for one in (points, start)]
    what = f"points {names[0]}, start {names[1]}{'' if most is None else f', most = {most}'}"
    given = (points.copy(), start.copy(), *(() if most is None else (most,)))
    return what, *_clustered(what, ask(what, kmeans, *given), points, start)


@visible(points=1)
def check_one_round(kmeans):
    """The worked example's first round: labels, objective, centres"""
    what, labels, centres, objectives = _rounds(kmeans, _ON_A_LINE, _TWO, 1)
    slips = (
        ([0, 1, 1, 1], "the point 1 is as near to 0 as to 2: the lower number gets it"),
        ([0, 0, 0, 1], "the labels are those that the round gave, before the centres moved"),
    )
    known = [f": {advice}" for slip, advice in slips if labels == slip]
    assert labels == [0, 0, 1, 1], f"{what}: got the labels {labels}, expected [0, 0, 1, 1]{''.join(known[:1])}"
    assert len(objectives) == 1, f"{what}: got {len(objectives)} objectives, expected one for each round, so one"
    slips = (
        (8.5, "it is noted before the centres move"),
        (5.0, "these are distances; sum their squares"),
        (4.25, "this is the mean; the objective is the sum"),
        (17**0.5, "this is the root; the objective is the sum itself"),
    )
    assert_close(f"{what}: the objective", *map(torch.tensor, (objectives[0], 17.0)), slips)
    slips = (([[0.0], [2.0]], "the last round moves the centres, too"),)
    assert_close(f"{what}: the centres", centres, torch.tensor([[0.5], [4.0]]), slips)


@visible(points=0.5)
def check_until_nothing_changes(kmeans):
    """The worked example to its end: three rounds"""
    what, labels, centres, objectives = _rounds(kmeans, _ON_A_LINE, _TWO)
    told = f"{what}: got {len(objectives)} rounds with the objectives {[round(one, 3) for one in objectives]!s:.100}, expected 17, 6.75, 2"
    advice = "a round in which every point keeps its centre is the last, and is noted, too"
    assert len(objectives) == 3, f"{told}: {advice}"
    assert_close(f"{what}: the objective of round", torch.tensor(objectives), torch.tensor([17.0, 6.75, 2.0]))
    assert labels == [0, 0, 0, 1], f"{what}: got the labels {labels}, expected [0, 0, 0, 1]"
    assert_close(f"{what}: the centres", centres, torch.tensor([[1.0], [6.0]]))
    what, _, _, objectives = _rounds(kmeans, np.array([[0.0], [2.0]]), np.array([[1.0]]))
    assert len(objectives) == 2, f"{what}: got {len(objectives)} rounds, expected 2: {_LAST_ROUND}"
    assert_close(f"{what}: the objective of round", torch.tensor(objectives), torch.tensor([2.0, 2.0]))


def _library(points, start, rounds):
    """What scikit-learn's KMeans has after so many moves of the centres: labels of the next round, its objective, centres, rounds."""
    found = KMeans(len(start), init=start, n_init=1, max_iter=rounds, tol=0, algorithm="lloyd").fit(points)
    return found.labels_.tolist(), float(found.inertia_), torch.from_numpy(found.cluster_centers_), found.n_iter_


@hidden(points=1)
def check_clusters_of_library(kmeans):
    """Random points: scikit-learn's KMeans from the same start, round by round"""
    for number, (N, C, K) in enumerate(((120, 3, 5), (60, 2, 3), (30, 6, 2), (40, 4, 1))):
        points = _drawn((N, C), 80 + number).numpy() + 2 * _drawn((K, C), 90 + number).numpy()[np.arange(N) % K]
        start = points[:K].copy()
        labels, objective, centres, rounds = _library(points, start, 300)
        what = f"{N} random points of {C} numbers, K = {K}"
        mine = _clustered(what, ask(what, kmeans, points.copy(), start.copy()), points, start)
        assert len(mine[2]) == rounds, f"{what}: got {len(mine[2])} rounds, scikit-learn needs {rounds}: {_LAST_ROUND}"
        assert mine[0] == labels, f"{what}: {sum(a != b for a, b in zip(mine[0], labels, strict=True))} labels differ from scikit-learn's"
        assert_close(f"{what}: the centres", mine[1], centres)
        assert_close(f"{what}: the last objective", torch.tensor(mine[2][-1]), torch.tensor(objective))
        for most in range(2, min(rounds, 5)):
            some = f"{what}, most = {most}"
            labels, objective = _library(points, start, most - 1)[:2]
            now = _clustered(some, ask(some, kmeans, points.copy(), start.copy(), most), points, start)
            assert len(now[2]) == most, f"{some}: got {len(now[2])} rounds"
            assert now[0] == labels, f"{some}: the labels differ from scikit-learn's"
            assert_close(f"{some}: the last objective", torch.tensor(now[2][-1]), torch.tensor(objective))
            assert_close(f"{some}: the centres", now[1], _library(points, start, most)[2])


@hidden(points=0.75)
def check_centres_without_points(kmeans):
    """A centre that no point is nearest to stays where it is; of equal centres the lower number gets the points"""
    cases = (
        ([[0.0], [2.0], [10.0], [12.0]], [[1.0], [100.0], [11.0]], [0, 0, 2, 2], [[1.0], [100.0], [11.0]], [4.0, 4.0]),
        ([[0.0], [2.0], [5.0]], [[1.0], [1.0], [6.0]], [0, 0, 2], [[1.0], [1.0], [5.0]], [3.0, 2.0]),
        ([[3.0]], [[9.0], [1.0], [0.0]], [1], [[9.0], [3.0], [0.0]], [4.0, 0.0]),
        ([[7.0], [7.0]], [[7.0], [7.0]], [0, 0], [[7.0], [7.0]], [0.0, 0.0]),
        # centre 1 has a point in the first round, and none afterwards
        ([[7, 4], [0, 5], [7, 0], [2, 6]], [[7, 7], [4, 3], [5, 7]], [0, 2, 0, 2], [[7, 2], [3.5, 2.5], [1, 5.5]], [57.0, 21.0, 10.5]),
    )
    for points, start, want, moved, noted in cases:
        what, labels, centres, objectives = _rounds(kmeans, np.array(points, dtype=float), np.array(start, dtype=float))
        assert centres.isfinite().all(), f"{what}: a centre is {centres[~centres.isfinite()][0]}: there is no mean of no points; it stays"
        assert labels == want, f"{what}: got the labels {labels}, expected {want}"
        assert_close(f"{what}: a centre without points stays, the others are means; centre", centres, torch.tensor(moved).double())
        noted_there = [round(one, 4) for one in objectives]
        assert noted_there == noted, f"{what}: got the objectives {noted_there!s:.80}, expected {noted}"


@hidden(points=0.75)
def check_objective_never_rises(kmeans):
    """Many starts: the objective never rises, the end is a fixed point, what is given stays as it is"""
    far = _ON_A_LINE + 1e6, _TWO + 1e6
    what = "the worked example with a million added to all points and to the start"
    objectives = _clustered(what, ask(what, kmeans, *far), *far)[2]
    told = f"{what}: got {len(objectives)} rounds, expected 3"
    assert len(objectives) == 3, f"{told}: a round ends it that changes no label, not one that moves the centres little"
    rng = np.random.default_rng(95)
    for number in range(12):
        N, C, K = int(rng.integers(1, 60)), int(rng.integers(1, 4)), int(rng.integers(1, 8))
        points, start = rng.integers(0, 6, (N, C)).astype(float), rng.integers(0, 6, (K, C)).astype(float)
        kept = points.copy(), start.copy()
        what = f"start {number}: {N} points of {C} small whole numbers, K = {K}"
        labels, centres, objectives = _clustered(what, ask(what, kmeans, points, start), points, start)
        _assert_unchanged(what, points=(points, kept[0]), start=(start, kept[1]))
        for r, (one, other) in enumerate(pairwise(objectives)):
            assert other <= one + 1e-9, f"{what}: the objective rises from {one:.4f} in round {r + 1} to {other:.4f} in the next"
        distances = torch.cdist(torch.from_numpy(points), centres, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        own = distances[torch.arange(N), torch.tensor(labels)]
        assert (own <= distances.amin(1) + 1e-9).all(), f"{what}: a point does not belong to its nearest centre"
        assert_close(f"{what}: the last objective", torch.tensor(objectives[-1], dtype=torch.float64), own.sum())
        for c in set(labels):
            mean = torch.from_numpy(points[np.array(labels) == c].mean(0))
            assert_close(f"{what}: centre {c}, which is the mean of its points", centres[c], mean)


# 11.4 Class TF-IDF

_THREE, _OF_THREE = [["dog", "cat", "dog"], ["sea"], ["dog", "sea", "sea", "sea"]], [0, 0, 1]


def _weighted(what, got, words, K):
    """Weights; the words must be these."""
    mine, weights = _parts(what, got, ("words", "weights"))
    assert isinstance(mine, list | tuple | np.ndarray), f"{what}: expected a list of words, got {shown(mine)}"
    mine = [str(word) for word in mine]
    advice = ": each word once, in the order of `sorted`" if sorted(set(mine)) == words else ""
    place = next((i for i, (one, other) in enumerate(zip_longest(mine, words)) if one != other), 0)
    one, other = (repr(row[place])[:40] if place < len(row) else "no word" for row in (mine, words))
    where = f"; place {place} has {one}, expected {other}" if len(words) > 10 else ""
    assert mine == words, f"{what}: got the words {mine!s:.120}, expected {words!s:.120}{where}{advice}"
    return _array(f"{what}: the weights", weights, (K, len(words)), "(K, V)")


@visible(points=0.75)
def check_weights_by_hand(class_tf_idf):
    """The worked example: three documents, two classes"""
    what = "the worked example"
    given = [list(document) for document in _THREE], list(_OF_THREE), 2
    got = _weighted(what, ask(what, class_tf_idf, *given), ["cat", "dog", "sea"], 2)
    in_class, everywhere = torch.tensor([[1.0, 2.0, 1.0], [0.0, 1.0, 3.0]]), torch.tensor([1.0, 3.0, 4.0])
    want = torch.tensor([[1.6094, 1.6946, 0.6931], [0.0, 0.8473, 2.0794]])
    shares, in_documents = in_class / in_class.sum(1, keepdim=True), torch.tensor([1.0, 2.0, 2.0])
    slips = (
        (want * shares / in_class.clamp(min=1), "n_tc is how often the word occurs in the class, not its share of the class"),
        (in_class * (1 + 8 / 3 / everywhere).log(), "A is the number of words of a class, on average, not of a document"),
        (in_class * (1 + 8 / everywhere).log(), "A is the number of words divided by the number of classes"),
        (in_class * (1 + 3 / everywhere).log(), "A counts occurrences, not different words or documents"),
        (in_class * (1 + 2.5 / everywhere).log(), "A counts occurrences, not different words or documents"),
        (in_class * (1 + 1.5 / everywhere).log(), "A counts occurrences, not different words or documents"),
        (in_class * (4 / everywhere).log(), "the 1 is missing: the logarithm is of 1 + A / n_t"),
        (in_class * (1 + 4 / in_documents).log(), "n_t is how often a word occurs, not in how many documents or classes"),
        (in_class * (1 + 1.5 / in_documents).log(), "n_t is how often a word occurs, not in how many documents or classes"),
        (in_class * (1 + 4 / everywhere).log2(), "the logarithm is the natural one"),
        (in_class * (1 + 4 / everywhere).log10(), "the logarithm is the natural one"),
        ((in_class > 0) * want / in_class.clamp(min=1), "a word counts as often as it occurs in the class"),
        ((1 + 4 / everywhere).log().expand(2, 3), "the logarithm is to be multiplied by how often the word occurs in the class"),
    )
    assert_close(f"{what}: the weight", got, want, slips, tolerance=1e-3)


def _of_counts(documents, labels, K, classes=None):
    """Words and weights from the counts of scikit-learn. classes: over how many of them A is an average; K, if not given."""
    vectorizer = CountVectorizer(analyzer=list)
    counts = torch.from_numpy(vectorizer.fit_transform(documents).toarray()).double()
    in_class = torch.zeros(K, counts.shape[1], dtype=torch.float64).index_add(0, torch.as_tensor(labels), counts)
    of_word, mean = counts.sum(0), counts.sum() / (classes or K)
    return vectorizer.get_feature_names_out().tolist(), torch.xlogy(in_class, of_word + mean) - torch.xlogy(in_class, of_word)


@hidden(points=0.75)
def check_weights_of_paragraphs(class_tf_idf):
    """Paragraphs of the corpus in five classes, two of them empty; labels in any order, as an array as well; nothing is changed"""
    documents = [in_words(text) for text in corpus.texts("validation")[:40]]
    labels = [(3 * i + i // 7) % 3 for i in range(40)]
    with_gaps = [(0, 2, 3)[label] for label in labels]  # classes 1 and 4 are empty
    for K, given in ((5, with_gaps), (3, np.array(labels)), (1, [0] * 40)):
        words, want = _of_counts(documents, given, K)
        handed = [list(document) for document in documents]
        what, kept = f"40 paragraphs, K = {K}, labels as {'an array' if isinstance(given, np.ndarray) else 'a list'}", list(given)
        got = _weighted(what, ask(what, class_tf_idf, handed, given, K), words, K)
        if not torch.allclose(got, want):
            c, t = torch.nonzero(~torch.isclose(got, want))[0].tolist()
            told = f"{what}: {words[t]!r} has the weight {got[c, t]:.4f} in class {c}, expected {want[c, t]:.4f}"
            advice = "is A the number of all occurrences divided by K, and does each document count in the class of its label?"
            if K == 5 and alike(got, _of_counts(documents, given, K, 3)[1]):
                advice = "A is an average over all K classes, the empty ones as well"
            elif K == 5 and alike(got[:3], want[[0, 2, 3]]):
                advice = "row c belongs to class c; a class without documents keeps its row, of zeros"
            raise AssertionError(f"{told}: {advice}")
        _assert_unchanged(what, documents=(handed, documents), labels=(list(given), kept))


@hidden(points=0.5)
def check_weights_edges(class_tf_idf):
    """No documents, documents without words, one word; tuples as documents"""
    for documents, labels in (([], []), ([[], []], [1, 0])):
        what = f"documents {documents}, labels {labels}, K = 3"
        _weighted(what, ask(what, class_tf_idf, documents, labels, 3), [], 3)
    what = "documents [], [z, é, B, a], [z], labels 2, 0, 0, K = 3"
    got = _weighted(what, ask(what, class_tf_idf, [(), ("z", "é", "B", "a"), ("z",)], (2, 0, 0), 3), ["B", "a", "z", "é"], 3)
    want = [[8 / 3, 8 / 3, (11 / 6) ** 2, 8 / 3], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert_close(f"{what}: the weight", got, torch.tensor(want, dtype=torch.float64).log())


def _topics(what, got, K):
    """K lists of words."""
    assert isinstance(got, list | tuple), f"{what}: expected a list of {K} lists of words, got {shown(got)}"
    assert len(got) == K, f"{what}: expected {K} lists of words, got {len(got)}"
    for row in got:
        assert isinstance(row, list | tuple | np.ndarray), f"{what}: expected a list of words for each class, and one is {shown(row)}"
        odd = [word for word in row if not isinstance(word, str)]
        assert not odd, f"{what}: expected words, and a list holds {shown(odd[0])}"
    return [[str(word) for word in row] for row in got]


@visible(points=0.5)
def check_topics_by_hand(topic_words):
    """The worked example: two classes, equal weights, weights of 0"""
    words, weights = ["sun", "sea", "cat", "dog"], np.array([[1.0, 2.0, 2.0, 0.0], [0.0, 0.5, 0.0, 0.0]])
    cases = (
        (1, [["sea"], ["sea"]], "the greatest weight comes first, and of equal weights the word that stands first in `words` comes first"),
        (2, [["sea", "cat"], ["sea"]], "equal weights in the order of `words`; only weights above 0 count"),
        (3, [["sea", "cat", "sun"], ["sea"]], "the greatest weight comes first; only weights above 0 count"),
        (9, [["sea", "cat", "sun"], ["sea"]], "a list may be shorter than k: only weights above 0 count"),
    )
    for k, want, advice in cases:
        what = f"words {words}, weights 1, 2, 2, 0 and 0, 0.5, 0, 0, k = {k}"
        got = _topics(what, ask(what, topic_words, list(words), weights.copy(), k), 2)
        assert got == want, f"{what}: got {got}, expected {want}: {advice}"


@hidden(points=0.5)
def check_topics_of_many(topic_words):
    """Many words with equal weights; k of 0, as many as there are words, and more; no words; nothing is changed"""
    rng = np.random.default_rng(100)
    words = [f"w{i}" for i in rng.permutation(80)]
    weights = rng.integers(0, 4, (5, 80)) / 2
    weights[3], weights[4] = 0, rng.uniform(0, 1e-3, 80)
    for k in (0, 1, 10, 50, 80, 200):
        what, given, row_by_row = f"80 words, 5 classes, k = {k}", list(words), weights.copy()
        got = _topics(what, ask(what, topic_words, given, row_by_row, k), 5)
        for c in range(5):
            order = sorted((i for i in range(80) if weights[c, i] > 0), key=lambda i: (-weights[c, i], i))
            want = [words[i] for i in order[:k]]
            told = f"{what}: class {c} has {len(got[c])} words, {', '.join(got[c][:5])} …, expected {len(want)}, {', '.join(want[:5])} …"
            assert got[c] == want, told
        _assert_unchanged(what, words=(given, words), weights=(row_by_row, weights))
    what = "no words, 2 classes, k = 3"
    got = _topics(what, ask(what, topic_words, [], np.zeros((2, 0)), 3), 2)
    assert got == [[], []], f"{what}: got {got}, expected two empty lists"


# 11.5 A contrastive loss

_BY_HAND = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64), torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=torch.float64)


def _number(what, got):
    """A loss: a tensor with one number."""
    return tensor(what, got, ())


def _softmax_slips(queries, documents, temperature):
    """Usual mistakes with two sides of two vectors: the loss, and what to say of it."""
    q, d = F.normalize(queries, dim=-1), F.normalize(documents, dim=-1)
    scores, own = q @ d.T, torch.arange(len(q))
    right = scores / temperature
    return (
        (F.cross_entropy(queries @ documents.T / temperature, own), "scores are cosines: divide each vector by its length first"),
        (F.cross_entropy(scores, own), "the cosines are not divided by the temperature"),
        (F.cross_entropy(scores * temperature, own), "divide the cosines by the temperature, do not multiply"),
        (F.cross_entropy(right, own, reduction="sum"), "this is the sum over the queries; take their mean"),
        (F.cross_entropy(right.T, own), "query i is compared with all documents, not document i with all queries"),
        ((F.cross_entropy(right, own) + F.cross_entropy(right.T, own)) / 2, "both directions count only with both=True"),
        ((right.masked_fill(torch.eye(len(q)).bool(), float("-inf")).logsumexp(1) - right.diag()).mean(),
         "the query's own document belongs to the sum below as well"),
        (-right.diag().mean(), "the softmax is missing: no document is compared with another"),
    )  # fmt: skip


@visible(points=0.75)
def check_loss_by_hand(info_nce):
    """The worked example: two queries, two documents, temperature 0.2"""
    what = "the worked example, temperature 0.2"
    got = _number(what, ask(what, info_nce, *(one.clone() for one in _BY_HAND), 0.2))
    assert_close(f"{what}: the loss", got, torch.tensor(0.18092), _softmax_slips(*_BY_HAND, 0.2), tolerance=1e-4)


@visible(points=0.5)
def check_both_directions(info_nce):
    """The worked example with both=True"""
    what = "the worked example, temperature 0.2, both=True"
    got = _number(what, ask(what, info_nce, *(one.clone() for one in _BY_HAND), 0.2, True))
    slips = (
        (0.18092, "this is the loss of the queries alone; the mean with that of the documents is wanted"),
        (0.65999, "this is the loss of the documents alone; the mean with that of the queries is wanted"),
        (0.84091, "this is the sum of both directions; take their mean"),
    )
    assert_close(f"{what}: the loss", got, torch.tensor(0.42045), slips, tolerance=1e-4)


def _of_library(queries, documents, temperature, both=False):
    """The loss of sentence-transformers, for one direction or both."""
    loss = MultipleNegativesRankingLoss(lambda one: one, scale=1 / temperature)
    sides = {"sentence_embedding": queries}, {"sentence_embedding": documents}
    one = loss(sides, None)
    return (one + loss(sides[::-1], None)) / 2 if both else one


@hidden(points=0.75)
def check_loss_of_library(info_nce):
    """Random vectors: MultipleNegativesRankingLoss of sentence-transformers; one pair; what is given stays as it is"""
    for number, (B, C, temperature) in enumerate(((6, 5, 0.05), (20, 3, 0.5), (2, 8, 1.0), (1, 4, 0.1))):
        for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-4)):
            queries, documents = _drawn((B, C), 110 + number, dtype), 3 * _drawn((B, C), 120 + number, dtype)
            kept = queries.clone(), documents.clone()
            for both in (False, True):
                what = f"{B} random pair{'s' if B > 1 else ''}, temperature {temperature:g}, both={both}, {dtype}"
                got = _number(what, ask(what, info_nce, queries, documents, temperature, both))
                assert_close(f"{what}: the loss", got, _of_library(*kept, temperature, both), tolerance=tolerance)
                _assert_unchanged(what, queries=(queries, kept[0]), documents=(documents, kept[1]))


def _without_own_group(queries, documents, temperature, both, groups):
    """The loss query by query, each with the documents that take part, for one direction or both."""
    if both:
        sides = (queries, documents), (documents, queries)
        return sum(_without_own_group(*one, temperature, False, groups) for one in sides) / 2
    found = []
    for i, group in enumerate(groups.tolist()):
        taking_part = [i, *(j for j, other in enumerate(groups.tolist()) if other != group)]
        cosines = F.cosine_similarity(queries[i : i + 1], documents[taking_part])
        found.append(F.cross_entropy(cosines[None] / temperature, torch.tensor([0])))
    return torch.stack(found).mean()


@hidden(points=0.75)
def check_groups(info_nce):
    """Documents of the query's own group take no part, but for its own; in both directions"""
    cases = ([0, 1, 0, 2, 1, 0], [5, 5, 5, 5, 5, 5], [3, 1, 2, 0, 9, -1], [-4, -4, 7, 7, 7, 8])
    queries, documents = _drawn((6, 4), 130), _drawn((6, 4), 131)
    for groups in cases:
        given = torch.tensor(groups)
        for both in (False, True):
            want = _without_own_group(queries, documents, 0.3, both, given)
            what = f"six random pairs in the groups {groups}, both={both}"
            got = _number(what, ask(what, info_nce, queries.clone(), documents.clone(), 0.3, both, given))
            slips = [(_of_library(queries, documents, 0.3, both), "the groups are not used")] if len(set(groups)) < 6 else []
            assert_close(f"{what}: the loss", got, want, slips)
        assert given.tolist() == groups, f"six random pairs: the groups that were given are changed to {given.tolist()}"


@hidden(points=0.75)
def check_gradients_of_loss(info_nce):
    """Gradients of both sides: what sentence-transformers' loss has; with groups as well"""
    queries, documents = _drawn((5, 4), 140), 2 * _drawn((5, 4), 141)
    for both in (False, True):
        what = f"five random pairs, both={both}"
        mine = _by_input(what, info_nce, queries, documents, 0.2, both)
        _assert_sides(what, mine, gradients(_of_library, queries, documents, 0.2, both)[1])
    groups = torch.tensor([0, 1, 0, 1, 2])
    for both in (False, True):
        what = f"five random pairs in groups, both={both}"
        mine = _by_input(what, info_nce, queries, documents, 0.2, both, groups)
        _assert_sides(what, mine, gradients(_without_own_group, queries, documents, 0.2, both, groups)[1])


def _assert_sides(what, got, want):
    for name, one, other in zip(("queries", "documents"), got, want, strict=False):
        assert one is not None, f"{what}: the gradient of {name} is missing: {_CUT}"
        assert one.isfinite().all(), f"{what}: the gradient of {name} holds nan or inf"
        assert_close(f"{what}: the gradient of {name}", one, other)


@hidden(points=0.5)
def check_low_temperature(info_nce):
    """A temperature of 0.0001, at which e to the score is too large for a float"""
    queries, groups = _drawn((4, 3), 150), (None, torch.tensor([0, 1, 0, 2]), torch.tensor([3, 3, 3, 3]))
    pairs = (queries.clone(), "each document is its query"), (_drawn((4, 3), 151), "random pairs"), (-queries, "opposite directions")
    for documents, about in pairs:
        for both, given in product((False, True), groups):
            more = ("" if given is None else f", groups {given.tolist()}") + (", both=True" if both else "")
            what = f"four pairs, temperature 0.0001, {about}{more}"
            got = _number(what, ask(what, info_nce, queries.clone(), documents.clone(), 1e-4, both, given))
            advice = "subtract the greatest score before e is raised to it; logsumexp and cross_entropy do"
            assert got.isfinite(), f"{what}: the loss is {got.item()}: {advice}"
            if given is None:
                want, told = _of_library(queries, documents, 1e-4, both), ""
            else:
                want = _without_own_group(queries, documents, 1e-4, both, given)
                told = " (what is left out has the score -inf; another low number is still in the sum)"
            assert_close(f"{what}: the loss{told}", got, want)


# 11.6 Measure it

_SMALL = ["Zurich!", "A kitten sleeps, sleeps and sleeps.", "The river runs to the sea.", "The cat saw the river."]
_SMALL_WORDS = ["cat", "kitten", "river", "sea", "sleeps"]
_SMALL_TABLE = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [5.0, 9.0], [0.0, 1.0]])
_SMALL_VECTORS = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 2.0], [-1.0, 3.0]])


def _assert_order(what, got, want, slips=()):
    for i, (mine, right) in enumerate(zip(_whole(what, got, (len(want), len(want[0])), "(Q, min(k, N))"), want, strict=True)):
        _assert_row(f"{what}{f', query {i}' if len(want) > 1 else ''}", mine, right, slips)


@visible(points=0.5)
def check_small_search(Search):
    """The worked example: four documents, three ways"""
    given = list(_SMALL), list(_SMALL_WORDS), _SMALL_TABLE.copy(), _SMALL_VECTORS.copy()
    model = Search(*given)
    what = "the worked example, tf_idf(['cat'], 4)"
    slips = tuple((order, "the most similar comes first") for order in ([2, 1, 0, 3], [2, 1, 3, 0], [0, 1, 2, 3]))
    tie = "equally similar documents stand in the order of their indices"
    slips += (([3, 2, 1, 0], tie),)
    _assert_order(what, ask(what, model.tf_idf, ["cat"], 4), [[3, 0, 1, 2]], slips)
    fruit = ["apple melon", "pear", "kiwi", "plum"]
    four, company = Search(fruit, ["apple"], np.ones((1, 2)), np.ones((4, 2))), ["apple pear"] + 50 * ["pear"]
    for asked in (company[:1], company):
        what = f"documents *{'*, *'.join(fruit)}*, tf_idf with {len(asked)} queries, of which the first is *apple pear*"
        got = _whole(what, ask(what, four.tf_idf, list(asked), 4), (len(asked), 4), "(Q, min(k, N))")[0]
        advice = "weights of words are learned from the documents alone, so that other queries make no difference"
        _assert_row(what, got, [1, 0, 2, 3], [([0, 1, 2, 3], advice if len(asked) > 1 else "the half of document 0 is another word")])
    what = "the worked example, word_vectors(['The cat', 'xyz'], 4)"
    slips = (
        ([2, 1, 3, 0], "this is the order of the dot products; divide by both lengths"),
        ([1, 3, 2, 0], "every occurrence of a word counts in the mean: document 1 has *sleeps* three times"),
        ([3, 1, 0, 2], "take the words with lmkit.words.in_words, which knows that *sea.* is *sea*, and the cosine, not a distance"),
        ([0, 2, 1, 3], "the most similar comes first; a text without known words has the similarity 0"),
    )
    _assert_order(what, ask(what, model.word_vectors, ["The cat", "xyz"], 4), [[3, 1, 2, 0], [0, 1, 2, 3]], slips)
    what = "the worked example, word_vectors(['cat sleeps sleeps sleeps'], 4)"
    slips = (
        ([3, 1, 2, 0], "each occurrence counts, in queries, too"),
        ([1, 2, 3, 0], "take the words' vectors as they are, whatever their length"),
    )
    _assert_order(what, ask(what, model.word_vectors, ["cat sleeps sleeps sleeps"], 4), [[2, 1, 3, 0]], slips)
    what = "the worked example, encoder([[1, 0]], 9)"
    slips = (
        ([2, 1, 0, 3], "this is the order of the dot products; divide by both lengths"),
        ([1, 2, 3, 0], "document 0 has a vector of zeros, and the similarity 0, which is more than that of document 3; is there nan?"),
    )
    _assert_order(what, ask(what, model.encoder, np.array([[1.0, 0.0]]), 9), [[1, 2, 0, 3]], slips)
    what, queries = "the worked example, encoder([[2, 0], [-1, 3]], 4)", np.array([[2.0, 0.0], [-1.0, 3.0]])
    _assert_order(what, ask(what, model.encoder, queries, 4), [[1, 2, 0, 3], [3, 2, 0, 1]])
    _assert_unchanged(what, queries=(queries, np.array([[2.0, 0.0], [-1.0, 3.0]])))
    named = zip(("documents", "words", "table", "vectors"), given, (_SMALL, _SMALL_WORDS, _SMALL_TABLE, _SMALL_VECTORS), strict=True)
    _assert_unchanged("the worked example", **{name: (now, before) for name, now, before in named})
    _assert_ties(Search)


def _assert_ties(Search):
    """Whether many equally similar documents stand in the order of their indices, and k may be larger than N."""
    texts, vectors = 25 * ["cat", "river", "sea", "none at all"], np.tile([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]], (25, 1))
    model = Search(texts, list(_SMALL_WORDS), _SMALL_TABLE.copy(), vectors)
    for way, queries, order in (
        ("tf_idf", ["cat"], ("0", "123")),
        ("word_vectors", ["cat"], ("0", "2", "13")),
        ("encoder", np.array([[1.0, 0.0]]), ("0", "13", "2")),
    ):
        want = [i for alike_ones in order for i in range(100) if str(i % 4) in alike_ones]
        what = f"100 documents, *cat*, *river*, *sea*, *none at all* 25 times over, {way}, k = 120"
        got = _whole(what, ask(what, getattr(model, way), queries, 120), (1, 100), "(Q, min(k, N))")[0]
        _assert_row(f"{what} (equally similar documents stand in the order of their indices)", got, want)


@lru_cache(maxsize=1)
def _asked():
    """What the corpus is searched with: documents, words, their table, vectors of documents and of queries."""
    task, paragraphs = retrieval.task(), corpus.all_paragraphs()
    documents = [paragraphs[i].text for i in task.documents]
    counts = Counter(word for text in documents for word in in_words(text))
    pieces = pretrained.tokenizer().get_vocab()
    words = sorted(word for word, count in counts.items() if count >= 5 and word in pieces)
    table = pretrained.encoder().embeddings.word_embeddings.weight.detach()[[pieces[word] for word in words]].numpy()
    return documents, words, table, embedded.paragraphs()[list(task.documents)], embedded.encode(task.queries)


@lru_cache(maxsize=1)
def _searching(Search):
    """One search engine for all checks. Search: the student's class."""
    documents, words, table, vectors, _ = _asked()
    return Search(list(documents), list(words), table.copy(), vectors.copy())


def _assert_finds(what, got, first, tenth, advice):
    """Whether enough queries have a paragraph of their own article first, and among the first ten."""
    relevant = retrieval.task().relevant
    rows = _whole(what, got, (len(relevant), 10), "(Q, min(k, N))")
    for k, least in ((1, first), (10, tenth)):
        found = sum(bool(set(row[:k]) & set(own)) for row, own in zip(rows, relevant, strict=True)) / len(rows)
        assert found >= least, f"{what}: recall@{k} is {found:.2f}, expected at least {least:.2f}: {advice}"


@hidden(points=0.5)
def check_tf_idf_finds(Search):
    """TF-IDF on the corpus: recall@1 at least 0.70, recall@10 at least 0.88"""
    queries = list(retrieval.task().queries)
    advice = "rare words must count more than frequent ones; do documents and queries share one vocabulary?"
    _assert_finds("tf_idf on the corpus", _searching(Search).tf_idf(queries, 10), 0.70, 0.88, advice)


@hidden(points=0.5)
def check_word_vectors_find(Search):
    """Means of word vectors on the corpus: recall@1 at least 0.50, recall@10 at least 0.80"""
    queries = list(retrieval.task().queries)
    advice = "every occurrence of a known word counts, and the similarity is the cosine"
    _assert_finds("word_vectors on the corpus", _searching(Search).word_vectors(queries, 10), 0.50, 0.80, advice)


@hidden(points=0.5)
def check_encoder_finds(Search):
    """The encoder's vectors on the corpus: recall@1 at least 0.86, recall@10 at least 0.95"""
    advice = "compare each query's vector with those of all documents"
    _assert_finds("encoder on the corpus", _searching(Search).encoder(_asked()[4].copy(), 10), 0.86, 0.95, advice)
