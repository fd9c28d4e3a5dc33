"""One set of checks, two ways: on a student's module itself, and across the bridge.

The verdicts must be equal.
"""

import base64
from pathlib import Path

import nbformat
import pytest
import torch

from autograder.bridge.handle import Handle
from autograder.pool import run_job, to_json
from autograder.tests import attention_checks
from autograder.tests.attention_checks import CHECKS
from autograder.tests.bridged import define, in_process
from autograder.tests.walls import needs_walls
from autograder.verdict import GRADED, Job, Limits, Verdict
from lmkit.check import run_checks

pytestmark = pytest.mark.slow  # a minute of properties: for who changes the grader, not for who writes a chapter

REFERENCE = """
import math
import torch
from torch import nn
from torch.nn import functional as F


class Cache:
    def __init__(self, keys, values):
        self.keys, self.values = keys, values


class MultiHeadAttention(nn.Module):
    def __init__(self, width, heads, dropout=0.0):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, score=None, cache=None):
        B, T, C = x.shape
        H, D = self.heads, C // self.heads
        q, k, v = self.qkv(x).split(C, dim=2)
        q, k, v = (one.view(B, T, H, D).transpose(1, 2) for one in (q, k, v))
        if cache is not None:
            k, v = torch.cat([cache.keys, k], 2), torch.cat([cache.values, v], 2)
        S = k.shape[2]
        scores = score(q, k) if score else q @ k.transpose(-2, -1) / math.sqrt(D)
        later = torch.ones(T, S, dtype=torch.bool).triu(1 + S - T)
        weights = scores.masked_fill(later, float("-inf")).softmax(-1)
        context = self.dropout(weights) @ v
        context = context.transpose(1, 2).reshape(B, T, C)
        return self.projection(context), Cache(k, v)
"""

MASKED = 'scores.masked_fill(later, float("-inf"))'
PRODUCT = "q @ k.transpose(-2, -1) / math.sqrt(D)"
WRONG = {  # name: the first check that fails, and what differs from the reference
    "no square root": ("check_matches_torch", {" / math.sqrt(D)": ""}),
    "root of the width": ("check_matches_torch", {"math.sqrt(D)": "math.sqrt(C)"}),
    "mask after softmax": ("check_matches_torch", {f"{MASKED}.softmax(-1)": "scores.softmax(-1).masked_fill(later, 0.0)"}),
    "no mask": ("check_matches_torch", {MASKED: "scores"}),
    "mask hides itself": ("check_matches_torch", {"triu(1 + S - T)": "triu(S - T)"}),
    "mask forgets the cache": ("check_cache", {"triu(1 + S - T)": "triu(1)"}),
    "softmax over queries": ("check_matches_torch", {"softmax(-1)": "softmax(-2)"}),
    "heads not split": ("check_matches_torch", {"one.view(B, T, H, D).transpose(1, 2)": "one.reshape(B, H, T, D)"}),
    "no projection": (
        "check_parameters",
        {"        self.projection = nn.Linear(width, width)\n": "", "self.projection(context)": "context"},
    ),
    "projection unused": ("check_matches_torch", {"self.projection(context)": "context"}),
    "no bias": ("check_parameters", {"3 * width)": "3 * width, bias=False)"}),
    "dropout in evaluation": ("check_modes", {"self.dropout(weights)": "F.dropout(weights, self.dropout.p)"}),
    "no dropout": ("check_modes", {"self.dropout(weights)": "weights"}),
    "detached weights": ("check_gradients", {"self.dropout(weights)": "self.dropout(weights.detach())"}),
    "score ignored": ("check_score", {"score(q, k) if score else ": ""}),
    "score without heads": ("check_score", {"score(q, k) if score": "score(q[:, 0], k[:, 0])[:, None] if score"}),
    "errors swallowed": (
        "check_score_that_fails",
        {
            f"        scores = score(q, k) if score else {PRODUCT}\n": "        try:\n            scores = score(q, k)\n"
            f"        except Exception:\n            scores = {PRODUCT}\n"
        },
    ),
    "stops at the cache": ("check_cache", {"cache.keys, k": "cache.key, k"}),
    "not written": ("check_shape", {"        B, T, C = x.shape\n": "        raise NotImplementedError\n"}),
    "no cache": ("check_shape", {"return self.projection(context), Cache(k, v)": "return self.projection(context)"}),
}

