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
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import PreTrainedTokenizerFast

__all__ = [
    "END", "END_ID", "VOCAB_SIZE", "build", "load", "merges", "n_bytes", "pieces", "spelling", "token_ids", "train", "vocabulary",
]  # fmt: skip

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


def pieces(text: str) -> list[bytes]:
    """Cut a text where GPT-2 does, before any merge: no token reaches from one piece into the next. Joined, they are its UTF-8.

    A piece is a word with the space before it, a row of digits or of other signs, an English ending such as 's, or white space.
    Source: Radford et al. 2019.
    """
    return [spelling(piece) for piece, _ in _splitter().pre_tokenize_str(text)]


def merges() -> list[tuple[bytes, bytes]]:
    """The merges of the course's tokenizer, in the order learned: each a pair of tokens that become one."""
    return [(spelling(left), spelling(right)) for left, right in _merges()]


def vocabulary() -> list[bytes]:
    """What each token of the course's tokenizer spells, in the order of the ids: END, the 256 bytes, and one token for each merge."""
    return [END.encode("utf-8"), *(spelling(letter) for letter in _alphabet()), *(left + right for left, right in merges())]


def spelling(token: str) -> bytes:
    """The bytes of a token that is written with one printable character for each byte, as the library tokenizers writes it."""
    return token.translate(_byte_of()).encode("latin-1")


def train(texts: list[str], size: int = VOCAB_SIZE) -> list[tuple[str, str]]:
    """Learn merges from texts, until there are `size` tokens. Source: Sennrich et al. 2016; Radford et al. 2019 for bytes.

    Returns the merges in the order learned, each a pair of tokens, in which every byte is written as one printable character;
    `spelling` undoes that.
    """
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _splitter()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=_alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def build(merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """A byte-level tokenizer with the given merges, written as `train` returns them.

    Its ids: END, the 256 bytes in the order of their printable characters, then the new token of each merge.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models

    tokens = dict.fromkeys([END, *_alphabet(), *(left + right for left, right in merges)])
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=list(merges)))
    tokenizer.pre_tokenizer = _splitter()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return tokenizer


def _splitter() -> PreTokenizer:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _alphabet() -> list[str]:
    """The 256 printable characters that stand for the bytes, in order."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


@lru_cache(maxsize=1)
def _byte_of() -> dict[int, int]:
    """Code of a printable character -> the byte that it stands for.

    Bytes that print stand for themselves; the others follow in order from 256 on. Source: Radford et al. 2019, their encoder.
    """
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printing]
    return {256 + i: byte for i, byte in enumerate(others)}


def _trained_merges() -> bytes:
    return json.dumps(train(corpus.texts("train")), ensure_ascii=False, indent=0).encode("utf-8")


@lru_cache(maxsize=1)
def _merges() -> list[tuple[str, str]]:
    return [(left, right) for left, right in json.loads(cached("merges", ".json", MERGES, _trained_merges, _advice()))]


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer:
    return build(_merges())


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
