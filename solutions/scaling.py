"""Chapter 12, scaling: sizes and costs of a decoder, power laws, compute-optimal training, prompts, and a client for an API."""

import json
import random
import re
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize_scalar


def count_parameters(V: int, C: int, M: int, layers: int, H: int, G: int, tied: bool) -> int:
    """How many parameters a decoder of Llama's shape has, by arithmetic alone.

    V: tokens; C: width, H heads of C / H numbers; M: width of the feed-forward layer; G: heads of keys and of values;
    tied: whether one table serves at both ends. No biases, no table of positions. Source: Touvron et al. 2023.
    """
    D = C // H
    attention = 2 * C * C + 2 * C * G * D
    return (1 if tied else 2) * V * C + layers * (attention + 3 * C * M + 2 * C) + C


def flops(V: int, C: int, M: int, layers: int, H: int, G: int, T: int) -> int:
    """Floating-point operations of such a decoder that reads one text of T tokens once, and gives logits at every place.

    Products of matrices alone, a multiplication and its addition as two; scores of all T x T pairs.
    """
    D = C // H
    matrices = layers * (2 * C * C + 2 * C * G * D + 3 * C * M) + V * C
    return 2 * T * matrices + layers * 2 * (2 * T * T * C)


def training_memory(parameters: int, trained: int, kind: str) -> dict[str, int]:
    """Bytes of training with AdamW, without activations: {"weights": …, "gradients": …, "optimizer": …}.

    parameters: all of them; trained: how many of them learn, the others are frozen; kind: "float32", "bfloat16", or "mixed":
    bfloat16 weights and gradients, beside a float32 copy of what learns, to which AdamW's two float32 averages belong;
    copy and averages count as the optimizer's. Errors: ValueError for another kind. Source: Rajbhandari et al. 2020, section 3.
    """
    if kind not in ("float32", "bfloat16", "mixed"):
        raise ValueError(f"kind is float32, bfloat16 or mixed, not {kind!r}")
    size = 4 if kind == "float32" else 2
    of_optimizer = {"float32": 4 + 4, "bfloat16": 2 + 2, "mixed": 4 + 4 + 4}[kind]
    return {"weights": parameters * size, "gradients": trained * size, "optimizer": trained * of_optimizer}


