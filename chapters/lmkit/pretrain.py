"""Trains the small models that come with the course: `python -m lmkit.pretrain lstm`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from lmkit import metrics, recurrent, tokenizer
from lmkit.cache import cache_dir, write_whole
from lmkit.errors import LmkitError
from lmkit.recurrent import RecurrentConfig, RecurrentModel
from lmkit.train import Budget, TrainConfig

LSTM = RecurrentConfig(kind="LSTM", C=256, M=400, layers=2, dropout=0.25, token_dropout=0.05, weight_dropout=0.2)
TRAINING = TrainConfig(learning_rate=6e-3, weight_decay=0.02, clip=0.5, final_rate=0.01, evaluations=20)
STEPS = 20_000  # about 25 passes over the training text
CARD = """# The course's LSTM

A language model of {layers} LSTM layers over the course's {V:,} byte-level BPE tokens; {parameters:,} parameters, stored in 16 bits each.

- Data: the training text of the course (`lmkit.corpus`), {paragraphs:,} paragraphs of Wikipedia.
- Command: `{command}`
- Seed {seed}, {steps:,} steps, {minutes:.0f} minutes of training on {threads} processor thread(s), PyTorch {torch}.
- Held out: {bits_per_byte:.3f} bits per byte on the validation text, each paragraph on its own.
- Load it with `lmkit.recurrent.pretrained()`. It knows 97 articles and nothing else: it is for study.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Train the small models that come with the course, from its own training text. Each command says how long it will take."""


@app.command()
def lstm(
    steps: Annotated[int, typer.Option(min=1, help="Updates of the parameters.")] = STEPS,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads; another number changes the result in its last digits.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the finished model.")] = recurrent.SHIPPED,
) -> None:
    """Train the LSTM of chapter 5, measure it on the validation text, and save it.

    The default takes more than an hour on one core. Meanwhile a line appears after each twentieth of the steps, and the state so far is
    kept in the cache, in pretrain/lstm; the folder of the finished model is only written at the end.
    """
    torch.set_num_threads(threads)
    command = f"python -m lmkit.pretrain lstm --steps {steps} --seed {seed} --threads {threads}"
    paragraphs, started = tokenizer.token_ids("train"), time.perf_counter()
    done = 0

    def card(score: float, seconds: float, updates: int) -> dict:
        return {
            "command": command,
            "seed": seed,
            "steps": updates,
            "train_seconds": round(seconds, 1),
            "threads": threads,
            "bits_per_byte": score,
            "torch": torch.__version__,
        }

    def evaluate(model: RecurrentModel) -> float:
        nonlocal done
        score = metrics.evaluate(model).bits_per_byte
        seconds = time.perf_counter() - started
        share = done / TRAINING.evaluations
        left = f", about {seconds / share * (1 - share) / 60:.0f} min left" if share else ""
        typer.echo(f"{share:4.0%} after {seconds / 60:.0f} min: {score:.4f} bits per byte{left}")
        recurrent.save(model, cache_dir() / "pretrain" / "lstm", card(score, seconds, round(share * steps)))
        done += 1
        return score

    try:
        out.mkdir(parents=True, exist_ok=True)  # now: whether it can be written is not to be found out an hour later
        generator = torch.Generator().manual_seed(seed)
        model, history = recurrent.fit(paragraphs, LSTM, Budget(steps=steps), generator, training=TRAINING, evaluate=evaluate)
        model.half().float()  # as it will be read again
        made = card(metrics.evaluate(model).bits_per_byte, history.seconds[-1], steps)
        recurrent.save(model, out, made)
        facts = {"layers": LSTM.layers, "V": LSTM.V, "parameters": model.n_parameters, "paragraphs": len(paragraphs)}
        write_whole(out / "README.md", CARD.format(**facts, minutes=made["train_seconds"] / 60, **made))
    except (LmkitError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"saved in {out}: {made['bits_per_byte']:.4f} bits per byte after {made['train_seconds'] / 60:.0f} min")


if __name__ == "__main__":
    app()
