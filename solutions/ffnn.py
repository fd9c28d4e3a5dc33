"""Chapter 3, feed-forward language models: windows, the forward pass, gradients by hand, training and measuring."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Params = dict[str, Tensor]  # E (V, C), W ((n-1) C, M), b (M,), U (M, V), c (V,)


def windows(paragraphs: list[list[int]], n: int, end: int) -> tuple[Tensor, Tensor]:
    """Cut paragraphs into histories and the tokens that follow them.

    n >= 2 -> histories (N, n - 1), targets (N,), both int64

    A paragraph is a list of token ids without its end token; it may be empty. It is read as
    n - 1 end tokens, its own tokens, and one end token. Each token of the paragraph, and the
    end token behind it, is the target of one window; the history holds the n - 1 tokens
    before it, oldest first. No window reaches from one paragraph into the next. Windows
    stand in the order of the text. No paragraphs give tensors of shape (0, n - 1) and (0,).
    The paragraphs are not changed.
    """
    histories, targets = [], []
    for paragraph in paragraphs:
        tokens = [end] * (n - 1) + list(paragraph) + [end]
        for i in range(n - 1, len(tokens)):
            histories.append(tokens[i - n + 1 : i])
            targets.append(tokens[i])
    return torch.tensor(histories, dtype=torch.int64).reshape(-1, n - 1), torch.tensor(targets, dtype=torch.int64)


def log_softmax(logits: Tensor) -> Tensor:
    """ln of the softmax over the last dimension.   (..., V) -> (..., V)

    Any number of dimensions, at least one; float32 or float64, and the result has the same
    type. Each row, along the last dimension, holds at least one finite logit. A logit of
    -inf gives -inf and takes nothing from the others. Finite logits give finite results,
    however far apart they are: nothing overflows, and no probability is rounded to 0 before
    its logarithm is taken. The input is not changed.
    """
    shifted = logits - logits.amax(dim=-1, keepdim=True)  # the largest is 0, so its exponential is 1
    return shifted - shifted.exp().sum(dim=-1, keepdim=True).log()


def initialise(V: int, n: int, C: int, M: int, generator: torch.Generator) -> Params:
    """Draw the parameters of a window model.

    -> {"E": (V, C), "W": ((n-1) C, M), "b": (M,), "U": (M, V), "c": (V,)}, floating point

    b and c are zeros. The others are normal with mean 0, and these standard deviations: E
    has 0.3; W has the one that gives the numbers of x W the variance of those of x, where x
    are n - 1 rows of E; U has the one that would give each logit the standard deviation 0.1
    if every number of h were 1 or -1. All chance comes from the generator.
    Source, for W: LeCun et al. 1998, section 4.6.
    """
    width = (n - 1) * C
    return {
        "E": torch.randn(V, C, generator=generator) * 0.3,
        "W": torch.randn(width, M, generator=generator) / math.sqrt(width),
        "b": torch.zeros(M),
        "U": torch.randn(M, V, generator=generator) * 0.1 / math.sqrt(M),
        "c": torch.zeros(V),
    }


def forward(params: Params, histories: Tensor) -> Tensor:
    """Logits of the next token.   histories: (B, n - 1) int64, B >= 1 -> (B, V)

    x: the rows of E of the n - 1 tokens one behind the other, oldest first; h = tanh(x W + b);
    the logits are h U + c. They have the parameters' type; nothing that is given is changed.
    Source: Bengio et al. 2003, section 2, without direct connections.
    """
    B = len(histories)
    x = params["E"][histories].reshape(B, -1)  # (B, (n-1) C)
    h = torch.tanh(x @ params["W"] + params["b"])  # (B, M)
    return h @ params["U"] + params["c"]  # (B, V)


def loss_and_gradients(params: Params, histories: Tensor, targets: Tensor) -> tuple[float, Params]:
    """Mean cross-entropy of a batch, and its derivatives with respect to every parameter.

    histories: (B, n - 1) int64; targets: (B,) int64; B >= 1 -> loss, name -> gradient

    The loss is the mean of -ln p(target) over the B windows, in natural units: a float, or a
    tensor of one element. The gradients have the names and shapes of the parameters. E's is
    a whole (V, C) tensor: a row whose token is in no history is 0, and a token that stands
    in several places gets the sum of what comes from each. Logits may be large. Worked out
    by hand: autograd is switched off. Nothing that is given is changed, and nothing is kept
    from call to call.
    """
    E, W, b, U, c = (params[name] for name in ("E", "W", "b", "U", "c"))
    B, row = len(targets), torch.arange(len(targets))
    x = E[histories].reshape(B, -1)  # (B, (n-1) C)
    h = torch.tanh(x @ W + b)  # (B, M)
    log_p = torch.log_softmax(h @ U + c, dim=-1)  # (B, V)
    loss = -log_p[row, targets].mean()

    d_logits = log_p.exp()
    d_logits[row, targets] -= 1
    d_logits /= B
    d_sum = (d_logits @ U.T) * (1 - h**2)  # (B, M)
    d_x = (d_sum @ W.T).reshape(-1, E.shape[1])  # (B (n-1), C): one row for each place in a history
    d_E = torch.zeros_like(E).index_add_(0, histories.flatten(), d_x)
    return loss.item(), {"E": d_E, "W": x.T @ d_sum, "b": d_sum.sum(0), "U": h.T @ d_logits, "c": d_logits.sum(0)}


def train(
    params: Params,
    histories: Tensor,
    targets: Tensor,
    loss_and_gradients: Callable[[Params, Tensor, Tensor], tuple[float, Params]],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
) -> list[float]:
    """Mini-batch gradient descent; returns the loss of every step.

    histories: (N, ...), targets: (N,), N >= 1; epochs >= 0, batch_size >= 1

    An epoch takes every window once, in a random order that is drawn from the generator
    anew for each epoch, batch_size of them a step; the last batch of an epoch is smaller
    where N is no multiple of batch_size. A step calls loss_and_gradients(params, histories
    of the batch, targets of the batch) once, appends the loss to the result, and subtracts
    learning_rate * gradient from each parameter. The dictionary that was given holds the
    trained parameters in the end; whether its tensors are changed or new ones put in does
    not matter. The windows and the gradients are not changed. epochs = 0 gives [] and changes
    nothing. The dictionary may hold any names.
    """
    losses = []
    for _ in range(epochs):
        for batch in torch.randperm(len(targets), generator=generator).split(batch_size):
            loss, gradients = loss_and_gradients(params, histories[batch], targets[batch])
            losses.append(float(loss))
            for name, gradient in gradients.items():
                params[name] -= learning_rate * gradient
    return losses


class LanguageModel:
    """A window model trained on text and measured on held-out text: reach 2.7 bits per byte or less.

    After training, `params` holds the parameters E, W, b, U, c, with the shapes of `initialise`, and
    `n` the order of the model, from 2 to 10. Nothing else decides what the two methods return: the
    model is h = tanh(x W + b), logits h U + c, where the n - 1 tokens before the predicted one make
    x, with end tokens before the start of the paragraph.
    """

    def __init__(self, paragraphs: list[list[int]], V: int, end: int, generator: torch.Generator):
        """Draw the parameters and train them, in at most 30 seconds.   paragraphs: token ids without end tokens

        All chance comes from the generator: the same seed, the same model. The time grows
        with the text: a sixteenth of the paragraphs takes little more than a sixteenth of it.
        """
        self.n, self.end = 3, end
        self.params = initialise(V, self.n, 32, 32, generator)
        histories, targets = windows(paragraphs[::3], self.n, end)  # a third of the text is enough here
        train(self.params, histories, targets, loss_and_gradients, 1, 128, 3.0, generator)

    def log_probs(self, paragraph: list[int]) -> list[float]:
        """Natural log-probability of each token and of the end token behind the last.

        len(paragraph) + 1 floats, list, array or tensor
        """
        histories, targets = windows([paragraph], self.n, self.end)
        return log_softmax(forward(self.params, histories))[torch.arange(len(targets)), targets].tolist()

    def next_probabilities(self, history: tuple[int, ...]) -> np.ndarray:
        """P of every token after the history.

        history: all tokens of the paragraph so far, () at its start -> (V,), sums to one, array or tensor
        """
        padded = [self.end] * (self.n - 1) + list(history)
        logits = forward(self.params, torch.tensor([padded[len(history) :]]))
        return log_softmax(logits)[0].exp().numpy()
