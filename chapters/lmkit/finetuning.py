"""A pretrained encoder learns to tell topics apart, in the ways of chapter 10: `python -m lmkit.finetuning` records how well each does."""

from __future__ import annotations

import json
import random
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lmkit import embedded, pretrained, topics
from lmkit.cache import cache_dir, sha256, write_whole
from lmkit.errors import LmkitError
from lmkit.topics import Labelled
from lmkit.train import Budget, TrainConfig, train

__all__ = [
    "COMMAND", "METHODS", "SEEDS", "Adapter", "Classifier", "Result", "accuracy", "batch", "classifier", "fit", "frozen", "recorded",
    "tf_idf", "trained_parameters",
]  # fmt: skip

RESULTS = Path(__file__).parent / "data" / "finetuning.json"
COMMAND = "python -m lmkit.finetuning"
RATES = {  # method that trains a network: learning rate of what it trains inside the encoder
    "last block": 3e-4,
    "full": 1e-4,
    "adapters": 1e-3,
    "LoRA": 2e-3,
    "prompt": 1e-2,
}
METHODS = ("TF-IDF", "frozen", *RATES)
HEAD_RATE = 1e-2  # learning rate of the head
SEEDS = (1, 2, 3, 4, 5)  # of the splits; rates and STEPS were tried on split 0, whose test paragraphs therefore count no more
ROWS = {60: METHODS, 15: ("TF-IDF", "frozen", "full"), 5: ("TF-IDF", "frozen", "full")}  # training paragraphs a topic: methods
STEPS, SIZE, LONGEST = 45, 16, 64  # updates, paragraphs in each, tokens of a paragraph that are read
TRAINING = TrainConfig(final_rate=0.0, warmup=0.1)
BOTTLENECK, RANK, PROMPT = 32, 8, 8  # width of an adapter, rank of LoRA's matrices, vectors of a prompt


@dataclass(frozen=True)
class Result:
    """One method on one split."""

    method: str
    rows: int  # training paragraphs of each topic
    seed: int  # of `lmkit.topics.split`, of the head and of the batches
    accuracy: float  # share of the split's test paragraphs
    trained: int  # parameters that were trained
    seconds: float  # of training


class Adapter(nn.Module):
    """x + up(gelu(down(x))): a detour through `width` numbers, which at first adds nothing.   (…, C) -> (…, C)

    Source: Houlsby et al. 2019, section 2.1.
    """

    def __init__(self, C: int, width: int):
        super().__init__()
        self.down, self.up = nn.Linear(C, width), nn.Linear(width, C)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(F.gelu(self.down(x)))


class Classifier(nn.Module):
    """An encoder and a linear head on the mean of its last states.   input_ids, attention_mask (B, T) -> logits (B, K)

    prompt: so many learned vectors stand before the text's own (Lester, Al-Rfou and Constant 2021); they are not averaged.
    """

    def __init__(self, encoder: PreTrainedModel, K: int, prompt: int = 0, dropout: float = 0.1):
        super().__init__()
        C = encoder.config.hidden_size
        self.encoder, self.dropout, self.head = encoder, nn.Dropout(dropout), nn.Linear(C, K)
        self.prompt = nn.Parameter(0.02 * torch.randn(prompt, C)) if prompt else None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors, mask, n = self.encoder.get_input_embeddings()(input_ids), attention_mask, 0
        if self.prompt is not None:
            n = len(self.prompt)
            vectors = torch.cat([self.prompt.expand(len(vectors), -1, -1), vectors], dim=1)
            mask = torch.cat([mask.new_ones(len(mask), n), mask], dim=1)
        states = self.encoder(inputs_embeds=vectors, attention_mask=mask).last_hidden_state[:, n:]
        return self.head(self.dropout(embedded.mean(states, attention_mask)))


