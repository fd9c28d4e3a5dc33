"""Chapter 4, word2vec: training pairs, noise, negative sampling by hand, and what the vectors know."""

from collections.abc import Hashable, Sequence

import numpy as np

from lmkit import words as text

Word = Hashable  # a string or an id


def skip_gram_pairs(words: Sequence[Word], window: int) -> list[tuple[Word, Word]]:
    """Every word of a sentence paired with every word near it.

    window >= 1 -> list of (centre, context)

    Two different places of the sentence make a pair if they lie at most `window` places
    apart. The pairs are ordered by the place of the centre, then by the place of the
    context, both from left to right. A word that occurs twice in the window makes two
    pairs; if it is the centre's own word, so be it. A sentence of fewer than two words has
    no pairs: []. The words are strings or ids, in a list or an array; they stay as they are.
    """
    pairs = []
    for i, centre in enumerate(words):
        for j in range(max(0, i - window), min(len(words), i + window + 1)):
            if j != i:
                pairs.append((centre, words[j]))
    return pairs


def cbow_examples(words: Sequence[Word], window: int) -> list[tuple[list[Word], Word]]:
    """What CBOW learns from: for every word of a sentence the words around it, and the word.

    window >= 1 -> list of (context, centre)

    The context is the list of the words at most `window` places before or behind the
    centre, from left to right, without the centre itself. At the ends of the sentence it is
    shorter. There is one example for each word, in the order of the sentence; a word with
    no context (the sentence has no other) gives none. The words stay as they are.
    """
    examples = []
    for i, centre in enumerate(words):
        context = [*words[max(0, i - window) : i], *words[i + 1 : i + window + 1]]
        if context:
            examples.append((context, centre))
    return examples


def keep_probabilities(counts: np.ndarray, sample: float) -> np.ndarray:
    """The probability with which subsampling keeps an occurrence of each word.

    counts: (V,) whole numbers, at least 1; 0 <= sample < 1 -> (V,)

    sqrt(sample / f) + sample / f, but at most 1, where f is the word's count divided by the
    sum of all counts. sample = 0 means no subsampling: every word is kept with probability
    1. The counts, an array or a list, stay as they are.
    Source: the code that came with Mikolov et al. 2013, and gensim's.
    """
    counts = np.asarray(counts, dtype=float)
    if sample == 0:
        return np.ones(len(counts))
    ratio = sample * counts.sum() / counts
    return np.minimum(np.sqrt(ratio) + ratio, 1)


def noise_distribution(counts: np.ndarray, power: float) -> np.ndarray:
    """The distribution that noise words are drawn from: counts to a power, divided by their sum.

    counts: (V,) whole numbers, at least 1; power: from -10 to 10 -> (V,), sums to one

    power = 1 gives the words' own frequencies, power = 0 the uniform distribution; word2vec
    takes 3/4. The counts, an array or a list, stay as they are.
    Source: Mikolov et al. 2013, section 2.2.
    """
    weights = np.asarray(counts, dtype=float) ** power
    return weights / weights.sum()


