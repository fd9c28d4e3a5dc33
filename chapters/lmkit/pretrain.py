"""Trains the small models that come with the course: `python -m lmkit.pretrain lstm`, `gpt-mini`, `bert-mini`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lmkit import causal, corpus, masked, metrics, minis, muon, recurrent, resumable, tokenizer
from lmkit.cache import cache_dir, sha256, write_whole
from lmkit.errors import LmkitError
from lmkit.recurrent import RecurrentConfig, RecurrentModel
from lmkit.train import Budget, TrainConfig

LSTM = RecurrentConfig(kind="LSTM", C=256, M=400, layers=2, dropout=0.25, token_dropout=0.05, weight_dropout=0.2)
TRAINING = TrainConfig(learning_rate=6e-3, weight_decay=0.02, clip=0.5, final_rate=0.01, evaluations=20)
STEPS = 20_000  # about 25 passes over the training text
GPT_STEPS = 9_000  # of GPT_ROWS rows: about 15 passes over the training text
GPT_ROWS = 8
BERT_STEPS = 3_600  # of BERT_ROWS rows: about 17 passes
BERT_ROWS = 32
CARD = """# The course's LSTM

A language model of {layers} LSTM layers over the course's {V:,} byte-level BPE tokens; {parameters:,} parameters, stored in 16 bits each.

- Data: the training text of the course (`lmkit.corpus`), {paragraphs:,} paragraphs of Wikipedia.
- Command: `{command}`
- Seed {seed}, {steps:,} steps, {minutes:.0f} minutes of training on {threads} processor thread(s), PyTorch {torch}.
- Held out: {bits_per_byte:.3f} bits per byte on the validation text, each paragraph on its own.
- Load it with `lmkit.recurrent.pretrained()`. It knows 97 articles and nothing else: it is for study.
- Licence: CC BY-SA 3.0, that of the text it was trained on.
"""

GPT_CARD = """---
library_name: transformers
license: cc-by-sa-3.0
language: en
---
# gpt-mini

GPT-2 in small: {layers} blocks of width {C}, {heads} heads, {T} places, the course's {V:,} byte-level BPE tokens;
{parameters:,} parameters, stored in 16 bits each.

- Data: the training text of the course (`lmkit.corpus`), {paragraphs:,} paragraphs of Wikipedia under CC BY-SA 3.0.
- Command: `{command}`
- Seed {seed}, {steps:,} steps of {rows} rows, {minutes:.0f} minutes of training on {threads} processor thread(s).
- Optimizer: Muon and AdamW (`lmkit.muon`), PyTorch {torch}.
- Held out: {bits_per_byte:.3f} bits per byte on the validation text, each paragraph on its own.
- Load it with `GPT2LMHeadModel.from_pretrained(lmkit.minis.folder("gpt-mini"))`.
- It knows 97 articles and nothing else: it is for study.
"""

BERT_CARD = """---
library_name: transformers
license: cc-by-sa-3.0
language: en
---
# bert-mini

BERT in small: {layers} blocks of width {C}, {heads} heads, {T} places, {V:,} word pieces in lower case; {parameters:,} parameters,
stored in 16 bits each. Trained on both of BERT's tasks: masked tokens ({share:.0%} of them, by BERT's rule of 80, 10 and 10%)
and pairs of sentences.

- Data: the training text of the course (`lmkit.corpus`) in {chunks:,} stretches; Wikipedia, under CC BY-SA 3.0.
- Command: `{command}`
- Seed {seed}, {steps:,} steps of {rows} rows, {minutes:.0f} minutes of training on {threads} processor thread(s).
- Optimizer: Muon and AdamW (`lmkit.muon`), PyTorch {torch}.
- Held out: of the validation text's tokens, 15 in 100 hidden, it finds {masked_accuracy:.1%}.
  Always the most frequent token: {most_frequent:.1%}; the likeliest after the left neighbour: {bigram:.1%};
  the likeliest between both neighbours: {both_sides:.1%}.
- Held out: says of {belongs:.1%} of pairs rightly whether the second part follows the first (chance: 50%).
- Load it with `BertForPreTraining.from_pretrained(lmkit.minis.folder("bert-mini"))`.
- It knows 97 articles and nothing else: it is for study.
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


Steps = Annotated[int | None, typer.Option(min=1, help="Updates of the parameters; the default is what the shipped model took.")]
Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]
Threads = Annotated[int, typer.Option(min=1, help="Processor threads; another number changes the result in its last digits.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the finished model; by default the one that the course reads.")]


@app.command("gpt-mini")
def gpt_mini(steps: Steps = None, seed: Seed = 0, threads: Threads = 1, out: Out = None) -> None:
    """Train the GPT of chapter 9, measure it on the validation text, and save it in the layout of transformers.

    The default takes more than an hour on one core; the second line says how long here. Stop it whenever you like, with Ctrl-C or by
    turning the machine off: the same command goes on where the last kept state was, at most a minute back, and ends in the same file.
    """
    paragraphs, shape = tokenizer.token_ids("train"), causal.config()
    model = causal.new(shape, seed)
    facts = {"T": shape.n_positions, "C": shape.n_embd, "V": shape.vocab_size, "layers": shape.n_layer, "heads": shape.n_head}
    run = Run("gpt-mini", steps or GPT_STEPS, seed, threads, out, unit="bits per byte")
    run.carry_out(
        model,
        lambda start: causal.batches(paragraphs, GPT_ROWS, shape.n_positions, seed, start),
        causal.loss,
        causal.TABLES,
        causal.TRAINING,
        measure=lambda: {"bits_per_byte": metrics.evaluate(causal.LanguageModel(model)).bits_per_byte},
        tokens=tokenizer.load(),
        card=GPT_CARD,
        facts={**facts, "rows": GPT_ROWS, "paragraphs": len(paragraphs)},
    )