RIGHT = {
    "reference": {},
    "einsum": {
        "q @ k.transpose(-2, -1) / math.sqrt(D)": 'torch.einsum("bhtd,bhsd->bhts", q, k) * D**-0.5',
        "self.dropout(weights) @ v": 'torch.einsum("bhts,bhsd->bhtd", self.dropout(weights), v)',
    },
    "scaled_dot_product_attention": {
        '        weights = scores.masked_fill(later, float("-inf")).softmax(-1)\n': "",
        "        scores = score(q, k) if score else q @ k.transpose(-2, -1) / math.sqrt(D)\n": "",
        "context = self.dropout(weights) @ v": "p = self.dropout.p if self.training else 0.0\n        if score:\n"
        '            context = score(q, k).masked_fill(later, float("-inf")).softmax(-1) @ v\n'
        "        else:\n            context = F.scaled_dot_product_attention(q, k, v, ~later, p)",
    },
    "a cache that is a pair": {"Cache(k, v)": "(k, v)", "cache.keys": "cache[0]", "cache.values": "cache[1]"},
}


def edited(edits: dict[str, str]) -> str:
    source = REFERENCE
    for old, new in edits.items():
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in the reference"
        source = source.replace(old, new)
    return source


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def both_ways(source: str):
    direct = run_checks(define(source)["MultiHeadAttention"], CHECKS)
    across = []
    with in_process(source) as near:
        subject = near.lookup("MultiHeadAttention")
        assert isinstance(subject, Handle)
        for check in CHECKS:
            near.new_check()
            across += run_checks(subject, [check])
    return direct, across


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_module_passes_every_check_both_ways(name):
    direct, across = both_ways(edited(RIGHT[name]))
    assert [result.message for result in direct if not result.passed] == []
    assert across == direct


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_module_fails_the_same_checks_with_the_same_words_both_ways(name):
    first, edits = WRONG[name]
    direct, across = both_ways(edited(edits))
    assert next(result.name for result in direct if not result.passed) == first
    assert [(one.name, one.passed, one.message) for one in across] == [(one.name, one.passed, one.message) for one in direct]


def job(source: str) -> Job:
    """A notebook with one exercise, handed in with this source."""

    def notebook(answer: str):
        about = {"schema_version": 3, "locked": False, "task": False}
        solution = {"nbgrader": about | {"grade": False, "solution": True, "grade_id": "attention", "cell_type": "code"}}
        check = {"nbgrader": about | {"grade": True, "solution": False, "locked": True, "points": 13, "grade_id": "attention-hidden"}}
        cells = [nbformat.v4.new_code_cell(answer, metadata=solution), nbformat.v4.new_code_cell("# the checks", metadata=check)]
        return nbformat.writes(nbformat.v4.new_notebook(cells=cells))

    handed_in = base64.b64encode(notebook(source).encode()).decode()
    graded = {"attention-hidden": ("MultiHeadAttention", True, [check.__name__ for check in CHECKS])}
    checks = Path(attention_checks.__file__).read_text(encoding="utf-8")
    release = notebook("class MultiHeadAttention:\n    ...")
    return Job("a", "06_attention", handed_in, release, checks, "autograder.checks.attention", graded, Limits(), modules=("torch",))


@needs_walls
@pytest.mark.parametrize("edits", [{}, WRONG["softmax over queries"][1], WRONG["stops at the cache"][1]], ids=["right", "wrong", "stops"])
def test_a_judge_says_of_a_module_in_its_sandbox_what_the_checks_say_here(edits):
    source = edited(edits).strip()
    verdict = Verdict.from_json(run_job(to_json(job(source))))
    assert verdict.status == GRADED, verdict.message
    (part,) = verdict.parts
    direct = run_checks(define(source)["MultiHeadAttention"], CHECKS)
    assert [(one.name, one.passed, one.message) for one in part.results] == [(one.name, one.passed, one.message) for one in direct]
