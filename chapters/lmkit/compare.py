"""What checks of several chapters say of a wrong result: what came out, what was expected, and which usual mistake gives it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmkit.check import answer_calls
from lmkit.subject import gradients

__all__ = ["alike", "ask", "assert_close", "assert_gradients", "numbers", "shown", "tensor", "whole_number"]

_VOWELS = ("a", "e", "i", "o", "nd")  # an ndarray
_PLAIN = Real | str | bytes | list | tuple | dict | set


def shown(got: Any) -> str:
    """A wrong result as a message shows it; of an object only its kind, which is the same on both sides of the bridge."""
    if got is None:
        return "None: `return` the result, do not print it"
    if got is ...:
        return "`...`: write your code in its place"
    name = type(got).__name__
    return f"{got!r:.100}" if isinstance(got, _PLAIN) else f"a{'n' * name.lower().startswith(_VOWELS)} {name}"


def ask(what: str, function: Callable, *arguments: Any) -> Any:
    """Call the function. An error of look-up or of arithmetic becomes an AssertionError: what was asked, and which line failed."""
    try:
        return function(*arguments)
    except (ArithmeticError, LookupError, UnicodeError) as error:
        calls = answer_calls(error, sys._getframe(1).f_code.co_filename)
        where = f", in line {calls[-1][1]} of its cell: {calls[-1][2]}" if calls and calls[-1][2] else ""
        raise AssertionError(f"{what} stopped with {type(error).__name__}: {error!s:.120}{where}") from None


def whole_number(what: str, got: Any, want: int, slips: Sequence[tuple[int, str]] = ()) -> None:
    """AssertionError unless `got` is the whole number `want`, of whatever type.

    slips: what a usual mistake gives, and what to say of it.
    """
    assert not isinstance(got, bool), f"{what}: expected a whole number, got {shown(got)}"
    try:
        number = int(got)
    except (TypeError, ValueError, OverflowError):
        raise AssertionError(f"{what}: expected a whole number, got {shown(got)}") from None
    assert number == got, f"{what}: expected a whole number, {want:,}, got {shown(got)}"
    known = [f": {advice}" for slip, advice in slips if slip == number]
    assert number == want, f"{what}: got {number:,}, expected {want:,}{''.join(known[:1])}"


def numbers(what: str, got: Any, length: int, shape: str) -> np.ndarray:
    """What a model returned, as an array of shape (length,). Else AssertionError.

    shape: how a message names that shape, and what the numbers are.
    """
    assert got is not None, f"{what}: expected an array of shape {shape}, got {shown(got)}"
    try:
        values = np.asarray(got.detach() if isinstance(got, Tensor) else got, dtype=float)
    except RuntimeError:  # a list of tensors with their graph
        raise AssertionError(f"{what}: these numbers still carry a graph for gradients: compute them in `with torch.no_grad():`") from None
    except (TypeError, ValueError):  # a dictionary, a generator, rows of different lengths
        raise AssertionError(f"{what}: expected an array of shape {shape}, got a {type(got).__name__}") from None
    assert values.shape == (length,), f"{what}: expected the shape {shape}, got {values.shape}"
    return values


def tensor(what: str, got: Any, shape: tuple[int, ...], letters: str = "") -> Tensor:
    """A tensor that an answer returned, without its graph: of this shape, floating point. Else AssertionError.

    what: what was called, for the message. letters: how the shape is called, such as "(B, T, C)".
    """
    expected = f"a tensor of shape {f'{letters} = ' if letters else ''}{shape}"
    assert isinstance(got, Tensor), f"{what}: expected {expected}, got {shown(got)}{_way_to_tensor(got)}"
    assert tuple(got.shape) == shape, f"{what}: expected {expected}, got the shape {tuple(got.shape)}"
    assert got.is_floating_point(), f"{what}: expected floating-point numbers, got {got.dtype}"
    return got.detach()


def _way_to_tensor(got: Any) -> str:
    if isinstance(got, np.ndarray):
        return ": compute with tensors to the end; an array carries no gradient"
    if not isinstance(got, list | tuple):
        return ""
    if any(isinstance(one, Tensor) for one in got):
        return ": join its tensors with torch.stack(…) or torch.cat(…); torch.tensor(…) would lose their gradients"
    return ": make it one with torch.tensor(…)"


def assert_close(what: str, got: Tensor, want: Tensor, slips: Sequence[tuple[Any, str]] = (), tolerance: float = 1e-6) -> None:
    """Compare two tensors of one shape. slips: pairs (what a usual mistake gives, what to say of it); the first that fits is said.

    A number may differ by `tolerance`, and by as much of its size. Errors: AssertionError that names the first place where they differ.
    """
    wrong = ~torch.isclose(got.double(), want.double(), rtol=tolerance, atol=tolerance)
    if not wrong.any():
        return
    place = tuple(torch.nonzero(wrong)[0].tolist())
    known = [f": {advice}" for slip, advice in slips if alike(got, slip)]
    where = f" at {place[0] if len(place) == 1 else place}" if place else ""
    digits = 4 if abs(got[place] - want[place]) > 1e-3 or not got[place].isfinite() else 8
    raise AssertionError(f"{what}{where}: got {got[place]:.{digits}f}, expected {want[place]:.{digits}f}{''.join(known[:1])}")


def assert_gradients(
    what: str,
    subject: Callable,
    oracle: Callable,
    given: Sequence[Any],
    names: Sequence[str],
    upstream: Tensor,
    parameters: Mapping[str, str] | None = None,
    of_oracle: Sequence[Any] | None = None,
) -> None:
    """Compare an answer's gradients of its first inputs and of its parameters with an oracle's. Errors: AssertionError.

    given: what the answer is called with; of_oracle: what the oracle is, where that is something else. names: of the first inputs.
    upstream: as for `gradients`. parameters: name -> the oracle's name for it; by default all that the oracle has, by its names.
    """
    _, by_input, by_parameter = gradients(subject, *given, upstream=upstream)
    _, want_input, want_parameter = gradients(oracle, *(given if of_oracle is None else of_oracle), upstream=upstream)
    known = {name: name for name in want_parameter} if parameters is None else parameters
    pairs = [*zip(names, by_input, want_input, strict=False)]
    pairs += [(mine, by_parameter.get(mine), want_parameter[theirs]) for mine, theirs in known.items()]
    for name, got, want in pairs:
        if want is None:  # ids, masks
            continue
        lost = "no gradient reaches it; is there a .detach(), a torch.tensor(…) or a no_grad on the way?"
        assert got is not None, f"{what}: the gradient of {name} is missing: {lost}"
        bad = ", as 0 · inf and inf - inf give on the way back, also where the way forward hides it"
        assert got.isfinite().all(), f"{what}: the gradient of {name} holds nan or inf{bad}"
        assert_close(f"{what}: the gradient of {name}", got, want)


def alike(got: Tensor, slip: Any) -> bool:
    """Whether a result is what a usual mistake gives, to four digits."""
    slip = torch.as_tensor(slip, dtype=torch.float64)
    return got.shape == slip.shape and torch.allclose(got.double(), slip, rtol=1e-3, atol=1e-4)
