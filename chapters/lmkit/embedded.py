"""The vectors that the installed encoder gives to the corpus's paragraphs, computed once and shipped: a page need not wait for them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from lmkit import corpus, pretrained
from lmkit.cache import sha256, write_whole
from lmkit.errors import LmkitError

__all__ = ["LONGEST", "POOLINGS", "card", "encode", "mean", "paragraphs", "pool"]

HOME = Path(__file__).parent / "data"
VECTORS, CARD = "paragraphs-{}.npy", "paragraphs.json"  # a file of vectors for each pooling
COMMAND = "python -m lmkit.embedded"
POOLINGS = ("mean", "first")
LONGEST = 128  # tokens of a text that are read, [CLS] and [SEP] included
ROWS = 16  # texts that go through the encoder together


def pool(states: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
    """One vector a text, of length 1: the mean of its tokens' vectors, or the first of them.   (B, T, C), (B, T) -> (B, C)

    Errors: LmkitError for another pooling than "mean" and "first".
    """
    _known(pooling)
    vectors = states[:, 0] if pooling == "first" else mean(states, attention_mask)
    return torch.nn.functional.normalize(vectors, dim=-1)


def mean(states: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean of each text's vectors, without the filling.   (B, T, C), (B, T) -> (B, C)"""
    weights = attention_mask[..., None].to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def encode(texts: Sequence[str], pooling: str = "mean") -> np.ndarray:
    """Vectors of texts from the installed encoder, each of length 1.   N texts -> (N, 384) float32

    A text is cut after LONGEST tokens. Errors: as `pool`, and as `lmkit.pretrained.encoder`.
    """
    _known(pooling)
    vectors = np.zeros((len(texts), pretrained.encoder().config.hidden_size), dtype=np.float32)
    for chosen, states, mask in _hidden(texts):
        vectors[chosen] = pool(states, mask, pooling).numpy()
    return vectors


@lru_cache(maxsize=len(POOLINGS))
def paragraphs(pooling: str = "mean") -> np.ndarray:
    """Vectors of all paragraphs of the corpus, each of length 1, in the order of `corpus.all_paragraphs()`.   -> (N, 384) float32

    The array cannot be changed. The rows are what `encode` gives for their texts, stored in 16 bits: they differ by less than 0.001.
    Errors: LmkitError for another pooling than "mean" and "first", and where the files are missing or belong to another corpus.
    """
    _known(pooling)
    path = HOME / VECTORS.format(pooling)
    if card().get("texts") != _digest():
        raise LmkitError(f"{path} was made from another corpus: run `{COMMAND}`")
    try:
        stored = np.load(path).astype(np.float32)
    except (OSError, EOFError, ValueError):
        raise LmkitError(f"{path} is missing or damaged: run `{COMMAND}`") from None
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    stored.flags.writeable = False
    return stored


def card() -> dict:
    """How the vectors came to be: "command", "encoder", "longest", "seconds", "texts" (a hash). Errors: LmkitError where there are none."""
    try:
        return json.loads((HOME / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise LmkitError(f"{HOME} holds no vectors of paragraphs: run `{COMMAND}`") from None


def _known(pooling: str) -> None:
    if pooling not in POOLINGS:
        raise LmkitError(f"the pooling {pooling!r} is unknown: take one of {', '.join(POOLINGS)}")


def _digest() -> str:
    return sha256("\n".join(paragraph.text for paragraph in corpus.all_paragraphs()).encode())


@torch.no_grad()
def _hidden(texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Texts of like length together: which they are, the encoder's last states (B, T, C) and their mask (B, T)."""
    tokens, model = pretrained.tokenizer(), pretrained.encoder()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        batch = tokens([texts[i] for i in chosen], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        yield chosen, model(**batch).last_hidden_state, batch["attention_mask"]


def main(
    out: Annotated[Path, typer.Option(help="Folder for the vectors and their card.")] = HOME,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
) -> None:
    """Compute the vectors of all paragraphs with the installed encoder; some minutes. The files are written at the end."""
    import io

    torch.set_num_threads(threads)
    texts = [paragraph.text for paragraph in corpus.all_paragraphs()]
    started, done, said = time.perf_counter(), 0, 0.0
    try:
        out.mkdir(parents=True, exist_ok=True)
        stored = np.zeros((len(POOLINGS), len(texts), pretrained.encoder().config.hidden_size), dtype=np.float16)
        for chosen, states, mask in _hidden(texts):
            for i, pooling in enumerate(POOLINGS):
                stored[i, chosen] = pool(states, mask, pooling).numpy()
            done += len(chosen)
            if done / len(texts) >= said:
                typer.echo(f"{done / len(texts):4.0%} of {len(texts):,} paragraphs after {time.perf_counter() - started:.0f} s")
                said += 0.1
        facts = {"command": COMMAND, "encoder": pretrained.NAME, "longest": LONGEST, "poolings": POOLINGS, "texts": _digest()}
        facts |= {"seconds": round(time.perf_counter() - started, 1), "torch": torch.__version__}
        for pooling, vectors in zip(POOLINGS, stored, strict=True):
            buffer = io.BytesIO()
            np.save(buffer, vectors)
            write_whole(out / VECTORS.format(pooling), buffer.getvalue())
        write_whole(out / CARD, json.dumps(facts, indent=1) + "\n")
    except (LmkitError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"saved in {out}")


if __name__ == "__main__":
    typer.run(main)
