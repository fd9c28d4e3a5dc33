"""What a check may ask of its subject beside calling it. It works alike on the object itself and on a proxy of it.

While work is graded, the student's code runs in a process of its own, and a check holds proxies of what stands there.
Plain values, arrays and tensors cross as copies. So a check never takes a module's parameters in hand to change them: it
gives them to `load_state_dict`; and it asks for gradients here, since no graph of a computation crosses.
"""

import importlib
from typing import Any

_PUBLIC = ("torch.", "numpy.", "transformers.", "tokenizers.", "sklearn.", "gensim.", "collections.", "random.")


class SubjectGone(BaseException):
    """What is checked can no longer be asked: its process has ended. No check may take this for a failure of its own."""


def gradients(function: Any, *inputs: Any, upstream: Any = None) -> tuple[Any, list[Any], dict[str, Any]]:
    """Gradients of the sum of `function(*inputs) * upstream`.

    function: a module or any callable; of a tuple that it returns the first element counts
    inputs: tensors (floating-point ones get gradients) or anything else; they are left as they are
    upstream: a tensor of the output's shape, by default ones
    Returns the output (a detached tensor), the gradient of each input (None where there is none), and, of a module,
    name -> gradient for each parameter that has one (name as in `named_parameters`).
    """
    bridge = getattr(type(function), "__bridge__", None)
    if bridge is not None:
        return bridge.gradients(function, inputs, upstream)
    import torch

    copies = [one.detach().clone().requires_grad_() if torch.is_tensor(one) and one.is_floating_point() else one for one in inputs]
    parameters = dict(function.named_parameters()) if isinstance(function, torch.nn.Module) else {}
    output = function(*copies)
    output = output[0] if isinstance(output, tuple) else output
    asked = [one for one in copies if torch.is_tensor(one) and one.requires_grad] + list(parameters.values())
    upstream = torch.ones_like(output) if upstream is None else upstream
    found = iter(torch.autograd.grad((output * upstream).sum(), asked, allow_unused=True))
    by_input = [next(found) if torch.is_tensor(one) and one.requires_grad else None for one in copies]
    by_parameter = {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
    return output.detach(), by_input, by_parameter


def make(subject: Any, name: str, *arguments: Any, **named: Any) -> Any:
    """An object of a public library where the subject is: `make(MyModel, "torch.nn.Linear", 3, 4)`.

    A check gives a student's code a module or an optimizer so: such an object cannot cross.
    """
    bridge = getattr(type(subject), "__bridge__", None)
    return public(name)(*arguments, **named) if bridge is None else bridge.make(name, arguments, named)


def public(name: str) -> Any:
    """The class or function of a public library with that dotted name. Others raise ValueError."""
    if not name.startswith(_PUBLIC):
        raise ValueError(f"{name} is in none of the libraries {', '.join(part.rstrip('.') for part in _PUBLIC)}")
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