@app.command("bert-mini")
def bert_mini(steps: Steps = None, seed: Seed = 0, threads: Threads = 1, out: Out = None) -> None:
    """Train the BERT of chapter 8, measure it on the validation text, and save it in the layout of transformers.

    The default takes about three quarters of an hour on one core; the second line says how long here. Stop it whenever you like, with
    Ctrl-C or by turning the machine off: the same command goes on where the last kept state was, at most a minute back, and ends in
    the same file.
    """
    tokens, shape = masked.train_tokenizer(corpus.texts("train")), masked.config()
    found, held_out = masked.chunks("train", tokens), masked.chunks("validation", tokens)
    gaps, model = masked.gaps_of(held_out), masked.new(shape, seed)
    counts = masked.Neighbours(found)
    baselines = {kind: masked.accuracy(getattr(counts, kind)(gaps), gaps) for kind in ("most_frequent", "bigram", "both_sides")}
    facts = {"T": shape.max_position_embeddings, "C": shape.hidden_size, "V": shape.vocab_size, "layers": shape.num_hidden_layers}
    run = Run("bert-mini", steps or BERT_STEPS, seed, threads, out, unit="of the hidden tokens found")
    run.carry_out(
        model,
        lambda start: masked.batches(found, BERT_ROWS, shape.vocab_size, seed, start),
        masked.loss,
        masked.TABLES,
        masked.TRAINING,
        measure=lambda: {
            "masked_accuracy": masked.masked_accuracy(model, gaps),
            "belongs": masked.belongs_accuracy(model, held_out),
            **baselines,
        },
        tokens=tokens,
        card=BERT_CARD,
        facts={**facts, "heads": shape.num_attention_heads, "rows": BERT_ROWS, "chunks": len(found), "share": masked.TRAINED_SHARE},
    )


@dataclass(frozen=True)
class Run:
    """One command's run: which model, how long, and where it goes."""

    name: str
    steps: int
    seed: int
    threads: int
    out: Path | None
    unit: str  # of the first score that `measure` returns, for the lines of progress

    def carry_out(
        self,
        model: PreTrainedModel,
        batches: Callable[[int], Iterator],
        loss: Callable[[nn.Module, object], torch.Tensor],
        tables: set[str],
        training: TrainConfig,
        *,
        measure: Callable[[], dict[str, float]],
        tokens: PreTrainedTokenizerBase,
        card: str,
        facts: dict,
    ) -> None:
        """Train, measure and save; a line of progress after each twentieth. Errors end in a sentence and exit status 2."""
        torch.set_num_threads(self.threads)
        command = f"python -m lmkit.pretrain {self.name} --steps {self.steps} --seed {self.seed} --threads {self.threads}"
        out = self.out or minis.HOME / self.name
        parameters = sum(p.numel() for p in model.parameters())
        settings = f"{command}; {training}; {facts}; {parameters} parameters; PyTorch {torch.__version__}"
        state = cache_dir() / "pretrain" / f"{self.name}-{sha256(settings.encode())[:12]}.pt"
        try:
            out.mkdir(parents=True, exist_ok=True)  # now: whether it can be written is not to be found out an hour later
            if state.exists():
                typer.echo(f"going on from the state kept in {state}")
            optimizer = muon.optimizer(model, tables, training)
            keep = {"seed": self.seed, "state": state, "settings": settings}
            score = {"evaluate": lambda _: next(iter(measure().values())), "report": self._report}
            seconds = resumable.train(model, batches, loss, optimizer, self.steps, training, **keep, **score)
            model.half().float().eval()  # as it will be read again
            made = {"command": command, "seed": self.seed, "steps": self.steps, "train_seconds": round(seconds, 1), "threads": self.threads}
            made |= {**measure(), "torch": torch.__version__}
            text = card.format(**facts, parameters=parameters, minutes=seconds / 60, **made)
            minis.save(model, tokens, out, made, text)
            state.unlink(missing_ok=True)
        except (LmkitError, OSError) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("stopped; the same command goes on from the last kept state", err=True)
            raise typer.Exit(130) from None
        typer.echo(f"saved in {out} after {seconds / 60:.0f} min of training")

    def _report(self, reached: resumable.Reached) -> None:
        left = f"about {reached.left / 60:.0f} min left" if reached.step else ""
        done = f"{reached.step / reached.steps:4.0%} after {reached.seconds / 60:.0f} min"
        score = "" if reached.score is None else f"{reached.score:.4f} {self.unit}"
        typer.echo(f"{done}: {', '.join(part for part in (score, left) if part)}")


if __name__ == "__main__":
    app()
