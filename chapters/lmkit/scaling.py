"""The runs of chapter 12, which `python -m lmkit.scaling` makes: one shape of GPT in several sizes, each on several amounts of text."""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import GPT2Config, GPT2LMHeadModel

from lmkit import causal, metrics, muon, tokenizer
from lmkit.cache import cache_dir, sha256, write_whole
from lmkit.errors import LmkitError
from lmkit.train import TrainConfig, rate_factor, update

__all__ = ["HELD_OUT", "SHARES", "WIDTHS", "Run", "runs", "shape", "text"]

RESULTS = Path(__file__).parent / "data" / "scaling.json"
COMMAND = "python -m lmkit.scaling"
WIDTHS = (16, 24, 32, 48, 64)  # C of the sizes that a law is fitted to
HELD_OUT = 96  # C of the size whose loss is to be predicted
SHARES = {1: 4, 2: 6, 4: 8, 8: 12, 16: 16}  # one part in so many of the training text: passes over it
LAYERS, PLACES, HEAD_SIZE, ROWS = 2, 128, 16, 16
TRAINING = TrainConfig(learning_rate=1e-2, weight_decay=0.1, betas=(0.9, 0.98), final_rate=0.01, evaluations=12)
PATIENCE = 4  # evaluations in a row without a better score, after which a run is over
QUICK = 4  # while a run trains, every fourth paragraph of the validation text is measured


@dataclass(frozen=True)
class Run:
    """One model: how large, on how much, how good."""

    C: int  # width
    share: int  # trained on one part in so many of the training text
    parameters: int  # all of them
    matrices: int  # numbers in the blocks' weight matrices: without tables, biases and gains
    train_tokens: int  # different tokens that it could learn from, end tokens included
    seen_tokens: int  # tokens that it had been trained on at its best
    loss: float  # nats a token on the whole validation text, end tokens included, at its best
    bits_per_byte: float  # the same loss in the ladder's measure
    curve: tuple[tuple[int, float], ...]  # tokens seen, nats a token on a quarter of the validation text
    seconds: float  # of training