def cache_memory(B: int, T: int, C: int, layers: int, H: int, G: int, size: int) -> int:
    """Bytes of a key-value cache.   B: texts; T: tokens of each, all of them in the cache; size: bytes of a number

    C, layers, H, G: as in count_parameters: a key and a value of C / H numbers for each of G heads. Source: Pope et al. 2023.
    """
    return 2 * B * T * layers * G * (C // H) * size


def fit_power_law(x: Sequence[float], loss: Sequence[float], E: float | None = None) -> tuple[float, float, float]:
    """The E >= 0, A > 0 and alpha > 0 with the least sum of squared errors (loss - E - A x^-alpha)^2: (E, A, alpha), as floats.

    x, loss: of one length; losses that fall as x grows, with alpha between 0.02 and 2. E: None, or a number at which it stands.
    Errors: ValueError where the lengths differ, where a number is not above 0 or not finite, where there are fewer different x
    than unknowns, and where the given E is below 0 or not below every loss. Source of the form: Hoffmann et al. 2022.
    """
    x, loss = np.asarray(x, dtype=float), np.asarray(loss, dtype=float)
    if x.shape != loss.shape or x.ndim != 1:
        raise ValueError(f"x and loss are two rows of one length, not of the shapes {x.shape} and {loss.shape}")
    if not (np.isfinite(x).all() and np.isfinite(loss).all() and (x > 0).all() and (loss > 0).all()):
        raise ValueError("every x and every loss is a finite number above 0")
    unknowns = 3 if E is None else 2
    if len(set(x.tolist())) < unknowns:
        raise ValueError(f"{unknowns} unknowns need as many different x, not {len(set(x.tolist()))}")
    if E is not None and not 0 <= E < loss.min():
        raise ValueError(f"E is at least 0 and below every loss, not {E}")
    middle = np.exp(np.log(x).mean())  # powers of numbers near 1 keep their digits

    def line(alpha: float) -> tuple[float, float, float]:
        """For one alpha: the best E and A, and the sum of squared errors."""
        power = (x / middle) ** -alpha
        floor = E
        if floor is None:
            slope = np.dot(power - power.mean(), loss) / ((power - power.mean()) ** 2).sum()
            floor = max(0.0, loss.mean() - slope * power.mean())
        A = max(1e-12, np.dot(power, loss - floor) / np.dot(power, power))
        return floor, A, ((loss - floor - A * power) ** 2).sum()

    tried = np.geomspace(0.01, 4, 200)
    best = int(np.argmin([line(alpha)[2] for alpha in tried]))
    around = tried[max(0, best - 1)], tried[min(len(tried) - 1, best + 1)]
    alpha = minimize_scalar(lambda alpha: line(alpha)[2], bounds=around, method="bounded", options={"xatol": 1e-10}).x
    floor, A, _ = line(alpha)
    return float(floor), float(A * middle**alpha), float(alpha)


def optimal_allocation(budget: float, A: float = 406.4, B: float = 410.7, alpha: float = 0.34, beta: float = 0.28) -> tuple[float, float]:
    """The parameters N and tokens D with the least E + A / N^alpha + B / D^beta among all with 6 N D = budget: (N, D), as floats.

    budget: floating-point operations of training, above 0. Source: Hoffmann et al. 2022, section 3.3; the coefficients are theirs.
    """
    N = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (budget / 6) ** (beta / (alpha + beta))
    return float(N), float(budget / (6 * N))


def few_shot_prompt(
    instruction: str, examples: Sequence[tuple[str, str]], question: str, length: Callable[[str], int], longest: int
) -> str:
    """A prompt of an instruction, solved examples, and a question without its answer; as many examples as fit.

    Parts are separated by an empty line. In each text every run of white space is one space, and none stands at an end; an
    instruction without any text is left out. An example is the two lines `Q: question` and `A: answer`; the last part is
    `Q: question` and `A:`. Where length(prompt) is above `longest`, examples are left out from the front, one after the other.
    Errors: ValueError where the prompt without examples is too long, or where the question has no text.
    """

    def clean(text: str) -> str:
        return " ".join(text.split())

    if not clean(question):
        raise ValueError("the question has no text")
    head = [clean(instruction)] if clean(instruction) else []
    solved = [f"Q: {clean(asked)}\nA: {clean(answer)}" for asked, answer in examples]
    for first in range(len(solved) + 1):
        prompt = "\n\n".join([*head, *solved[first:], f"Q: {clean(question)}\nA:"])
        if length(prompt) <= longest:
            return prompt
    raise ValueError(f"the prompt without examples has a length of {length(prompt)}, and {longest} is the most")


def parse_answer(text: str, choices: Sequence[str]) -> str | None:
    """The choice that the first line with any text mentions, if it is one alone; None otherwise.

    A mention: the choice stands there, letters large or small, with no letter, digit or underscore before or behind it.
    Mentions are read from left to right and do not overlap; of two that begin at one place the longer counts. A choice that
    is mentioned twice is one. It is returned as it stands in `choices`, which differ in more than the size of letters.
    """
    line = next((line for line in text.splitlines() if line.strip()), "")
    by_length = sorted(choices, key=len, reverse=True)
    pattern = "|".join(re.escape(choice) for choice in by_length)
    mentioned = {found.lower() for found in re.findall(rf"(?<!\w)(?:{pattern})(?!\w)", line, re.IGNORECASE)}
    named = [choice for choice in choices if choice.lower() in mentioned]
    return named[0] if len(named) == 1 else None


class RateLimitedClient:
    """Asks a model behind an API: keeps to a rate, tries again after faults that pass, and never shows its key."""

    def __init__(
        self,
        send: Callable[[dict, str], tuple[int, dict[str, str], str]],
        key: str,
        generator: random.Random,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        log: Callable[[str], None] = print,
        tries: int = 5,
        per_minute: int = 60,
    ):
        """send(request, key) -> (status, headers, text), or TimeoutError or ConnectionError; sleep(seconds); clock() -> seconds;
        log(text); tries: the most for one request, at least 1; per_minute: how many tries may begin in 60 seconds, at least 1"""
        self.send, self.key, self.generator = send, key, generator
        self.sleep, self.clock, self.log = sleep, clock, log
        self.tries = tries
        self.begun: deque[float] = deque(maxlen=per_minute)  # when the latest tries began

    def ask(self, request: dict) -> dict:
        """Send a request, and return the JSON object that is the answer.

        Status 200 with a JSON object is an answer. Other text with 200, status 429, a status of 500 or more, TimeoutError and
        ConnectionError pass: they are tried again. Any other status is final. Every failed try is told to `log`.
        Before try i + 1 comes a wait: of w/2 to w seconds, drawn by the generator, w = min(2^(i-1), 60); but where status 429 or
        500 and more came with the header Retry-After, in digits: of so many seconds, or up to one more.
        Errors: RuntimeError for a final status, and after the last try. It names the status, or says timeout, connection or malformed.
        """
        for i in range(1, self.tries + 1):
            self._keep_the_rate()
            answer, problem, passes, wait = self._try(request)
            if answer is not None:
                return answer
            self.log(f"try {i} of {self.tries}: {problem}")
            if not passes:
                break
            if i < self.tries:
                w = min(2.0 ** (i - 1), 60.0)
                self.sleep(self.generator.uniform(w / 2, w) if wait is None else wait + self.generator.random())
        raise RuntimeError(f"no answer: try {i} of {self.tries} ended with {problem}")

    def _try(self, request: dict) -> tuple[dict | None, str, bool, int | None]:
        """The answer, or None; what went wrong; whether that may pass; how long the server wants to be left alone."""
        try:
            status, headers, text = self.send(request, self.key)
        except TimeoutError:
            return None, "timeout", True, None
        except ConnectionError:
            return None, "no connection", True, None
        if status != 200:
            after = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
            after = int(after) if re.fullmatch("[0-9]+", after) else None
            return None, f"status {status}", status == 429 or status >= 500, after
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        return (answer, "", True, None) if isinstance(answer, dict) else (None, "malformed JSON", True, None)

    def _keep_the_rate(self) -> None:
        if len(self.begun) == self.begun.maxlen:
            rest = self.begun[0] + 60 - self.clock()
            if rest > 0:
                self.sleep(rest)
        self.begun.append(self.clock())


def predict_losses(runs: Sequence[dict], targets: Sequence[dict]) -> np.ndarray:
    """Predict the losses of models that were not trained from the losses of others.   -> (len(targets),)

    runs: dictionaries with C, share, parameters, matrices, train_tokens and loss; targets: the same without the loss, of another
    size, on amounts of text that occur in runs.
    """
    predicted = []
    for one in targets:  # a power law in the parameters for each amount of text by itself
        mine = [run for run in runs if run["share"] == one["share"]]
        sizes = np.array([run["parameters"] for run in mine]) / one["parameters"]  # so that the target's own power is 1
        losses = np.array([run["loss"] for run in mine])
        fits = [np.polyfit(sizes**-alpha, losses, 1, full=True) for alpha in np.geomspace(0.05, 2, 100)]
        best = min(fits, key=lambda fit: fit[1].sum())  # the least sum of squared errors
        predicted.append(best[0].sum())  # A + E
    return np.array(predicted)
