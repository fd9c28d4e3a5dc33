"""Variants of the solutions of chapter 12, scaling: the mistakes that students make, and other right answers."""

import json
import math
import re
import time
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import curve_fit, least_squares

from autograder.variant import edited, right, wrong

# count_parameters

edited(
    __name__,
    "always_two_tables",
    of="count_parameters",
    edits={"(1 if tied else 2) * V * C": "2 * V * C"},
    fails="check_count_by_hand",
    says="a tied model has one table of tokens",
)
edited(
    __name__,
    "no_last_norm",
    of="count_parameters",
    edits={"2 * C) + C": "2 * C)"},
    fails="check_count_by_hand",
    says="the last norm is missing",
)
edited(
    __name__,
    "keys_for_every_head",
    of="count_parameters",
    edits={"2 * C * C + 2 * C * G * D": "4 * C * C"},
    fails="check_count_by_hand",
    says="keys and values have G heads, not H",
)
edited(
    __name__,
    "one_norm_if_no_layer",
    of="count_parameters",
    edits={"3 * C * M + 2 * C) + C": "3 * C * M + 2 * C) + (C if layers else 0)"},
    fails="check_count_of_library",
    says="the last norm is missing",
)
edited(
    __name__,
    "values_forgotten",
    of="count_parameters",
    edits={"2 * C * C + 2 * C * G * D": "2 * C * C + C * G * D"},
    fails="check_count_by_hand",
    says="keys have a matrix, and values have one",
)