def sgns_loss_and_gradients(
    E: np.ndarray, U: np.ndarray, centres: np.ndarray, contexts: np.ndarray, noise: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss of a batch of skip-gram pairs with their noise words, and its gradients by E and U.

    E: (V, C) floats; U: (V, C) floats; centres: (B,) ids; contexts: (B,) ids; noise: (B, K) ids
    -> loss, gradient by E (V, C), gradient by U (V, C)

    With e the row of E of the centre, u the row of U of the context word and u_1 ... u_K
    the rows of U of its noise words, a pair costs
        -ln sigmoid(u . e) - sum over k of ln sigmoid(-u_k . e).
    Every noise word counts as it was drawn, also one that is the context word or was drawn
    twice. The loss is the sum over the pairs, not their mean; B = 0 gives 0. The gradients
    are new arrays, zero in the rows that no pair uses; a row that is used several times
    gets the sum. Scores of any size give finite results. The arguments stay as they are.
    Source: Mikolov et al. 2013, equation 4.
    """
    e, u, u_noise = E[centres], U[contexts], U[noise]  # (B, C), (B, C), (B, K, C)
    scores = (u * e).sum(axis=-1, keepdims=True)  # (B, 1)
    noise_scores = (u_noise * e[:, None]).sum(axis=-1, keepdims=True)  # (B, K, 1)
    loss = np.logaddexp(0, -scores).sum() + np.logaddexp(0, noise_scores).sum()  # -ln sigmoid(x) = ln(1 + e^-x)

    errors = np.tanh(scores / 2) / 2 - 0.5  # sigmoid - 1
    noise_errors = np.tanh(noise_scores / 2) / 2 + 0.5  # sigmoid - 0
    d_E, d_U = np.zeros_like(E), np.zeros_like(U)
    np.add.at(d_E, centres, errors * u + (noise_errors * u_noise).sum(axis=1))
    np.add.at(d_U, contexts, errors * e)
    np.add.at(d_U, noise, noise_errors * e[:, None])
    return float(loss), d_E, d_U


def train_sgns(
    sentences: Sequence[Sequence[int]],
    keep: np.ndarray,
    noise: np.ndarray,
    C: int,
    window: int,
    K: int,
    epochs: int,
    learning_rate: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Train skip-gram with negative sampling; return the centre vectors E.

    keep: (V,) probability of keeping an occurrence of each word; noise: (V,) sums to one -> (V, C) floats

    A sentence is a list or an array of ids below V, of any length, also 0. E starts uniform
    between -1/C and 1/C, U at 0. An epoch reads all sentences in order. In each sentence
    1. every occurrence of a word stays with its probability in `keep`, drawn anew in each
       epoch; the others are taken out, so that their neighbours move together;
    2. every word that stays is a centre, with a radius of its own, drawn uniformly from
       1 ... window; it makes a pair with each word at most that many places away;
    3. every pair gets K noise words, drawn from `noise`. The pairs of up to 64 centres in a
       row of one sentence may share S noise words, S at least the number of these centres:
       then each of the S counts K / S times for each pair.
    Then E and U take a step: minus learning rate times the gradient of the loss, summed over
    the pairs (see sgns_loss_and_gradients). One step may be taken for each pair, or for all
    pairs of up to 64 centres in a row of one sentence at once. The learning rate falls
    linearly with the number of words read, those taken out too, from learning_rate to 0 over
    all epochs together; it is set once a sentence. epochs = 0 returns E as it starts. All
    chance comes from `generator`. The arguments stay as they are. Floats of 32 bits will do.
    Source: Mikolov et al. 2013.
    """
    V, block = len(keep), 32  # as many centres take a step together
    E, U = generator.uniform(-1 / C, 1 / C, (V, C)).astype(np.float32), np.zeros((V, C), dtype=np.float32)
    heights = np.cumsum(noise)
    read, to_read = 0, max(1, epochs * sum(len(sentence) for sentence in sentences))
    for sentence in [np.array(sentence, dtype=np.int64) for sentence in sentences] * epochs:
        rate = learning_rate * (1 - read / to_read)
        read += len(sentence)
        ids = sentence[generator.random(len(sentence)) < keep[sentence]]
        places, radius = np.arange(len(ids)), generator.integers(1, window + 1, len(ids))
        for start in range(0, len(ids), block):
            here = slice(start, start + block)  # B centres
            around = slice(max(0, start - window), start + block + window)  # the T words that their windows may reach
            distance = np.abs(places[here, None] - places[around])
            near = (distance > 0) & (distance <= radius[here, None])  # (B, T) which of them make a pair
            B, T = near.shape
            drawn = heights.searchsorted(generator.random(B) * heights[-1], side="right")  # as many noise words as centres
            rows = np.concatenate([ids[around], drawn])
            e, u = E[ids[here]], U[rows]  # (B, C), (T + B, C)
            errors = np.tanh(e @ u.T / 2) / 2 + 0.5  # (B, T + B) the sigmoid of every score
            errors[:, :T] = near * (errors[:, :T] - 1)
            errors[:, T:] *= near.sum(axis=1, keepdims=True) * (K / B)
            np.add.at(E, ids[here], -rate * (errors @ u))
            np.add.at(U, rows, -rate * (errors.T @ e))
    return E


class WordVectors:
    """Words with a vector each, and questions to them.

    words: V different strings; vectors: (V, C), row i belongs to words[i]

    Similarity is the cosine of the angle between two vectors: their dot product divided by
    both lengths; with a vector of zeros it is 0. Answers are lists of pairs (word, cosine),
    the most similar first, words of equal similarity in the order of `words`. What was given
    stays as it is.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray):
        """Prepare what the questions need."""
        self.words = list(words)
        self.index = {word: i for i, word in enumerate(self.words)}
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self.units = np.divide(vectors, lengths, out=np.zeros(np.shape(vectors)), where=lengths > 0)

    def nearest(self, word: str, k: int) -> list[tuple[str, float]]:
        """The k words most similar to `word`, without `word` itself.

        k >= 0; fewer where there are no more. Errors: KeyError for a word without a vector.
        """
        return self._closest(self.units[self.index[word]], {word}, k)

    def analogy(self, a: str, b: str, c: str, k: int) -> list[tuple[str, float]]:
        """a is to b as c is to which word? The k best answers.

        The target is unit(b) - unit(a) + unit(c), where unit(x) is the vector of x divided by
        its length; a vector of zeros stays as it is. The answers are the words most similar to the target, without a, b and c.
        k and errors as for `nearest`. Source: Mikolov, Yih and Zweig 2013.
        """
        target = self.units[self.index[b]] - self.units[self.index[a]] + self.units[self.index[c]]
        length = np.linalg.norm(target)
        return self._closest(target / length if length > 0 else target, {a, b, c}, k)

    def _closest(self, unit: np.ndarray, without: set[str], k: int) -> list[tuple[str, float]]:
        """A helper for both, which you may use or delete: the k words most similar to a vector of length 1, or of zeros."""
        cosines = self.units @ unit
        order = (-cosines).argsort(kind="stable")[: k + len(without)]
        return [(self.words[i], float(cosines[i])) for i in order if self.words[i] not in without][:k]


def learn_word_vectors(sentences: list[list[str]]) -> tuple[list[str], np.ndarray]:
    """Learn a vector for each word of a text, in at most 60 seconds; reach 0.22 on WordSim-353.

    sentences: lists of lower-case words -> words, (V, C)

    Returns the words, each once, and an array whose row i is the vector of word i. Every
    word that occurs at least five times has one; others may have one. Any way to learn them
    will do that you wrote yourself, without gensim, and that reads nothing but the sentences.
    """
    vocabulary = text.vocabulary(sentences, min_count=5)
    keep, noise = keep_probabilities(vocabulary.counts, 1e-3), noise_distribution(vocabulary.counts, 0.75)
    vectors = train_sgns(vocabulary.ids(sentences), keep, noise, 50, 5, 5, 5, 0.05, np.random.default_rng(1))
    return list(vocabulary.words), vectors