def shape(C: int) -> GPT2Config:
    """The configuration of a run's model: GPT-2's, LAYERS blocks of width C, one head for each HEAD_SIZE of the width."""
    return causal.config(T=PLACES, C=C, layers=LAYERS, heads=max(1, C // HEAD_SIZE), dropout=0.1)


def text(share: int) -> list[list[int]]:
    """Token ids of one part in `share` of the training paragraphs: every `share`-th, so that each part is within the next larger one."""
    if share not in SHARES:
        raise LmkitError(f"there is no run on one part in {share} of the text: take one of {', '.join(map(str, SHARES))}")
    return tokenizer.token_ids("train")[::share]


def runs() -> list[Run]:
    """The recorded runs, those of the size held out among them, in the order of C and then of the text's size.

    Errors: LmkitError where they have not been made.
    """
    try:
        found = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
    except OSError:
        raise LmkitError(f"{RESULTS} is missing: run `{COMMAND}`") from None
    return [_read(row) for row in found]


def train(C: int, share: int, seed: int = 0, passes: float | None = None) -> Run:
    """Make one run. The same seed gives the same run on the same machine; `passes` makes it another length than the recorded ones."""
    paragraphs = text(share)
    model = causal.new(shape(C), seed)
    optimizer = muon.optimizer(model, causal.TABLES, TRAINING)
    peaks = [group["lr"] for group in optimizer.param_groups]
    tokens = sum(map(len, paragraphs)) + len(paragraphs)
    budget, seen, done, started, spent = tokens * (passes or SHARES[share]), 0, 0, time.perf_counter(), 0.0
    curve: list[tuple[int, float]] = []
    best, best_at = copy.deepcopy(model.state_dict()), 0
    for step, batch in enumerate(causal.batches(paragraphs, ROWS, PLACES, seed), start=1):
        torch.manual_seed(seed * 1_000_003 + step)  # of dropout
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_factor(min(1.0, seen / budget), TRAINING)
        model.train()
        update(model, batch, causal.loss, optimizer, TRAINING.clip, step)
        seen += int((batch[1] != causal.NO_TARGET).sum())
        if seen * TRAINING.evaluations >= budget * (done + 1):
            done += 1
            spent += time.perf_counter() - started
            curve.append((seen, _loss(model, QUICK)))
            if curve[-1][1] <= min(loss for _, loss in curve):
                best, best_at = copy.deepcopy(model.state_dict()), len(curve)
            started = time.perf_counter()
            if done == TRAINING.evaluations or len(curve) - best_at >= PATIENCE:
                break
    model.load_state_dict(best)
    score = metrics.evaluate(causal.LanguageModel(model.eval()))
    named = dict(model.named_parameters())
    return Run(
        C=C,
        share=share,
        parameters=sum(p.numel() for p in named.values()),
        matrices=sum(p.numel() for name, p in named.items() if p.dim() == 2 and name not in causal.TABLES),
        train_tokens=tokens,
        seen_tokens=curve[best_at - 1][0],
        loss=math.log(score.perplexity),
        bits_per_byte=score.bits_per_byte,
        curve=tuple(curve),
        seconds=round(spent, 1),
    )


def _loss(model: GPT2LMHeadModel, every: int) -> float:
    """Nats a token on every `every`-th paragraph of the validation text."""
    model.eval()
    measured = causal.LanguageModel(model)
    log_probs = [measured.log_probs(ids) for ids in tokenizer.token_ids("validation")[::every]]
    return -float(sum(part.sum() for part in log_probs)) / sum(map(len, log_probs))


def _read(row: dict) -> Run:
    return Run(**{**row, "curve": tuple((int(seen), float(loss)) for seen, loss in row["curve"])})


def main(
    out: Annotated[Path, typer.Option(help="File for the results.")] = RESULTS,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads; another number changes results in their last digits.")] = 1,
) -> None:
    """Train every size on every amount of text, and write the results: thirty runs, about an hour on one core.

    Each run is kept in the cache when it is done, so that the command goes on where it was stopped. The file is written at the end.
    """
    torch.set_num_threads(threads)
    settings = f"{COMMAND} {seed} {threads} {SHARES} {LAYERS} {PLACES} {HEAD_SIZE} {ROWS} {TRAINING} {PATIENCE} {QUICK} {torch.__version__}"
    kept = cache_dir() / "scaling" / sha256(settings.encode())[:12]
    plan = [(C, share) for C in (*WIDTHS, HELD_OUT) for share in SHARES]
    work = [(80 + C) * SHARES[share] / share for C, share in plan]  # roughly in proportion to the seconds
    found, seconds = [], 0.0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for i, (C, share) in enumerate(plan):
            path = kept / f"{C}-{share}.json"
            if path.exists():
                run = _read(json.loads(path.read_text(encoding="utf-8")))
            else:
                run = train(C, share, seed)
                write_whole(path, json.dumps(asdict(run)))
            found.append(run)
            seconds += run.seconds
            left = seconds / sum(work[: i + 1]) * sum(work[i + 1 :])
            typer.echo(
                f"{i + 1} of {len(plan)}: width {C}, 1/{share} of the text: {run.loss:.3f} nats a token, {run.bits_per_byte:.3f} bits per "
                f"byte after {run.seen_tokens / run.train_tokens:.1f} passes, {run.seconds:.0f} s; about {left / 60:.0f} min left"
            )
        facts = {"command": COMMAND, "seed": seed, "threads": threads, "seconds": round(seconds, 1), "torch": torch.__version__}
        write_whole(out, json.dumps({**facts, "runs": [asdict(run) for run in found]}, indent=1) + "\n")
    except (LmkitError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on after the last run that was done", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"saved in {out} after {seconds / 60:.0f} min of training")


if __name__ == "__main__":
    typer.run(main)