@right(of="count_parameters")
def list_of_shapes(V, C, M, layers, H, G, tied):
    shared = G * (C // H)
    block = [(C, C), (C, shared), (C, shared), (C, C), (C, M), (C, M), (M, C), (1, C), (1, C)]
    return np.int64(sum(a * b for a, b in [*block * layers, (1, C), *[(V, C)] * (2 - tied)]))


# flops

edited(
    __name__,
    "multiplications_alone",
    of="flops",
    edits={"return 2 * T * matrices + layers * 2 * (2 * T * T * C)": "return T * matrices + layers * 2 * T * T * C"},
    fails="check_flops_by_hand",
    says="a multiplication and its addition are two operations",
)
edited(
    __name__,
    "no_logits",
    of="flops",
    edits={" + V * C": ""},
    fails="check_flops_by_hand",
    says="the logits are missing",
)
edited(
    __name__,
    "masked_half_left_out",
    of="flops",
    edits={"layers * 2 * (2 * T * T * C)": "layers * 2 * T * (T + 1) * C"},
    fails="check_flops_by_hand",
    says="the hidden ones, too",
)
edited(
    __name__,
    "scores_of_shared_heads",
    of="flops",
    edits={"(2 * T * T * C)": "(2 * T * T * G * D)"},
    fails="check_flops_by_hand",
    says="each for all H heads of queries",
)


@right(of="flops")
def product_by_product(V, C, M, layers, H, G, T):
    D = C // H
    products = [(T, C, C), (T, C, G * D), (T, C, G * D), (T, C, C), (T, C, M), (T, C, M), (T, M, C)]
    products += [(T, D, T), (T, T, D)] * H
    return sum(2 * a * b * c for a, b, c in [*products * layers, (T, C, V)])


# training_memory

edited(
    __name__,
    "one_average",
    of="training_memory",
    edits={'{"float32": 4 + 4, "bfloat16": 2 + 2, "mixed": 4 + 4 + 4}': '{"float32": 4, "bfloat16": 2, "mixed": 4 + 4}'},
    fails="check_training_by_hand",
    says="AdamW keeps two averages",
)
edited(
    __name__,
    "frozen_ones_have_gradients",
    of="training_memory",
    edits={'"gradients": trained * size': '"gradients": parameters * size'},
    fails="check_training_by_hand",
    says="frozen weights have no gradient",
)
edited(
    __name__,
    "no_copy",
    of="training_memory",
    edits={"4 + 4 + 4": "4 + 4"},
    fails="check_training_by_hand",
    says="the float32 copy of what learns",
)
edited(
    __name__,
    "every_kind_is_mixed",
    of="training_memory",
    edits={'if kind not in ("float32", "bfloat16", "mixed"):': 'if kind == "none":', '}[kind]': '}.get(kind, 12)'},
    fails="check_training_of_torch",
    says="expected ValueError",
)  # fmt: skip
edited(
    __name__,
    "copy_among_the_weights",
    of="training_memory",
    edits={'"weights": parameters * size': '"weights": parameters * size + 4 * trained * (kind == "mixed")'},
    fails="check_training_by_hand",
    says="the float32 copy counts as the optimizer's",
)


@right(of="training_memory")
def by_table(parameters, trained, kind):
    sizes = {"float32": (4, 4, 8), "bfloat16": (2, 2, 4), "mixed": (2, 2, 12)}
    if kind not in sizes:
        raise ValueError("unknown kind")
    counts = dict(zip(("weights", "gradients", "optimizer"), (parameters, trained, trained), strict=True))
    return {key: count * size for (key, count), size in zip(counts.items(), sizes[kind], strict=True)}


# cache_memory

edited(
    __name__,
    "keys_alone",
    of="cache_memory",
    edits={"2 * B * T": "B * T"},
    fails="check_cache_by_hand",
    says="keys and values are both kept",
)
edited(
    __name__,
    "every_head",
    of="cache_memory",
    edits={"G * (C // H)": "C"},
    fails="check_cache_by_hand",
    says="there are G heads of keys and values, not H",
)
edited(
    __name__,
    "always_two_bytes",
    of="cache_memory",
    edits={"* size": "* 2"},
    fails="check_cache_of_library",
    says="got",
)
edited(
    __name__,
    "one_layer",
    of="cache_memory",
    edits={"* layers * G": "* G"},
    fails="check_cache_by_hand",
    says="or: every layer has a cache of its own",
)


@right(of="cache_memory")
def by_shape(B, T, C, layers, H, G, size):
    return size * layers * math.prod((2, B, G, T, C // H))


# fit_power_law

edited(
    __name__,
    "zero_is_nothing",
    of="fit_power_law",
    edits={"if floor is None:": "if not floor:", "unknowns = 3 if E is None else 2": "unknowns = 2 if E else 3"},
    fails="check_fit_with_a_given_floor",
    says="takes 0 for nothing given",
)
edited(
    __name__,
    "floor_below_zero",
    of="fit_power_law",
    edits={"max(0.0, loss.mean() - slope * power.mean())": "loss.mean() - slope * power.mean()"},
    fails="check_fit_is_the_best",
    says="a floor below 0 is not allowed",
)
edited(
    __name__,
    "two_points_will_do",
    of="fit_power_law",
    edits={"if len(set(x.tolist())) < unknowns:": "if len(x) < unknowns:"},
    fails="check_fit_refuses",
    says="only two different x",
)


@wrong(of="fit_power_law", fails="check_fit_with_a_given_floor", says="this is the best line through the logarithms")
def line_through_logarithms(x, loss, E=None):
    x, loss = np.asarray(x, dtype=float), np.asarray(loss, dtype=float)

    def line(floor):
        slope, start = np.polyfit(np.log(x), np.log(loss - floor), 1)
        return math.exp(start), -slope

    if E is None:
        tried = np.linspace(0, loss.min(), 201)[:-1]
        E = min(tried, key=lambda floor: ((floor + line(floor)[0] * x ** -line(floor)[1] - loss) ** 2).sum())
    return (float(E), *line(E))


@right(of="fit_power_law")
def by_least_squares(x, loss, E=None):
    x, loss = np.array(x, dtype=float), np.array(loss, dtype=float)
    if len(x) != len(loss) or not np.all((x > 0) & (loss > 0) & np.isfinite(x) & np.isfinite(loss)):
        raise ValueError("numbers above 0, as many x as losses")
    if len(np.unique(x)) < (2 if E is not None else 3) or (E is not None and (E < 0 or min(loss) <= E)):
        raise ValueError("too few points, or a floor that cannot be")
    unit = np.median(x)

    def errors(p):
        return (p[2] if E is None else E) + p[0] * (x / unit) ** -p[1] - loss

    fits = []
    for alpha in (0.03, 0.3, 1.5):
        start, low = [np.ptp(loss) + 0.1, alpha, min(loss) / 2], [1e-9, 1e-3, 0]
        n = 3 if E is None else 2
        fits.append(least_squares(errors, start[:n], bounds=(low[:n], np.inf), xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=400))
    best = min(fits, key=lambda fit: fit.cost).x
    return np.float64(best[2]) if E is None else E, best[0] * unit ** best[1], best[1]


# optimal_allocation

edited(
    __name__,
    "six_forgotten",
    of="optimal_allocation",
    edits={"(budget / 6) **": "budget **", "budget / (6 * N)": "budget / N"},
    fails="check_allocation_by_hand",
    says="the six of 6 N D is missing",
)
edited(
    __name__,
    "changed_places",
    of="optimal_allocation",
    edits={"float(N), float(budget / (6 * N))": "float(budget / (6 * N)), float(N)"},
    fails="check_allocation_by_hand",
    says="the two have changed places",
)
edited(
    __name__,
    "equal_terms",
    of="optimal_allocation",
    edits={"(alpha * A / (beta * B))": "(A / B)"},
    fails="check_allocation_published",
    says="it is their slopes that must agree",
)
edited(
    __name__,
    "equal_exponents",
    of="optimal_allocation",
    edits={"(budget / 6) ** (beta / (alpha + beta))": "(budget / 6) ** 0.5"},
    fails="check_allocation_published",
    says="the loss above the floor",
)
edited(
    __name__,
    "whole_numbers",
    of="optimal_allocation",
    edits={"float(N), float(budget / (6 * N))": "float(round(N)), float(round(budget / (6 * N)))"},
    fails="check_allocation_of_other_laws",
    says="optimal_allocation(60",
)


@right(of="optimal_allocation")
def by_search(budget, A=406.4, B=410.7, alpha=0.34, beta=0.28):
    half = math.log(budget / 6) / 2

    def slope(log_n):
        return beta * B * math.exp(-beta * (2 * half - log_n)) - alpha * A * math.exp(-alpha * log_n)

    low, high = half - 200, half + 200
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return [math.exp(low), math.exp(2 * half - low)]


# few_shot_prompt

edited(
    __name__,
    "space_behind",
    of="few_shot_prompt",
    edits={'{clean(question)}\\nA:"': '{clean(question)}\\nA: "'},
    fails="check_prompt_by_hand",
    says="there is a space behind the last A:",
)
edited(
    __name__,
    "stripped_only",
    of="few_shot_prompt",
    edits={'" ".join(text.split())': "text.strip()"},
    fails="check_prompt_by_hand",
    says="every run of white space in a text is one space",
)
edited(
    __name__,
    "last_examples_go",
    of="few_shot_prompt",
    edits={"*solved[first:]": "*solved[: len(solved) - first]"},
    fails="check_prompt_fits",
    says="the first example is left out",
)
edited(
    __name__,
    "too_long_all_the_same",
    of="few_shot_prompt",
    edits={'raise ValueError(f"the prompt without examples has a length of {length(prompt)}, and {longest} is the most")': "return prompt"},
    fails="check_prompt_edges",
    says="no room even without examples: expected ValueError",
)
edited(
    __name__,
    "empty_instruction",
    of="few_shot_prompt",
    edits={"[clean(instruction)] if clean(instruction) else []": "[clean(instruction)]"},
    fails="check_prompt_by_hand",
    says="an instruction with no text left is no part",
)


@right(of="few_shot_prompt")
def one_shorter_at_a_time(instruction, examples, question, length, longest):
    def one_line(text):
        return re.sub(r"\s+", " ", text).strip()

    if not one_line(question):
        raise ValueError("no question")
    start = one_line(instruction) + "\n\n" if one_line(instruction) else ""
    blocks = [f"Q: {one_line(q)}\nA: {one_line(a)}\n\n" for q, a in examples]
    while length(prompt := start + "".join(blocks) + f"Q: {one_line(question)}\nA:") > longest:
        if not blocks:
            raise ValueError("too long")
        del blocks[0]
    return prompt


# parse_answer

edited(
    __name__,
    "anywhere_in_the_text",
    of="parse_answer",
    edits={'next((line for line in text.splitlines() if line.strip()), "")': "text"},
    fails="check_first_line",
    says="what the model wrote behind the first line",
)
edited(
    __name__,
    "first_mention_wins",
    of="parse_answer",
    edits={"named[0] if len(named) == 1 else None": "named[0] if named else None"},
    fails="check_answer_by_hand",
    says="no answer rather than a guess",
)
edited(
    __name__,
    "in_the_order_of_choices",
    of="parse_answer",
    edits={"sorted(choices, key=len, reverse=True)": "choices"},
    fails="check_answer_edges",
    says="of C and C++, which begin at one place, the longer counts",
)
edited(
    __name__,
    "word_borders",
    of="parse_answer",
    edits={r"(?<!\w)(?:{pattern})(?!\w)": r"\b(?:{pattern})\b"},
    fails="check_answer_edges",
    says="no letter, digit or underscore stands behind it",
)
edited(
    __name__,
    "small_letters",
    of="parse_answer",
    edits={"named[0] if len(named) == 1 else None": "named[0].lower() if len(named) == 1 else None"},
    fails="check_answer_by_hand",
    says="the choice is returned as it stands in choices",
)


@right(of="parse_answer")
def letter_by_letter(text, choices):
    lines = [line for line in text.split("\n") if line.strip()]
    line, found, i = (lines[0].lower() if lines else ""), set(), 0

    def part_of_word(place):
        return 0 <= place < len(line) and (line[place].isalnum() or line[place] == "_")

    while i < len(line):
        here = [one for one in choices if line.startswith(one.lower(), i) and not part_of_word(i - 1) and not part_of_word(i + len(one))]
        longest = max(here, key=len, default=None)
        found |= {longest} - {None}
        i += len(longest) if longest else 1
    return found.pop() if len(found) == 1 else None


# RateLimitedClient

edited(
    __name__,
    "every_status_again",
    of="RateLimitedClient",
    edits={'status == 429 or status >= 500, after': "True, after"},
    fails="check_client_gives_up",
    says="status 401: send was called 5 times, expected 1",
)  # fmt: skip
edited(
    __name__,
    "shorter_waits_do_not_count",
    of="RateLimitedClient",
    edits={"if wait is None else": "if wait is None or wait < w else"},
    fails="check_client_other_faults",
    says="then 503 with Retry-After: 1: after failed try 4 it slept",
)
edited(
    __name__,
    "headers_as_written",
    of="RateLimitedClient",
    edits={'next((value for name, value in headers.items() if name.lower() == "retry-after"), "")': 'headers.get("Retry-After", "")'},
    fails="check_client_other_faults",
    says="with retry-after: 90",
)
edited(
    __name__,
    "failed_tries_do_not_count",
    of="RateLimitedClient",
    edits={"self._keep_the_rate()\n": "i == 1 and self._keep_the_rate()\n"},
    fails="check_client_rate",
    says="tries that fail count, too",
)


@dataclass
class _Asking:
    send: object
    key: str
    generator: object
    sleep: object = time.sleep
    clock: object = time.monotonic
    log: object = print
    tries: int = 5
    per_minute: int = 60
    begun: list = field(default_factory=list)

    def ask(self, request):
        for i in range(self.tries):
            if len(self.begun) >= self.per_minute and self.begun[-self.per_minute] + 60 > self.clock():
                self.sleep(self.begun[-self.per_minute] + 60 - self.clock())
            self.begun.append(self.clock())
            after, again = None, True
            try:
                status, headers, text = self.send(request, self.key)
                problem = f"status {status}"
                if status == 200:
                    problem = "malformed"
                    answer = json.loads(text)
                    if isinstance(answer, dict):
                        return answer
                elif status == 429 or status >= 500:
                    after = {name.lower(): value.strip() for name, value in headers.items()}.get("retry-after", "")
                else:
                    again = False
            except (TimeoutError, ConnectionError, ValueError) as error:
                problem = {"TimeoutError": "timeout", "JSONDecodeError": "malformed"}.get(type(error).__name__, "connection")
            self.log(problem)
            if not again:
                break
            if i < self.tries - 1:
                self.sleep(int(after) if after and after.isdecimal() else min(2**i, 60) * (1 + self.generator.random()) / 2)
        raise RuntimeError(problem)


@wrong(of="RateLimitedClient", fails="check_client_keeps_its_key", says="repr(client) shows the key")
class KeyInItsRepr(_Asking):
    """A dataclass writes its own repr, with all of its fields."""


@wrong(of="RateLimitedClient", fails="check_client_keeps_its_key", says="the traceback shows the key")
class RaisesWhileItHandles(_Asking):
    def __repr__(self):
        return "a client"

    def ask(self, request):
        def remembered(request, key):
            try:
                return send(request, key)
            except (TimeoutError, ConnectionError) as error:
                seen.append(error)
                raise

        seen, send = [], self.send
        self.send = remembered
        try:
            return super().ask(request)
        except RuntimeError as error:
            raise error from (seen[-1] if seen else None)
        finally:
            self.send = send


@right(of="RateLimitedClient")
class HidesItsKey(_Asking):
    def __repr__(self):
        return f"HidesItsKey(tries={self.tries})"


# predict_losses


@wrong(of="predict_losses", fails="check_better_than_the_simple_guess", says="the simple guess has")
def next_size_is_as_good(runs, targets):
    largest = max(run["C"] for run in runs)
    return [next(run["loss"] for run in runs if (run["C"], run["share"]) == (largest, one["share"])) for one in targets]


@wrong(of="predict_losses", fails="check_better_than_the_simple_guess", says="the simple guess has")
def one_law_for_all(runs, targets):
    def law(p, of):
        N, D = (np.array([one[name] for one in of]) / unit for name, unit in (("parameters", 1e5), ("train_tokens", 2e5)))
        E, A, B, alpha, beta = np.exp(p)
        return E + A * N**-alpha + B * D**-beta

    losses = np.array([run["loss"] for run in runs])
    fits = [least_squares(lambda p: law(p, runs) - losses, [E, -1, -1, -1, -1], bounds=(-12, 6)) for E in (0.5, 1.0, 1.4)]
    return law(min(fits, key=lambda fit: fit.cost).x, targets)


@wrong(of="predict_losses", fails="check_half_of_the_simple_guess", says="reach less than half")
def half_a_step_on(runs, targets):
    known = {(run["C"], run["share"]): run["loss"] for run in runs}
    before, largest = sorted({run["C"] for run in runs})[-2:]
    return [known[largest, one["share"]] + 0.35 * (known[largest, one["share"]] - known[before, one["share"]]) for one in targets]


@wrong(of="predict_losses", fails="check_other_worlds", says="go by the losses that are given")
def looked_up(runs, targets):
    from lmkit import scaling

    known = {(run.C, run.share): run.loss for run in scaling.runs()}
    return [known.get((one["C"], one["share"]), 5.0) for one in targets]


@right(of="predict_losses")
def curve_by_curve(runs, targets):
    def law(n, E, A, alpha):
        return E + A * n**-alpha

    predicted = []
    for one in targets:
        mine = [run for run in runs if run["share"] == one["share"]]
        n, loss = (np.array([run[name] for run in mine], dtype=float) for name in ("matrices", "loss"))
        bounds = ([0, 1e-6, 0.1], [min(loss), 100, 2])
        found, _ = curve_fit(law, n / 3e4, loss, p0=(min(loss) - 0.3, 0.4, 0.5), bounds=bounds, maxfev=5000)
        predicted.append(law(one["matrices"] / 3e4, *found))
    return predicted
