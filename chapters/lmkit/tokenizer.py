"""The one tokenizer of the ladder: byte-level BPE of 2,048 tokens, trained on the training text."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from lmkit import corpus
from lmkit.cache import cached

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

__all__ = ["END", "END_ID", "VOCAB_SIZE", "load", "n_bytes", "token_ids", "train"]

END = "<|endoftext|>"  # stands after every paragraph; the only special token
END_ID = 0
VOCAB_SIZE = 2048  # END, the 256 bytes, and what the merges make
TOKENIZERS = "0.23.3"  # the version of the package that made the two files below
MERGES = "1194a9525fb1c25aafc04465bea8a925546a871aaa88d8ce9838fc9cad651116"  # SHA-256 of the merges
TOKENS = "506874a30a9bc6ceee15a11b31aad59993a9dfc014e6b8798a379e4ac72f4bf7"  # SHA-256 of the tokenized corpus


def load() -> PreTrainedTokenizerFast:
    """The tokenizer in the shape that transformers gives to every tokenizer.

    encode adds no special token, and decode(encode(text)) == text for every text. END is at once what ends a text, what a text begins
    with, and what fills up a batch: so mask labels by attention_mask, not by pad_token_id, or the model never learns where to end.
    There is no unknown token, since every text is a sequence of bytes.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(), bos_token=END, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )


def token_ids(split: str) -> list[list[int]]:
    """For every paragraph of a split ("train", "validation" or "test") its token ids, without END."""
    chosen = corpus.indices(split)
    paragraphs = _tokenized()
    return [paragraphs[i].tolist() for i in chosen]


def n_bytes(split: str) -> int:
    """The bytes of a split in UTF-8, and one more for the end of each paragraph: what bits per byte divides by."""
    return sum(len(text.encode("utf-8")) + 1 for text in corpus.texts(split))


def train(texts: list[str]) -> list[tuple[str, str]]:
    """Learn merges from texts, until there are VOCAB_SIZE tokens. Source: Sennrich et al. 2016; Radford et al. 2019 for bytes.

    Returns the merges in the order learned, each a pair of tokens, in which every byte is written as one printable character.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _trained_merges() -> bytes:
    return json.dumps(train(corpus.texts("train")), ensure_ascii=False, indent=0).encode("utf-8")


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    merges = [(left, right) for left, right in json.loads(cached("merges", ".json", MERGES, _trained_merges, _advice()))]
    tokens = dict.fromkeys([END, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)])
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return tokenizer


@lru_cache(maxsize=1)
def _tokenized() -> list[np.ndarray]:
    """The ids of every paragraph of the corpus, without END."""
    stream = np.frombuffer(cached("tokens", ".bin", TOKENS, _encoded, _advice()), dtype="<u2")
    ends = np.flatnonzero(stream == END_ID)
    return [stream[start:end] for start, end in zip([0, *(ends[:-1] + 1)], ends, strict=True)]


def _encoded() -> bytes:
    """The ids of the whole corpus in one row, END after each paragraph, as 16-bit numbers, low byte first."""
    encodings = _tokenizer().encode_batch([paragraph.text for paragraph in corpus.all_paragraphs()])
    return np.array([i for encoding in encodings for i in (*encoding.ids, END_ID)], dtype="<u2").tobytes()


def _advice() -> str:
    mend = f"run `pip install tokenizers=={TOKENIZERS}`"
    return f"the tokenizer is that of tokenizers {TOKENIZERS}, and you have {version('tokenizers')}; {mend}"
