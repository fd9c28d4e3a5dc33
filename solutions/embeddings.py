"""Chapter 11, text embeddings at work: pooling, search, k-means, class TF-IDF, a contrastive loss, and three ways to search the corpus."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor
from torch.nn import functional as F

from lmkit.words import in_words


def mean_pooling(states: Tensor, attention_mask: Tensor, normalise: bool = True) -> Tensor:
    """One vector a text: the mean of its real tokens' vectors.   states: (B, T, C), attention_mask: (B, T) -> (B, C)

    attention_mask: int64 or bool, 1 where a real token stands and 0 where padding does, at any place. With `normalise` each
    vector is divided by its length. A text without a real token gives zeros, and a vector of zeros stays one. The result has the
    type of states; nothing that is given is changed. Source: Reimers & Gurevych 2019, section 3.
    """
    weights = attention_mask[:, :, None].to(states.dtype)  # (B, T, 1)
    vectors = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)  # (B, C)
    return F.normalize(vectors, dim=-1) if normalise else vectors


def top_k(queries: np.ndarray, documents: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """For each query the k documents with the greatest dot products.   (Q, C), (N, C), k >= 0 -> indices and scores, (Q, min(k, N)) each

    The greatest score comes first, and of equal scores the lower index. N may be 0. The search is exact.
    """
    scores = queries @ documents.T  # (Q, N)
    indices = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return indices, np.take_along_axis(scores, indices, axis=1)


def kmeans(points: np.ndarray, start: np.ndarray, most: int = 300) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Clusters by Lloyd's rounds from given centres.   (N, C), (K, C), most >= 1 -> labels (N,), centres (K, C), objectives

    A round gives each point to its nearest centre by squared distance, of equally near ones to the lower number. It notes the sum of
    these squared distances in `objectives`. Then it moves each centre to the mean of its points; a centre without points stays.
    The last round is the one that gives every point to the same centre as the round before, or else round number `most`.
    Labels are those of the last round, centres those after it. Nothing that is given is changed. Source: Lloyd 1982.
    """
    centres, labels, objectives = start.astype(float), None, []
    for _ in range(most):
        distances = ((points[:, None] - centres) ** 2).sum(axis=-1)  # (N, K)
        before, labels = labels, distances.argmin(axis=1)
        objectives.append(float(distances.min(axis=1).sum()))
        for c in set(labels.tolist()):
            centres[c] = points[labels == c].mean(axis=0)
        if before is not None and (labels == before).all():
            break
    return labels, centres, objectives


def class_tf_idf(documents: Sequence[Sequence[str]], labels: Sequence[int], K: int) -> tuple[list[str], np.ndarray]:
    """How much each word says about each of K classes.   N documents (lists of words), N labels -> words, weights (K, V)

    The words are all that occur, in alphabetical order. Word t has in class c the weight n_tc * ln(1 + A / n_t): how often it occurs
    there, times a logarithm in which n_t is how often it occurs in all classes, and A the number of occurrences of words in a class, on
    average over all K. A class may be empty, and so may a document. Source: Grootendorst 2022, section 3.3.
    """
    counts = [Counter() for _ in range(K)]
    for document, label in zip(documents, labels, strict=True):
        counts[label].update(document)
    words = sorted(set().union(*counts))
    in_class = np.array([[count[word] for word in words] for count in counts], dtype=float).reshape(K, len(words))
    return words, in_class * np.log(1 + in_class.sum() / K / in_class.sum(axis=0))


def topic_words(words: Sequence[str], weights: np.ndarray, k: int) -> list[list[str]]:
    """The k words with the greatest weights in each class, the greatest first.   V words, (K, V), k >= 0 -> K lists

    Of equal weights the word that stands first in `words` comes first. Only weights above 0 count, so a list may be shorter.
    """
    order = np.argsort(-weights, axis=1, kind="stable")[:, :k]
    return [[words[i] for i in row if weights[c, i] > 0] for c, row in enumerate(order)]


def info_nce(queries: Tensor, documents: Tensor, temperature: float, both: bool = False, groups: Tensor | None = None) -> Tensor:
    """Contrastive loss with in-batch negatives: query i must find document i among all of the batch.   (B, C), (B, C) -> ()

    Scores are cosines divided by the temperature. The loss of a query is the cross-entropy of its softmax over the documents,
    with its own document as the target; the result is the mean over the queries. With `both` it is the mean of this loss and of the
    one that exchanges the two sides. groups, (B,) int64: of a query's own group only its own document takes part.
    Gradients flow to queries and documents, none of which is all zeros. Source: van den Oord et al. 2018, equation 4.
    """
    scores = F.normalize(queries, dim=-1) @ F.normalize(documents, dim=-1).T / temperature  # (B, B)
    own = torch.arange(len(scores))
    if groups is not None:
        others = (groups[:, None] == groups) & (own[:, None] != own)
        scores = scores.masked_fill(others, float("-inf"))
    loss = F.cross_entropy(scores, own)
    return (loss + F.cross_entropy(scores.T, own)) / 2 if both else loss


class Search:
    """Documents that are found in three ways. Each way returns indices of documents, (Q, min(k, N)), the most similar first.

    Similarity is the cosine; 0 where a vector is all zeros. Of equally similar documents the lower index comes first.
    """

    def __init__(self, documents: Sequence[str], words: Sequence[str], table: np.ndarray, vectors: np.ndarray):
        """documents: N texts; words: V words in lower case, each once; table: (V, C), their vectors; vectors: (N, D), the documents'"""
        self.index, self.table, self.vectors = {word: i for i, word in enumerate(words)}, table, vectors
        self.vectorizer = TfidfVectorizer(sublinear_tf=True)
        self.of_words, self.means = self.vectorizer.fit_transform(documents), self._means(documents)

    def tf_idf(self, queries: Sequence[str], k: int) -> np.ndarray:
        """By TF-IDF, learned from the documents; what no document has counts nothing."""
        return self._best(self.vectorizer.transform(queries), self.of_words, k)

    def word_vectors(self, queries: Sequence[str], k: int) -> np.ndarray:
        """By the means of the vectors of all occurrences of known words, as `lmkit.words.in_words` finds words in a text."""
        return self._best(self._means(queries), self.means, k)

    def encoder(self, queries: np.ndarray, k: int) -> np.ndarray:
        """By vectors of the encoder: those of the queries, (Q, D), and those of the documents."""
        return self._best(queries, self.vectors, k)

    def _best(self, queries: object, documents: object, k: int) -> np.ndarray:
        """The indices of the k documents with the greatest cosines, for each query. Vectors are rows, dense or sparse."""
        return np.argsort(-cosine_similarity(queries, documents), axis=1, kind="stable")[:, :k]

    def _means(self, texts: Sequence[str]) -> np.ndarray:
        """The mean of the vectors of each text's known words.   N texts -> (N, C); zeros where a text has none"""
        means = np.zeros((len(texts), self.table.shape[1]))
        for i, text in enumerate(texts):
            ids = [self.index[word] for word in in_words(text) if word in self.index]
            if ids:
                means[i] = self.table[ids].mean(axis=0)
        return means