def classifier(method: str, encoder: PreTrainedModel, seed: int, K: int = len(topics.TOPICS)) -> Classifier:
    """A classifier in which only what the method trains asks for a gradient. The encoder becomes part of it, and is changed.

    Errors: LmkitError for a method that trains no network, or an unknown one.
    """
    if method not in RATES:
        raise LmkitError(f"{method!r} is no way to train a network here: take one of {', '.join(RATES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder.requires_grad_(method == "full")
        blocks = encoder.encoder.layer
        if method == "last block":
            blocks[-1].requires_grad_(True)
        elif method == "adapters":
            for block in blocks:
                for part in (block.attention.output, block.output):
                    part.dense = nn.Sequential(part.dense, Adapter(encoder.config.hidden_size, BOTTLENECK))
        elif method == "LoRA":
            from peft import LoraConfig, get_peft_model

            settings = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=["query", "value"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that has a new one
                encoder = get_peft_model(encoder, settings)
        return Classifier(encoder, K, prompt=PROMPT if method == "prompt" else 0)


def trained_parameters(model: nn.Module) -> int:
    """How many of a model's numbers ask for a gradient."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def batch(rows: Sequence[Labelled], tokens: PreTrainedTokenizerBase, longest: int = LONGEST) -> tuple[dict[str, Tensor], Tensor]:
    """What a Classifier reads of some paragraphs, padded to the longest of them, and their labels (B,)."""
    read = tokens([row.text for row in rows], padding=True, truncation=True, max_length=longest, return_tensors="pt")
    return {name: read[name] for name in ("input_ids", "attention_mask")}, torch.tensor([row.label for row in rows])


def fit(
    model: Classifier, rows: Sequence[Labelled], tokens: PreTrainedTokenizerBase, rate: float, seed: int, *, steps: int = STEPS,
    longest: int = LONGEST,
) -> float:  # fmt: skip
    """Train what asks for a gradient, the head at HEAD_RATE and the rest at `rate`. Returns the seconds; the model is left in
    evaluation mode. The seed draws the batches and, through torch's global generator, the dropout."""
    torch.manual_seed(seed)
    head = list(model.head.parameters())
    rest = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith("head.")]
    groups = [{"params": head, "lr": HEAD_RATE}, *([{"params": rest, "lr": rate}] if rest else [])]
    optimizer = AdamW(groups, weight_decay=TRAINING.weight_decay)

    def loss(model: nn.Module, batch: tuple[dict[str, Tensor], Tensor]) -> Tensor:
        return F.cross_entropy(model(**batch[0]), batch[1])

    batches = (batch(chosen, tokens, longest) for chosen in _batches(rows, random.Random(seed)))
    history = train(model, batches, loss, Budget(steps=steps), TRAINING, optimizer=optimizer)
    model.eval()
    return history.seconds[-1]


def _batches(rows: Sequence[Labelled], rng: random.Random) -> Iterator[list[Labelled]]:
    """SIZE rows at a time, without end; each row once before one comes again."""
    queue: list[Labelled] = []
    while True:
        while len(queue) < SIZE:
            queue += rng.sample(rows, len(rows))
        yield [queue.pop(0) for _ in range(SIZE)]


@torch.no_grad()
def accuracy(model: Classifier, rows: Sequence[Labelled], tokens: PreTrainedTokenizerBase, longest: int = LONGEST) -> float:
    """The share of paragraphs whose label has the greatest logit, in the mode that the model is in."""
    right = 0
    for start in range(0, len(rows), 40):
        inputs, labels = batch(rows[start : start + 40], tokens, longest)
        right += int((model(**inputs).argmax(dim=-1) == labels).sum())
    return right / len(rows)


def tf_idf(train: Sequence[Labelled], test: Sequence[Labelled]) -> tuple[float, int]:
    """Accuracy, and numbers trained, of logistic regression on TF-IDF: the baseline that any other method has to beat."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10, max_iter=2000))
    model.fit([row.text for row in train], [row.label for row in train])
    learned = model[-1]
    score = model.score([row.text for row in test], [row.label for row in test])
    return float(score), learned.coef_.size + learned.intercept_.size


def frozen(train: Sequence[Labelled], test: Sequence[Labelled]) -> tuple[float, int]:
    """Accuracy, and numbers trained, of logistic regression on the installed encoder's vectors, which stay as they are."""
    from sklearn.linear_model import LogisticRegression

    vectors = embedded.paragraphs("mean")
    model = LogisticRegression(C=10, max_iter=2000)
    model.fit(vectors[[row.index for row in train]], [row.label for row in train])
    score = model.score(vectors[[row.index for row in test]], [row.label for row in test])
    return float(score), model.coef_.size + model.intercept_.size


def fewer(rows: Sequence[Labelled], each: int) -> list[Labelled]:
    """The first `each` paragraphs of every topic, in their order."""
    return [row for label in range(len(topics.TOPICS)) for row in [r for r in rows if r.label == label][:each]]


def measure(method: str, each: int, seed: int) -> Result:
    """One line of the record."""
    parts = topics.split(seed)
    chosen = fewer(parts.train, each)
    if method in ("TF-IDF", "frozen"):
        started = time.perf_counter()
        score, trained = (tf_idf if method == "TF-IDF" else frozen)(chosen, parts.test)
        return Result(method, each, seed, score, trained, round(time.perf_counter() - started, 2))
    tokens = pretrained.tokenizer()
    model = classifier(method, pretrained.encoder(), seed)
    seconds = fit(model, chosen, tokens, RATES[method], seed)
    return Result(method, each, seed, accuracy(model, parts.test, tokens), trained_parameters(model), round(seconds, 1))


def recorded() -> list[Result]:
    """The results that came with the course, by the number of rows, the method and the seed. Errors: LmkitError where there are none."""
    try:
        return [Result(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))["results"]]
    except OSError:
        raise LmkitError(f"{RESULTS} is missing: run `{COMMAND}`") from None


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Splits, from seed 1 on.")] = len(SEEDS),
    out: Annotated[Path, typer.Option(help="File for the results.")] = RESULTS,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads; another number changes results in their last digits.")] = 1,
) -> None:
    """Measure every method on every split, and write the results; half an hour on one core.

    Each result is kept in the cache as soon as it is there, so that the command goes on where it was stopped. The file is written at
    the end.
    """
    torch.set_num_threads(threads)
    sizes = (STEPS, SIZE, LONGEST, BOTTLENECK, RANK, PROMPT)
    settings = f"{COMMAND} {threads} {RATES} {HEAD_RATE} {sizes} {TRAINING} {torch.__version__}"
    kept = cache_dir() / "finetuning" / sha256(settings.encode())[:12]
    plan = [(method, each, seed) for seed in range(1, seeds + 1) for each, methods in ROWS.items() for method in methods]
    found, started = [], time.perf_counter()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for i, (method, each, seed) in enumerate(plan, start=1):
            path = kept / f"{method.replace(' ', '-')}-{each}-{seed}.json"
            if path.exists():
                result = Result(**json.loads(path.read_text(encoding="utf-8")))
            else:
                result = measure(method, each, seed)
                write_whole(path, json.dumps(asdict(result)))
            found.append(result)
            left = (time.perf_counter() - started) / i * (len(plan) - i)
            typer.echo(
                f"{i} of {len(plan)}: {method}, {each} rows a topic, seed {seed}: {result.accuracy:.1%} with {result.trained:,} trained "
                f"parameters, {result.seconds:.0f} s; about {left / 60:.0f} min left"
            )
        order = {method: place for place, method in enumerate(METHODS)}
        found.sort(key=lambda r: (-r.rows, order[r.method], r.seed))
        facts = {"command": COMMAND, "seeds": seeds, "threads": threads, "torch": torch.__version__}
        write_whole(out, json.dumps({**facts, "results": [asdict(result) for result in found]}, indent=1) + "\n")
    except (LmkitError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on after the last result", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"saved in {out}")


if __name__ == "__main__":
    typer.run(main)
