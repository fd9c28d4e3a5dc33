"""Variants of the solutions of chapter 11, text embeddings: the mistakes that students make, and other right answers."""

import numpy as np
import torch
from scipy.sparse import diags
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from autograder.variant import edited, right, wrong
from lmkit.words import in_words

# mean_pooling

edited(
    __name__,
    "padding_counts",
    of="mean_pooling",
    edits={"(states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)": "states.mean(dim=1)"},
    fails="check_pooling_by_hand",
    says="padding is in the mean",
)
edited(
    __name__,
    "divided_by_all_places",
    of="mean_pooling",
    edits={"weights.sum(dim=1).clamp(min=1)": "states.shape[1]"},
    fails="check_pooling_by_hand",
    says="divide by the number of real tokens",
)
edited(
    __name__,
    "tokens_of_length_one",
    of="mean_pooling",
    edits={"(states * weights)": "(F.normalize(states, dim=-1) * weights)"},
    fails="check_pooling_by_hand",
    says="take the mean of the vectors as they are",
)
edited(
    __name__,
    "no_token_no_number",
    of="mean_pooling",
    edits={".clamp(min=1)": ""},
    fails="check_pooling_edges",
    says="a text without a real token",
)
edited(
    __name__,
    "nan_in_the_gradient",
    of="mean_pooling",
    edits={"F.normalize(vectors, dim=-1)": "(vectors / vectors.square().sum(-1, keepdim=True).sqrt()).nan_to_num()"},
    fails="check_pooling_edges",
    says="torch.where and nan_to_num do not mend the gradient",
)
edited(
    __name__,
    "without_the_first_token",
    of="mean_pooling",
    edits={"attention_mask[:, :, None]": "attention_mask[:, :, None] * (torch.arange(states.shape[1]) > 0)[:, None]"},
    fails="check_pooling_by_hand",
    says="or [CLS] is left out",
)
edited(
    __name__,
    "no_way_back",
    of="mean_pooling",
    edits={"F.normalize(vectors, dim=-1) if normalise else vectors": "(F.normalize(vectors, dim=-1) if normalise else vectors).detach()"},
    fails="check_pooling_edges",
    says="the result has no gradient at all: is there a .detach()",
)


@right(of="mean_pooling")
def text_by_text(states, attention_mask, normalise=True):
    vectors = []
    for text, real in zip(states, attention_mask.bool(), strict=True):
        vector = text[real].mean(0) if real.any() else text[0] * 0
        length = vector.square().sum().sqrt()
        vectors.append(vector / length if normalise and length > 0 else vector)
    return torch.stack(vectors)


# top_k

edited(
    __name__,
    "cosines",
    of="top_k",
    edits={"queries @ documents.T": "queries @ (documents / np.linalg.norm(documents, axis=1, keepdims=True)).T"},
    fails="check_search_by_hand",
    says="these are the greatest cosines",
)
edited(
    __name__,
    "turned_round",
    of="top_k",
    edits={'np.argsort(-scores, axis=1, kind="stable")': 'np.argsort(scores, axis=1, kind="stable")[:, ::-1]'},
    fails="check_search_by_hand",
    says="the lower index comes first",
)


