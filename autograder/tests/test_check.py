"""The runner of checks: what it prints, what it returns, and what never costs points."""

import linecache
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lmkit.check import hidden, run, run_checks, visible
from lmkit.compare import tensor
from lmkit.subject import gradients


@visible(points=1)
def check_two(double):
    """Two becomes four."""
    got = double(2)
    assert got == 4, f"double(2) is {got}, expected 4"


@hidden(points=0.5)
def check_zero(double):
    assert double(0) == 0, "double(0) is 0"


def test_a_right_answer_earns_all_points_as_a_plain_float(capsys):
    earned = run("double", {"double": lambda x: 2 * x}, [check_two, check_zero])
    assert earned == 1.5
    assert type(earned) is float
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["✔ passed  Two becomes four  (1 point)", "✔ passed  zero  (0.5 points)", "1.5 of 1.5 points"]


def test_a_wrong_answer_keeps_the_points_of_the_checks_that_pass(capsys):
    assert run("double", {"double": lambda x: x * x * x}, [check_two, check_zero]) == 0.5
    printed = capsys.readouterr().out
    assert "✘ failed  Two becomes four  (1 point)" in printed
    assert "double(2) is 8, expected 4" in printed


def test_an_unwritten_answer_says_so(capsys):
    def double(x):
        raise NotImplementedError()

    assert run("double", {"double": double}, [check_two, check_zero]) == 0.0
    assert "double is not written yet" in capsys.readouterr().out


CELL = """
def helper(x):
    raise NotImplementedError()

class Model:
    def score(self, x):
        return {}[x]

def double(x):
    return helper(x) if x else Model().score(x)

def half(x):
    return None

def check_myself(x):
    assert x > 1
    return x
"""


def test_an_error_names_the_students_own_function_and_line():
    """Cells of a notebook run under file names that hold "ipykernel"; the lines come from linecache, as there."""
    name = "/tmp/ipykernel_1/1.py"
    linecache.cache[name] = (len(CELL), None, CELL.splitlines(keepends=True), name)
    cell = {}
    exec(compile(CELL, name, "exec"), cell)
    unwritten, broken = run_checks(cell["double"], [check_two, check_zero])
    assert unwritten.message == "helper is not written yet"
    assert broken.message == "Model.score stopped with KeyError: 0, in line 7 of its cell: return {}[x]"

    @visible(points=1)
    def check_sum(half):
        assert half(1) + 1 == 2

    unusable = run_checks(cell["half"], [check_sum])[0].message
    assert unusable.startswith("half took or returned something that the check could not use (TypeError: unsupported operand")

    @visible(points=1)
    def check_own(check_myself):
        assert check_myself(1) == 1, "wrong"

    own = run_checks(cell["check_myself"], [check_own])[0].message
    assert own == "check_myself stopped with AssertionError, in line 16 of its cell: assert x > 1"


def test_a_result_cut_off_from_its_gradients_says_so():
    @visible(points=1)
    def check_flow(double):
        gradients(double, torch.ones(2))

    told = run_checks(lambda x: x.detach(), [check_flow])[0].message
    assert told == "double: the result has no gradient at all: is there a .detach(), a torch.tensor(…) or a no_grad on the way?"


def test_a_module_without_forward_is_no_unwritten_one():
    class Double(nn.Module):
        def foward(self, x):
            return 2 * x

    assert "double: its module has no method `forward`; is the name spelt so" in run_checks(Double(), [check_two])[0].message


@pytest.mark.parametrize(
    ("got", "told"),
    [
        (..., "got `...`: write your code in its place"),
        (np.zeros(2), "got an ndarray: compute with tensors to the end; an array carries no gradient"),
        ([torch.zeros(2)], "join its tensors with torch.stack(…)"),
        ([1.0, 2.0], "got [1.0, 2.0]: make it one with torch.tensor(…)"),
        (nn.Tanh(), "got a Tanh"),
    ],
)
def test_what_is_no_tensor_is_told_how_to_become_one(got, told):
    with pytest.raises(AssertionError, match=re.escape(told)):
        tensor("it", got, (2,))


def test_a_missing_answer_says_which_cell_to_run(capsys):
    assert run("double", {}, [check_two]) == 0.0
    assert "double is not defined: run the cell above" in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyError("no"), SystemExit(1), RecursionError("deep"), MemoryError()])
def test_an_exception_costs_its_own_check_only(error):
    def double(x):
        if x:
            raise error
        return 0

    first, second = run_checks(double, [check_two, check_zero])
    assert not first.passed
    assert type(error).__name__ in first.message
    assert second.passed


def test_an_assertion_without_words_still_has_a_message():
    @visible(points=1)
    def check_silent(double):
        raise AssertionError

    assert run_checks(1, [check_silent])[0].message == "check_silent failed"


def test_an_interrupt_is_not_swallowed():
    def double(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks(double, [check_two])


NOISY = """
import logging, os, sys, warnings
from lmkit.check import run, visible

handler = logging.StreamHandler(sys.stderr)

@visible(points=1)
def check_two(double):
    assert double(2) == 4

def double(x):
    warnings.warn("a warning of the student's code")
    print("to standard error", file=sys.stderr)
    os.write(2, b"to descriptor 2")
    os.system("echo from a child >&2")
    return 2 * x

print(run("double", globals(), [check_two]))
print("still there", file=sys.stderr)
"""


def test_standard_error_and_warnings_reach_standard_output():
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, check=True)
    assert done.stderr == "still there\n"
    for part in ("a warning of the student's code", "to standard error", "passed  two", "1.0"):
        assert part in done.stdout


def test_no_checks_earn_nothing():
    assert run("double", {"double": len}, []) == 0.0


@pytest.mark.parametrize("points", [math.nan, math.inf, -1, "one"])
def test_points_must_be_finite_numbers(points):
    with pytest.raises(ValueError, match="points must be a finite number"):
        visible(points=points)


def test_a_check_takes_one_argument():
    with pytest.raises(ValueError, match="takes 2 arguments"):

        @visible(points=1)
        def check_both(a, b): ...
