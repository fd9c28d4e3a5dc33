"""Properties of chapter 11's solutions for any sizes: what padding, order, scale and ties may not change, and equality with libraries."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch.nn import functional as F

from lmkit import embedded
from solutions.embeddings import Search, class_tf_idf, info_nce, kmeans, mean_pooling, top_k, topic_words

pytestmark = pytest.mark.usefixtures("one_thread")
few = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**31)
letters = st.sampled_from("abcdef")
labelled = st.lists(st.tuples(st.lists(letters, max_size=5), st.integers(0, 2)), max_size=8)  # documents with the number of their class


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def near(one, other, tolerance=1e-9):
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


@few
@given(seeds, st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_a_text_has_the_same_vector_alone_and_padded(seed, lengths):
    T = max(lengths)
    states, mask = draw(seed, len(lengths), T, 3), torch.arange(T) < torch.tensor(lengths)[:, None]
    vectors = mean_pooling(states, mask)
    for i, length in enumerate(lengths):
        assert near(vectors[i], F.normalize(states[i, :length].mean(0), dim=0))
    assert near(vectors, embedded.pool(states, mask.long(), "mean"))


@few
@given(seeds, st.integers(1, 60), st.integers(0, 70))
def test_fewer_results_are_the_first_of_more_and_all_are_in_order(seed, N, k):
    rng = np.random.default_rng(seed)
    queries, documents = rng.integers(-2, 3, (3, 2)).astype(float), rng.integers(-2, 3, (N, 2)).astype(float)
    indices, scores = top_k(queries, documents, N)
    some, few_scores = top_k(queries, documents, k)
    assert (some == indices[:, :k]).all()
    assert (few_scores == scores[:, :k]).all()
    for row, ranked in zip(indices, scores, strict=True):
        assert sorted(row) == list(range(N))
        assert list(zip(-ranked, row, strict=True)) == sorted(zip(-ranked, row, strict=True))


@few
@given(seeds, st.integers(1, 40), st.integers(1, 6), st.integers(1, 3))
def test_clusters_are_a_fixed_point_and_the_objective_never_rises(seed, N, K, C):
    rng = np.random.default_rng(seed)
    points, start = rng.normal(size=(N, C)), rng.normal(size=(K, C))
    labels, centres, objectives = kmeans(points, start)
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(objectives))
    again, same, last = kmeans(points, centres)
    assert (again == labels).all()
    assert np.allclose(same, centres)
    assert np.allclose(last, objectives[-1])
    one_by_one = start
    for _ in objectives:
        one_by_one = kmeans(points, one_by_one, 1)[1]
    assert np.allclose(one_by_one, centres)


@few
@given(seeds, st.integers(6, 60), st.integers(1, 5))
def test_clusters_equal_those_of_scikit_learn_where_none_is_empty(seed, N, K):
    points = np.random.default_rng(seed).normal(size=(N, 2))
    start = points[:K]
    labels, centres, objectives = kmeans(points, start)
    for most in range(1, len(objectives)):
        assume(len(set(kmeans(points, start, most)[0].tolist())) == K)
    library = KMeans(K, init=start, n_init=1, tol=0, algorithm="lloyd").fit(points)
    assert (library.labels_ == labels).all()
    assert np.allclose(library.cluster_centers_, centres)
    assert library.inertia_ == pytest.approx(objectives[-1])
    assert library.n_iter_ == len(objectives)


@few
@given(labelled)
def test_weights_do_not_depend_on_how_a_class_is_cut_into_documents(pairs):
    documents, labels = [document for document, _ in pairs], [label for _, label in pairs]
    words, weights = class_tf_idf(documents, labels, 3)
    whole = [[word for document, label in pairs if label == c for word in document] for c in range(3)]
    assert class_tf_idf(whole, range(3), 3)[0] == words
    assert np.allclose(class_tf_idf(whole, range(3), 3)[1], weights)
    assert np.allclose(class_tf_idf(documents * 2, labels * 2, 3)[1], 2 * weights)  # counts double, and every A / n stays
    assert ((weights > 0) == [[word in class_ for word in words] for class_ in whole]).all()


@few
@given(labelled, st.integers(0, 8))
def test_words_of_a_topic_occur_in_it_and_none_that_is_left_out_weighs_more(pairs, k):
    words, weights = class_tf_idf([document for document, _ in pairs], [label for _, label in pairs], 3)
    for row, best in zip(weights, topic_words(words, weights, k), strict=True):
        by_word = dict(zip(words, row, strict=True))
        assert len(best) == min(k, (row > 0).sum())
        left_out = [by_word[word] for word in words if word not in best]
        assert all(by_word[word] > 0 and by_word[word] >= max(left_out, default=0) for word in best)


@few
@given(seeds, st.integers(1, 8), st.sampled_from([0.02, 0.2, 1.0]))
def test_the_loss_depends_on_directions_alone_and_on_no_order(seed, B, temperature):
    queries, documents, order = draw(seed, B, 4), draw(seed + 1, B, 4), torch.randperm(B, generator=torch.Generator().manual_seed(seed))
    for both in (False, True):
        loss = info_nce(queries, documents, temperature, both)
        lengths = 1 + draw(seed + 2, B, 1).abs()
        assert near(info_nce(queries * lengths, documents / lengths, temperature, both), loss)
        assert near(info_nce(queries[order], documents[order], temperature, both), loss)
        assert near(info_nce(queries, documents, temperature, both, order), loss)  # every pair is a group of its own
        assert info_nce(queries, documents, temperature, both, torch.zeros(B, dtype=torch.int64)) == 0
    forth, back = info_nce(queries, documents, temperature), info_nce(documents, queries, temperature)
    assert near(info_nce(queries, documents, temperature, True), (forth + back) / 2)


@few
@given(seeds, st.integers(1, 8))
def test_leaving_documents_of_the_own_group_out_never_raises_the_loss(seed, B):
    queries, documents = draw(seed, B, 3), draw(seed + 1, B, 3)
    groups = torch.randint(3, (B,), generator=torch.Generator().manual_seed(seed))
    assert info_nce(queries, documents, 0.1, True, groups) <= info_nce(queries, documents, 0.1, True) + 1e-12


@few
@given(seeds, st.integers(1, 12), st.integers(1, 15))
def test_searching_by_the_encoder_is_searching_among_vectors_of_length_one(seed, N, k):
    queries, documents = draw(seed, 2, 4).numpy(), draw(seed + 1, N, 4).numpy()
    search = Search(["a text"] * N, ["text"], np.ones((1, 2)), documents)
    units = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    assert (search.encoder(queries, k) == top_k(queries, units, k)[0]).all()
    assert (search.tf_idf(["text"], k) == np.arange(N)[None, :k]).all()
    assert (search.word_vectors(["no such word"], k) == np.arange(N)[None, :k]).all()
