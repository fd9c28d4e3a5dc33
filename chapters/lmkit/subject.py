"""What a check may ask of its subject beside calling it; a guide to writing checks that work on both sides.

In a notebook and in tests a check runs on the object itself. While work is graded, the student's code runs in a process of
its own, and a check holds proxies ("handles") of what stands there. Both must give the same verdict. So a check keeps to this:

1.  Give numbers, text, lists, dictionaries, arrays, tensors, generators, functions. They cross as copies, and come back so.
2.  What a call changes in a list, array or generator that it was given is changed in the check's own, also when an object kept
    it and a later call changes it (the latest 16 small ones of a check). What the check changes itself is not told over there:
    give a generator away, or draw from it, not both.
3.  Say what you expect before you call, from values that you do not hand over: a call may change what it is given.
4.  A module, a model, an iterator stays there. Call it, use its methods, attributes, len(), [], in, iteration; set attributes;
    hand it back. Do not ask isinstance() of it, compare it with ==, or do arithmetic with it: ask for its plain values.
5.  `list(module.parameters())` are copies: look at them. To set weights use `load_state_dict`, or assign an `nn.Parameter`.
    Give an optimizer the handle: `make(Model, "torch.optim.SGD", model.parameters(), 0.1)`.
6.  No graph of a computation crosses: ask `gradients`, and never `backward` on a result. `torch.no_grad()` around a call holds.
7.  A library's function or class (`torch.tanh`, `nn.GELU`, `max`) crosses as itself, and gradients flow through it. A function of
    the check's own is called back, with copies: no gradient flows through it, and what it changes in them stays here.
8.  A library's object (`nn.Linear(3, 4)`, a configuration, an optimizer) cannot cross: `make` it there.
9.  Random numbers that no generator is passed for (dropout, initial weights): `make(Model, "torch.manual_seed", 0)` seeds them there.
10. An exception has its built-in kind and its text; catch built-in kinds only. Threads, files and the network are not shared.
11. Every call crosses twice (about 0.2 ms), every byte, too: ask for a batch, not for each token.
"""

import importlib
import sys
from typing import Any

_SHARED = ("builtins", "collections", "copy", "functools", "itertools", "math", "operator", "random")
_SHARED += ("gensim", "numpy", "sklearn", "tokenizers", "torch", "transformers")
_HOMES = ("torch", "torch.nn.functional", "numpy", "math")  # where functions stand that do not say where


class SubjectGone(BaseException):
    """What is checked can no longer be asked: its process has ended. No check may take this for a failure of its own."""


def gradients(function: Any, *inputs: Any, upstream: Any = None) -> tuple[Any, list[Any], dict[str, Any]]:
    """Gradients of the sum of `function(*inputs) * upstream`.

    function: a module, a method of one, or any callable; of a tuple that it returns the first element counts
    inputs: tensors (floating-point ones get gradients) or anything else; they are left as they are
    upstream: a tensor of the output's shape, by default ones
    Returns the output (a detached tensor), the gradient of each input (None where there is none), and, of a module or its
    method, name -> gradient for each parameter that has one (name as in `named_parameters`).
    """
    bridge = getattr(type(function), "__bridge__", None)
    if bridge is not None:
        return bridge.gradients(function, inputs, upstream)
    import torch

    copies = [one.detach().clone().requires_grad_() if torch.is_tensor(one) and one.is_floating_point() else one for one in inputs]
    module = getattr(function, "__self__", function)
    trained = {name: one for name, one in module.named_parameters() if one.requires_grad} if isinstance(module, torch.nn.Module) else {}
    with torch.enable_grad():
        output = function(*copies)
        output = output[0] if isinstance(output, tuple) else output
        total = (output if upstream is None else output * upstream).sum()
    asked = [one for one in copies if torch.is_tensor(one) and one.requires_grad] + list(trained.values())
    found = iter(torch.autograd.grad(total, asked, allow_unused=True))
    by_input = [next(found) if torch.is_tensor(one) and one.requires_grad else None for one in copies]
    by_parameter = {name: gradient for name, gradient in zip(trained, found, strict=True) if gradient is not None}
    return output.detach(), by_input, by_parameter


def find(subject: Any, name: str) -> Any:
    """A public library's function or class where the subject is: `find(MyModel, "transformers.BertModel").from_pretrained(folder)`."""
    bridge = getattr(type(subject), "__bridge__", None)
    return public(name) if bridge is None else bridge.find(name)


def make(subject: Any, name: str, *arguments: Any, **named: Any) -> Any:
    """What a public library's function or class makes where the subject is: `make(MyModel, "torch.nn.Linear", 3, 4)`.

    A check gives a student's code a module, a configuration or an optimizer so: such an object cannot cross.
    """
    return find(subject, name)(*arguments, **named)


def public(name: str) -> Any:
    """The function or class of a public library, or of lmkit, with that dotted name. Others raise ValueError."""
    if name.partition(".")[0] not in (*_SHARED, "lmkit"):
        raise ValueError(f"{name} is in none of the libraries {', '.join(_SHARED)}, lmkit")
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def public_name(value: Any) -> str | None:
    """The dotted name under which `public` finds this function or class of a library; None where there is none.

    Functions of lmkit have none: they run where the check is, as the check's own do.
    """
    name = getattr(value, "__name__", None)
    homes = (getattr(value, "__module__", None), *_HOMES) if isinstance(name, str) else ()
    for home in homes:
        if isinstance(home, str) and home.partition(".")[0] in _SHARED and getattr(sys.modules.get(home), name, None) is value:
            return f"{home}.{name}"
    return None
