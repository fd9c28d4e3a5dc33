"""Chapter 1, tokens: vocabularies, byte-pair encoding, WordPiece, and the batches that a pretrained model reads."""

import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from itertools import pairwise

import numpy as np
import torch

from lmkit.tokenizer import pieces

Pair = tuple[bytes, bytes]  # two tokens that stand side by side


def split_words(text: str) -> list[str]:
    """The words of a text, and its signs one by one; white space is dropped."""
    return re.findall(r"\w+|[^\w\s]", text)


def build_vocabulary(texts: list[list[str]], specials: list[str], size: int) -> dict[str, int]:
    """Give the most frequent words of some texts their ids.

    size >= len(specials) -> word -> id, at most `size` of them

    A text is a list of words. The special tokens come first, in the order given: ids 0, 1, 2 and
    so on. Then come the words of the texts, the most frequent first; of words equally frequent,
    the one that sorts first as Python sorts strings. The ids have no gaps. Words for which there
    is no room are left out. A special token that occurs in the texts keeps its one id and is not
    counted as a word. No texts give the special tokens alone. The dictionary may be of any kind
    and in any order; the texts and `specials` stay as they are.
    """
    counts = Counter(word for text in texts for word in text)
    words = sorted(counts.keys() - set(specials), key=lambda word: (-counts[word], word))
    return {word: i for i, word in enumerate([*specials, *words][:size])}


class WordTokenizer:
    """Turns texts into the ids of their words, and ids into text.

    vocabulary: word -> id, the ids 0 to V - 1 in any order, one for each word; `unknown` is the
    word in it that stands for all words that are not.
    """

    def __init__(self, vocabulary: dict[str, int], unknown: str):
        """Keep what `encode` and `decode` read."""
        self.ids = dict(vocabulary)
        self.unknown = self.ids[unknown]
        self.words = sorted(self.ids, key=self.ids.get)

    def encode(self, text: str) -> list[int]:
        """The ids of the words that split_words finds in the text; "" gives [].

        A word that is not in the vocabulary gets the id of `unknown`. Returns a list of ints.
        """
        return [self.ids.get(word, self.unknown) for word in split_words(text)]

    def decode(self, ids: list[int]) -> str:
        """The words with these ids, with one space between each two; [] gives "".

        The id of `unknown` gives that word itself. Raises ValueError for an id that the
        vocabulary does not have, also for one below 0.
        """
        for i in ids:
            if not 0 <= i < len(self.words):
                raise ValueError(f"there is no id {i}: the vocabulary has the ids 0 to {len(self.words) - 1}")
        return " ".join(self.words[i] for i in ids)


def train_bpe(counts: dict[bytes, int], tokens: list[bytes], n_merges: int) -> list[Pair]:
    """Learn the merges of byte-pair encoding.

    counts: piece -> how often it occurs, at least once; n_merges >= 0 -> at most n_merges pairs

    Each piece starts as its single bytes, all of which are in `tokens`. Then, n_merges times:
    count every pair of neighbours, in each piece as often as it stands there (three times the
    same byte hold that pair twice), times the number of times that the piece occurs; take the
    pair with the highest total; and wherever it stands, put one token in its place, from left to
    right. Return the pairs taken, in order. No pair reaches from one piece into another.
    Of pairs with the same total, take the one whose left token has the lowest id, and of these
    the one whose right token has. A token of `tokens` has its place there as its id; each merge
    makes a token with the next free id; one that spells a token which has an id keeps
    that id. Stop early when no piece of two tokens is left. The arguments stay as they are. Source: Sennrich et al. 2016.
    """
    ids = {token: i for i, token in enumerate(tokens)}
    times, cut = list(counts.values()), [[piece[i : i + 1] for i in range(len(piece))] for piece in counts]
    totals: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # pair -> the pieces that hold it, or once did
    merges, queue, changed = [], [], set()

    def add(number: int, sign: int) -> None:
        for pair in pairwise(cut[number]):
            totals[pair] += sign * times[number]
            where[pair].add(number)
            changed.add(pair)

    for number in range(len(cut)):
        add(number, 1)
    while len(merges) < n_merges:
        for pair in changed:
            heapq.heappush(queue, (-totals[pair], ids[pair[0]], ids[pair[1]], pair))
        changed.clear()
        while queue and -queue[0][0] != totals[queue[0][3]]:  # an old total: the new one is in the queue too
            heapq.heappop(queue)
        if not queue or not queue[0][0]:
            break
        merges.append(best := queue[0][3])
        ids.setdefault(best[0] + best[1], len(ids))
        for number in where.pop(best):
            add(number, -1)
            joined: list[bytes] = []
            for token in cut[number]:
                if joined and (joined[-1], token) == best:
                    joined[-1] += token
                else:
                    joined.append(token)
            cut[number] = joined
            add(number, 1)
    return merges


