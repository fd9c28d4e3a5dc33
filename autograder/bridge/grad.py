"""Whether torch records gradients crosses with every call: `with torch.no_grad():` around a call holds on both sides."""

import contextlib
import sys
from contextlib import AbstractContextManager


def is_differentiating() -> bool:
    """Whether torch records what is computed now; True where nobody imported torch."""
    torch = sys.modules.get("torch")
    return torch is None or not hasattr(torch, "is_grad_enabled") or torch.is_grad_enabled()


def differentiating(yes: bool) -> AbstractContextManager:
    """What runs within is recorded for gradients, or not."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_grad_enabled") or torch.is_grad_enabled() == yes:
        return contextlib.nullcontext()
    return torch.set_grad_enabled(yes)
