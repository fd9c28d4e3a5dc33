"""Measures skip-gram by hand beside gensim's: one text, the same settings, three seeds, in one run.

Speeds are comparable within one run only: they depend on what else the machine does. So both train in turn, seed by seed, on one
thread (gensim with workers=1, beside which another thread prepares its jobs), and both clocks are read: the wall's and the processor's.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from gensim.models import Word2Vec
from rich.table import Table
from threadpoolctl import threadpool_limits

from lmkit import words
from solutions import word2vec

SETS = ("wordsim353", "simlex999")


@dataclass(frozen=True)
class Settings:
    """What both get. The defaults are those of exercise 4.8."""

    width: int = 50  # C, numbers in a vector
    window: int = 5  # the largest radius; each centre draws its own
    negatives: int = 5  # K, noise words a pair
    sample: float = 1e-3  # threshold of subsampling
    epochs: int = 5
    learning_rate: float = 0.05
    min_count: int = 5


@dataclass(frozen=True)
class Trained:
    """What one training came to."""

    wordsim353: float  # Spearman's correlation
    simlex999: float
    words: float  # words read a second, by the clock
    words_cpu: float  # words read a second of processor time


def compare(
    seeds: int = 3, settings: Settings | None = None, report: Callable[[str], None] = lambda line: None
) -> dict[str, list[Trained]]:
    """Train by hand and with gensim, in turn, once for each seed. Returns "by hand" and "gensim" -> one result a seed."""
    settings = settings or Settings()
    sentences = words.sentences("train")
    n_words = int(words.vocabulary(sentences, settings.min_count).counts.sum()) * settings.epochs  # both read these, before subsampling
    ways = {"by hand": _by_hand, "gensim": _gensim}
    found: dict[str, list[Trained]] = {name: [] for name in ways}
    with threadpool_limits(1):
        for seed in range(1, seeds + 1):
            for name, train in ways.items():
                start, start_cpu = time.perf_counter(), time.process_time()
                vectors, index = train(sentences, settings, seed)
                wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
                scores = [words.spearman(vectors, index, pairs) for pairs in SETS]
                found[name].append(Trained(*scores, n_words / wall, n_words / cpu))
                report(f"seed {seed}, {name}: WordSim-353 {scores[0]:.3f}, SimLex-999 {scores[1]:.3f}, {wall:.1f} s")
    return found


def _by_hand(sentences: list[list[str]], settings: Settings, seed: int) -> tuple[np.ndarray, dict[str, int]]:
    """The reference solution's vectors, and word -> row. As gensim does, it counts the words first."""
    vocabulary = words.vocabulary(sentences, settings.min_count)
    keep = word2vec.keep_probabilities(vocabulary.counts, settings.sample)
    noise = word2vec.noise_distribution(vocabulary.counts, 0.75)
    sizes = settings.width, settings.window, settings.negatives, settings.epochs, settings.learning_rate
    return word2vec.train_sgns(vocabulary.ids(sentences), keep, noise, *sizes, np.random.default_rng(seed)), vocabulary.index


def _gensim(sentences: list[list[str]], settings: Settings, seed: int) -> tuple[np.ndarray, dict[str, int]]:
    """gensim's vectors, and word -> row."""
    model = Word2Vec(
        sentences, sg=1, hs=0, workers=1, seed=seed, min_count=settings.min_count, vector_size=settings.width, window=settings.window,
        negative=settings.negatives, sample=settings.sample, ns_exponent=0.75, epochs=settings.epochs, alpha=settings.learning_rate,
    )  # fmt: skip
    return model.wv.vectors, model.wv.key_to_index


def means(found: list[Trained]) -> Trained:
    """The mean of each number over the seeds."""
    return Trained(*(statistics.mean(getattr(one, field.name) for one in found) for field in fields(Trained)))


def tables(found: dict[str, list[Trained]]) -> Iterator[Table]:
    """Scores seed by seed with their means, and speeds with their ratio."""
    ours, theirs = found["by hand"], found["gensim"]
    scores = Table("Spearman's correlation", "by hand", "gensim", "difference", title="quality", title_justify="left")
    for name, label in zip(SETS, ("WordSim-353", "SimLex-999"), strict=True):
        rows = [(f"{label}, seed {i}", one, other) for i, (one, other) in enumerate(zip(ours, theirs, strict=True), start=1)]
        for what, one, other in (*rows, (f"{label}, mean", means(ours), means(theirs))):
            a, b = getattr(one, name), getattr(other, name)
            scores.add_row(what, f"{a:.3f}", f"{b:.3f}", f"{a - b:+.3f}", style="bold" if "mean" in what else "")
    yield scores
    speeds = Table("words a second", "by hand", "gensim", "ratio", title="speed", title_justify="left")
    for name, label in (("words", "by the clock"), ("words_cpu", "of processor time")):
        a, b = getattr(means(ours), name), getattr(means(theirs), name)
        speeds.add_row(label, f"{a:,.0f}", f"{b:,.0f}", f"{a / b:.2f}")
    yield speeds