class BPETokenizer:
    """Byte-pair encoding with merges that were learned.

    tokens: the tokens before any merge, in the order of their ids, all bytes that will be met
    among them; merges: pairs in the order learned, no two of which spell the same. Each merge
    makes a token with the next free id.
    """

    def __init__(self, tokens: list[bytes], merges: list[Pair]):
        """Keep what `encode` and `decode` read."""
        self.spelled = [*tokens, *(left + right for left, right in merges)]
        self.ids = {token: i for i, token in enumerate(self.spelled)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.known: dict[bytes, list[int]] = {}  # piece -> its ids: most pieces come again and again

    def encode(self, text: str) -> list[int]:
        """The ids of a text's tokens; "" gives [].

        `pieces(text)` cuts the text; each piece is encoded on its own, and starts as its single
        bytes. Of all pairs of neighbours in it, join the one that was learned first; if it stands
        there more than once, the leftmost. Go on until no pair in the piece is a merge.
        """
        ids = []
        for piece in pieces(text):
            if piece not in self.known:
                tokens = [piece[i : i + 1] for i in range(len(piece))]
                while len(tokens) > 1:
                    rank, i = min((self.ranks.get(pair, math.inf), i) for i, pair in enumerate(pairwise(tokens)))
                    if rank == math.inf:
                        break
                    tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
                self.known[piece] = [self.ids[token] for token in tokens]
            ids += self.known[piece]
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text that the tokens spell: join their bytes, then read them as UTF-8.

        Bytes that are no UTF-8, such as half a character, become U+FFFD as with errors="replace".
        """
        return b"".join(self.spelled[i] for i in ids).decode("utf-8", errors="replace")


def wordpiece(words: list[str], vocabulary: Collection[str], unknown: str) -> list[list[str]]:
    """Cut words into parts as BERT does.

    vocabulary: a set of parts, or a dictionary that has them as keys
    -> for each word the list of its parts

    From the start of the word take the longest part that the vocabulary has, then go on behind
    it in the same way. Only the first part of a word stands in the vocabulary as it is; those
    that go on a word stand there with ## in front, and are returned so. Where no part fits, not
    even one of a single character, the whole word becomes [unknown]; so does a word of more than
    100 characters. Words are not empty. Source: Wu et al. 2016; Devlin et al. 2019.
    """
    found = []
    for word in words:
        parts, start = [], 0
        while start < len(word):
            ends = range(len(word), start, -1)
            part = next((part for end in ends if (part := "##" * (start > 0) + word[start:end]) in vocabulary), None)
            if part is None or len(word) > 100:
                parts = [unknown]
                break
            parts.append(part)
            start += len(part) - 2 * (start > 0)
        found.append(parts)
    return found


def make_batch(
    pairs: list[tuple[list[int], list[int]]], cls: int, sep: int, pad: int, max_length: int
) -> dict[str, torch.Tensor]:
    """Join pairs of sentences into one batch, as BERT reads them.

    B >= 1 pairs of lists of ids -> three tensors (B, T) of dtype torch.long

    A row is cls, the first sentence, sep, the second sentence, sep, and then pad as often as it
    takes to reach T, the length of the longest row of this batch. A row that would have more
    than max_length ids loses ids from the end of its second sentence, as many as are too many;
    its last sep stays. The first sentence always leaves room: it has at most max_length - 3 ids.
    A sentence may be empty. Under "input_ids" stand these ids; under "token_type_ids" 1 for
    the second sentence and the sep behind it, else 0; under "attention_mask" 0 for padding, else
    1. A sentence may hold the id pad: it is a token as any other there. `pairs` stays as it is.
    """
    rows = []
    for first, second in pairs:
        kept = second[: max_length - len(first) - 3]
        rows.append(([cls, *first, sep, *kept, sep], [0] * (len(first) + 2) + [1] * (len(kept) + 1)))
    T = max(len(ids) for ids, _ in rows)
    short = [T - len(ids) for ids, _ in rows]
    return {
        "input_ids": torch.tensor([ids + [pad] * n for (ids, _), n in zip(rows, short, strict=True)]),
        "token_type_ids": torch.tensor([types + [0] * n for (_, types), n in zip(rows, short, strict=True)]),
        "attention_mask": torch.tensor([[1] * (T - n) + [0] * n for n in short]),
    }


class TextModel:
    """A tokenizer of your own, and the probability of each of its tokens: reach 3.15 bits per byte or less.

    Any tokens will do from which every text comes back as it was. Their probabilities do not
    depend on what stands before them: they come from the training texts alone and sum to one.
    A text is its tokens and an end token behind them, which has the id 0.
    """

    def __init__(self, texts: list[str]):
        """Choose the tokens and count them, in at most 40 seconds."""
        tokens = [b"", *(bytes([byte]) for byte in range(256))]  # the end token spells nothing
        counts = Counter(piece for text in texts[::4] for piece in pieces(text))  # a quarter shows nearly the same pairs
        self.tokenizer = BPETokenizer(tokens, train_bpe(counts, tokens, 2048 - len(tokens)))
        ids = [i for text in texts for i in (*self.tokenizer.encode(text), 0)]
        seen = np.bincount(ids, minlength=2048) + 1
        self.log_p = np.log(seen / seen.sum())

    def encode(self, text: str) -> list[int]:
        """The ids of the text's tokens, each from 1 to V - 1, without the end token."""
        return self.tokenizer.encode(text)

    def decode(self, ids: list[int]) -> str:
        """The text again: decode(encode(text)) == text for every text."""
        return self.tokenizer.decode(ids)

    def log_probs(self) -> np.ndarray:
        """Natural log-probability of each token, in the order of the ids, the end token first: (V,), list or array"""
        return self.log_p