@wrong(of="top_k", fails="check_equal_scores", says="of equal scores the lower index comes first")
def ties_cut_anywhere(queries, documents, k):
    scores = queries @ documents.T
    some = np.sort(np.argpartition(-scores, min(k, len(documents) - 1), axis=1)[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
    indices = np.take_along_axis(some, order, axis=1)
    return indices, np.take_along_axis(scores, indices, axis=1)


edited(
    __name__,
    "always_k",
    of="top_k",
    edits={"[:, :k]": "[:, np.arange(k) % max(len(documents), 1)]"},
    fails="check_search_edges",
    says="expected an array of shape (Q, min(k, N))",
)


@right(of="top_k")
def sorted_pairs(queries, documents, k):
    rows = []
    for query in queries:
        pairs = sorted((-float(query @ document), i) for i, document in enumerate(documents))
        rows.append(pairs[:k])
    shape = len(rows), min(k, len(documents))
    return np.array([[i for _, i in row] for row in rows], dtype=np.int32).reshape(shape), np.array(
        [[-score for score, _ in row] for row in rows]
    ).reshape(shape)


@right(of="top_k")
def sorted_and_reversed(queries, documents, k):
    scores = queries @ documents.T
    backwards = np.argsort(scores[:, ::-1], axis=1, kind="stable")  # of equal scores the greater index first
    return (len(documents) - 1 - backwards)[:, ::-1][:, :k], np.sort(scores, axis=1)[:, ::-1][:, :k]


# kmeans

edited(
    __name__,
    "ties_to_the_higher",
    of="kmeans",
    edits={"distances.argmin(axis=1)": "len(centres) - 1 - distances[:, ::-1].argmin(axis=1)"},
    fails="check_one_round",
    says="the lower number gets it",
)
edited(
    __name__,
    "noted_behind_the_move",
    of="kmeans",
    edits={
        "        objectives.append(float(distances.min(axis=1).sum()))\n": "",
        "        if before": "        objectives.append(float(((points - centres[labels]) ** 2).sum()))\n        if before",
    },
    fails="check_one_round",
    says="it is noted before the centres move",
)
edited(
    __name__,
    "mean_of_nothing",
    of="kmeans",
    edits={"set(labels.tolist())": "range(len(centres))"},
    fails="check_centres_without_points",
    says="there is no mean of no points",
)
edited(
    __name__,
    "start_moves",
    of="kmeans",
    edits={"start.astype(float)": "start"},
    fails="check_objective_never_rises",
    says="start, which was given, is changed",
)


@right(of="kmeans")
def point_by_point(points, start, most=300):
    centres, labels, noted = [list(map(float, centre)) for centre in start], None, []
    while len(noted) < most:
        now, total = [], 0.0
        for point in points.tolist():
            apart = [sum((a - b) ** 2 for a, b in zip(point, centre, strict=True)) for centre in centres]
            now.append(apart.index(min(apart)))
            total += min(apart)
        noted.append(total)
        for c in range(len(centres)):
            own = [point for point, label in zip(points.tolist(), now, strict=True) if label == c]
            if own:
                centres[c] = [sum(column) / len(own) for column in zip(*own, strict=True)]
        if now == labels:
            break
        labels = now
    return now, np.array(centres), np.array(noted)


# class_tf_idf

edited(
    __name__,
    "shares_of_the_class",
    of="class_tf_idf",
    edits={"words, in_class * np.log": "words, in_class / in_class.sum(axis=1, keepdims=True) * np.log"},
    fails="check_weights_by_hand",
    says="not its share of the class",
)
edited(
    __name__,
    "words_of_a_document",
    of="class_tf_idf",
    edits={"in_class.sum() / K": "in_class.sum() / len(documents)"},
    fails="check_weights_by_hand",
    says="on average, not of a document",
)
edited(
    __name__,
    "in_how_many_documents",
    of="class_tf_idf",
    edits={" / in_class.sum(axis=0)": " / [sum(word in document for document in documents) for word in words]"},
    fails="check_weights_by_hand",
    says="not in how many documents or classes",
)
edited(
    __name__,
    "empty_class_left_out",
    of="class_tf_idf",
    edits={"in_class.sum() / K": "in_class.sum() / max(1, (in_class.sum(axis=1) > 0).sum())"},
    fails="check_weights_of_paragraphs",
    says="the empty ones as well",
)
edited(
    __name__,
    "classes_numbered_anew",
    of="class_tf_idf",
    edits={"counts[label].update": "counts[sorted(set(labels)).index(label)].update"},
    fails="check_weights_of_paragraphs",
    says="row c belongs to class c",
)


@right(of="class_tf_idf")
def counted_by_place(documents, labels, K):
    running = [(word, label) for document, label in zip(documents, labels, strict=True) for word in document]
    words, places = np.unique([word for word, _ in running], return_inverse=True) if running else (np.array([], dtype=str), [])
    counts = np.zeros((K, len(words)))
    for (_, label), place in zip(running, places, strict=True):
        counts[label, place] += 1
    everywhere = counts.sum(0)
    return tuple(words.tolist()), counts * (np.log(everywhere + len(running) / K) - np.log(everywhere))


# topic_words

edited(
    __name__,
    "weights_of_zero",
    of="topic_words",
    edits={" if weights[c, i] > 0": ""},
    fails="check_topics_by_hand",
    says="only weights above 0 count",
)
edited(
    __name__,
    "last_of_equals",
    of="topic_words",
    edits={'np.argsort(-weights, axis=1, kind="stable")': 'np.argsort(weights, axis=1, kind="stable")[:, ::-1]'},
    fails="check_topics_by_hand",
    says="of equal weights the word that stands first in `words` comes first",
)


@wrong(of="topic_words", fails="check_topics_by_hand", says="of equal weights the word that stands first in `words` comes first")
def equals_by_the_alphabet(words, weights, k):
    rows = [sorted((-weight, word) for weight, word in zip(row, words, strict=True) if weight > 0) for row in weights.tolist()]
    return [[word for _, word in row[:k]] for row in rows]


edited(
    __name__,
    "indices_of_words",
    of="topic_words",
    edits={"[words[i] for i in row": "[int(i) for i in row"},
    fails="check_topics_by_hand",
    says="expected words, and a list holds 1",
)


@right(of="topic_words")
def greatest_again_and_again(words, weights, k):
    found = []
    for row in weights:
        row, best = row.copy(), []
        while len(best) < k and row.size and row.max() > 0:
            best.append(words[int(row.argmax())])
            row[row.argmax()] = 0
        found.append(best)
    return found


# info_nce

edited(
    __name__,
    "dot_products",
    of="info_nce",
    edits={"F.normalize(queries, dim=-1) @ F.normalize(documents, dim=-1).T": "queries @ documents.T"},
    fails="check_loss_by_hand",
    says="scores are cosines",
)
edited(
    __name__,
    "sum_of_both",
    of="info_nce",
    edits={"(loss + F.cross_entropy(scores.T, own)) / 2": "loss + F.cross_entropy(scores.T, own)"},
    fails="check_both_directions",
    says="this is the sum of both directions",
)
edited(
    __name__,
    "own_document_left_out",
    of="info_nce",
    edits={" & (own[:, None] != own)": ""},
    fails="check_groups",
    says="six random pairs in the groups",
)
edited(
    __name__,
    "documents_do_not_learn",
    of="info_nce",
    edits={"F.normalize(documents, dim=-1)": "F.normalize(documents.detach(), dim=-1)"},
    fails="check_gradients_of_loss",
    says="the gradient of documents is missing",
)
edited(
    __name__,
    "loss_cut_off",
    of="info_nce",
    edits={"return (loss + F": "loss = loss.detach()\n    return (loss + F"},
    fails="check_gradients_of_loss",
    says="the result has no gradient at all",
)
edited(
    __name__,
    "left_out_by_a_low_score",
    of="info_nce",
    edits={'float("-inf")': "-100.0"},
    fails="check_low_temperature",
    says="another low number is still in the sum",
)


@wrong(of="info_nce", fails="check_low_temperature", says="subtract the greatest score")
def overflows(queries, documents, temperature, both=False, groups=None):
    q, d = (one / one.norm(dim=-1, keepdim=True) for one in (queries, documents))
    powers, losses = (q @ d.T / temperature).exp(), []
    if groups is not None:
        powers = powers * ((groups[:, None] != groups) | torch.eye(len(q), dtype=torch.bool))
    for side in (0, 1) if both else (1,):
        losses.append(-(powers.diag() / powers.sum(side)).log().mean())
    return sum(losses) / len(losses)


@right(of="info_nce")
def query_by_query(queries, documents, temperature, both=False, groups=None):
    losses = []
    for asked, offered in ((queries, documents), (documents, queries)) if both else ((queries, documents),):
        for i, one in enumerate(asked):
            own = [j for j in range(len(offered)) if j == i or groups is None or int(groups[j]) != int(groups[i])]
            scores = torch.cosine_similarity(one[None], offered[own]) / temperature
            losses.append(scores.logsumexp(0) - scores[own.index(i)])
    return torch.stack(losses).mean()


# Search

edited(
    __name__,
    "not_cosines",
    of="Search",
    edits={
        "-cosine_similarity(queries, documents)": "-np.asarray(documents.dot(queries.T).T if isinstance(queries, np.ndarray) else"
        " documents.dot(queries.T).T.toarray())"
    },
    fails="check_small_search",
    says="this is the order of the dot products",
)
edited(
    __name__,
    "learns_from_queries",
    of="Search",
    edits={
        "self.vectorizer = TfidfVectorizer": "self.documents = list(documents)\n        self.vectorizer = TfidfVectorizer",
        "self._best(self.vectorizer.transform(queries), self.of_words, k)": "self._best(*(lambda both, N: (both[N:], both[:N]))("
        "self.vectorizer.fit_transform([*self.documents, *queries]), len(self.documents)), k)",
    },
    fails="check_small_search",
    says="learned from the documents alone",
)
edited(
    __name__,
    "each_word_once",
    of="Search",
    edits={"in in_words(text)": "in sorted(set(in_words(text)))"},
    fails="check_small_search",
    says="every occurrence of a word counts",
)
edited(
    __name__,
    "all_words_alike",
    of="Search",
    edits={"TfidfVectorizer(sublinear_tf=True)": "TfidfVectorizer(use_idf=False, norm=None)"},
    fails="check_tf_idf_finds",
    says="rare words must count more",
)
edited(
    __name__,
    "words_between_spaces",
    of="Search",
    edits={"in in_words(text)": "in text.lower().split()"},
    fails="check_small_search",
    says="which knows that *sea.* is *sea*",
)


@right(of="Search")
class OneProductEach:
    def __init__(self, documents, words, table, vectors):
        self.tfidf = TfidfVectorizer(norm=None)
        self.counting = CountVectorizer(vocabulary=list(words), tokenizer=in_words, token_pattern=None, lowercase=False)
        self.table, self.vectors = table.astype(float), vectors
        self.learned, self.sums = self.tfidf.fit_transform(documents), self.counting.transform(documents) @ self.table

    def tf_idf(self, queries, k):
        lengths = np.sqrt(self.learned.multiply(self.learned).sum(1)).A1
        scores = diags(1 / np.maximum(lengths, 1e-12)) @ self.learned @ self.tfidf.transform(queries).T
        return self.first(scores.toarray().T, k)

    def word_vectors(self, queries, k):
        return self.first((self.counting.transform(queries) @ self.table) @ self.units(self.sums).T, k)

    def encoder(self, queries, k):
        return self.first(queries @ self.units(self.vectors).T, k)

    def units(self, rows):
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def first(self, scores, k):
        return np.array([sorted(range(len(row)), key=lambda i: -row[i])[:k] for row in scores.round(12)])
