"""The small pretrained models that come with the course, `gpt-mini` and `bert-mini`, in the layout of transformers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lmkit.cache import write_whole
from lmkit.errors import LmkitError

__all__ = ["NAMES", "card", "folder", "save"]

NAMES = ("gpt-mini", "bert-mini")
HOME = Path(__file__).parent / "models"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.json"


def folder(name: str) -> Path:
    """The folder of a model, for `from_pretrained` of transformers: its weights, its configuration, its tokenizer.

    `GPT2LMHeadModel.from_pretrained(folder("gpt-mini"))`, `BertForPreTraining.from_pretrained(folder("bert-mini"))`,
    `AutoTokenizer.from_pretrained(folder(name))`. Each was trained by `python -m lmkit.pretrain NAME` on the training text.
    Errors: LmkitError for another name, and where the model has not been trained.
    """
    if name not in NAMES:
        raise LmkitError(f"the model {name!r} is unknown: take one of {', '.join(NAMES)}")
    if not (HOME / name / WEIGHTS).is_file():
        raise LmkitError(f"{HOME / name} holds no model: run `python -m lmkit.pretrain {name}`")
    return HOME / name


def card(name: str) -> dict:
    """How a model came to be: "command", "seed", "steps", "train_seconds", and its scores on the validation text. Errors: as `folder`."""
    return json.loads((folder(name) / CARD).read_text(encoding="utf-8"))


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: Path, facts: dict, text: str) -> None:
    """Write a model in transformers' layout, weights in 16 bits, with its tokenizer, the card's facts, and the card as README.md.

    The configuration asks for 32 bits, so that `from_pretrained` computes in them. Each file is written whole or not at all, the
    weights last. The model is left with the numbers that were stored. Errors: OSError.
    """
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        model.half().save_pretrained(made)
        model.float().config.dtype = torch.float32
        model.config.save_pretrained(made)
        tokenizer.save_pretrained(made)
        (made / CARD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (made / "README.md").write_text(text, encoding="utf-8")
        for path in sorted(made.iterdir(), key=lambda path: path.name == WEIGHTS):
            write_whole(where / path.name, path.read_bytes())
