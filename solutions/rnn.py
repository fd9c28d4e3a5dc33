"""Chapter 5, recurrent networks: RNN, LSTM and GRU layers, clipping, truncated backpropagation, sampling and measuring."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = Tensor | tuple[Tensor, Tensor]  # what a recurrent layer hands on: (1, B, M), and two of them for an LSTM
Model = Callable[[Tensor, State | None], tuple[Tensor, State]]  # ids (B, T), state -> logits (B, T, V), state


def draw(shape: tuple[int, ...], M: int, generator: torch.Generator) -> nn.Parameter:
    """A parameter of this shape, drawn evenly between -1/√M and 1/√M, as torch's recurrent layers draw theirs."""
    return nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(M))


class RNN(nn.Module):
    """A recurrent layer, the same as nn.RNN(C, M, batch_first=True).

    h_t = tanh(x_t weight_ih_l0ᵀ + bias_ih_l0 + h_{t-1} weight_hh_l0ᵀ + bias_hh_l0)
    Source: Elman 1990.
    """

    def __init__(self, C: int, M: int, generator: torch.Generator):
        """Make the four parameters with `draw`, all from the generator.

        weight_ih_l0 (M, C), weight_hh_l0 (M, M), bias_ih_l0 (M,), bias_hh_l0 (M,)
        """
        super().__init__()
        self.weight_ih_l0 = draw((M, C), M, generator)
        self.weight_hh_l0 = draw((M, M), M, generator)
        self.bias_ih_l0 = draw((M,), M, generator)
        self.bias_hh_l0 = draw((M,), M, generator)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read x step by step.   x: (B, T, C), T >= 1; state: (1, B, M), zeros where it is None -> (B, T, M), (1, B, M)

        Returns h_1, ..., h_T of each row, and h_T as the state from which a later call goes on.
        All numbers have the type of x; nothing that is given is changed. Gradients flow through every step.
        """
        (B, T, _), M = x.shape, self.weight_hh_l0.shape[1]
        h = x.new_zeros(B, M) if state is None else state[0]
        outputs = []
        for t in range(T):
            h = torch.tanh(x[:, t] @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T + self.bias_hh_l0)
            outputs.append(h)
        return torch.stack(outputs, dim=1), h[None]


class LSTM(nn.Module):
    """A layer with a cell state, the same as nn.LSTM(C, M, batch_first=True).

    The rows of weights and biases belong to the gates i, f, g, o, in this order, M rows to each.
    Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000 (the forget gate).
    """

    def __init__(self, C: int, M: int, generator: torch.Generator):
        """Make the four parameters with `draw`, all from the generator.

        weight_ih_l0 (4M, C), weight_hh_l0 (4M, M), bias_ih_l0 (4M,), bias_hh_l0 (4M,)
        """
        super().__init__()
        self.weight_ih_l0 = draw((4 * M, C), M, generator)
        self.weight_hh_l0 = draw((4 * M, M), M, generator)
        self.bias_ih_l0 = draw((4 * M,), M, generator)
        self.bias_hh_l0 = draw((4 * M,), M, generator)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Read x step by step.   x: (B, T, C), T >= 1 -> (B, T, M), (h_T, c_T)

        state: the pair (h_0, c_0), each (1, B, M); zeros where it is None. Returns h_1, ..., h_T of each row, and the pair
        (h_T, c_T), each (1, B, M), from which a later call goes on.
        All numbers have the type of x; nothing that is given is changed. Gradients flow through every step.
        """
        (B, T, _), M = x.shape, self.weight_hh_l0.shape[1]
        h, c = (x.new_zeros(B, M), x.new_zeros(B, M)) if state is None else (state[0][0], state[1][0])
        outputs = []
        for t in range(T):
            gates = x[:, t] @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T + self.bias_hh_l0  # (B, 4M)
            i, f, g, o = gates.chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h[None], c[None])


class GRU(nn.Module):
    """A layer with a reset and an update gate, the same as nn.GRU(C, M, batch_first=True).

    The rows of weights and biases belong to r, z, n, in this order, M rows to each. The reset gate r multiplies what
    comes from the state, after its matrix and its bias: n = tanh(from x + r * (from h)).
    Source: Cho et al. 2014, with the reset gate where torch has it.
    """

    def __init__(self, C: int, M: int, generator: torch.Generator):
        """Make the four parameters with `draw`, all from the generator.

        weight_ih_l0 (3M, C), weight_hh_l0 (3M, M), bias_ih_l0 (3M,), bias_hh_l0 (3M,)
        """
        super().__init__()
        self.weight_ih_l0 = draw((3 * M, C), M, generator)
        self.weight_hh_l0 = draw((3 * M, M), M, generator)
        self.bias_ih_l0 = draw((3 * M,), M, generator)
        self.bias_hh_l0 = draw((3 * M,), M, generator)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read x step by step.   x: (B, T, C), T >= 1; state: (1, B, M), zeros where it is None -> (B, T, M), (1, B, M)

        Returns h_1, ..., h_T of each row, and h_T as the state from which a later call goes on.
        All numbers have the type of x; nothing that is given is changed. Gradients flow through every step.
        """
        (B, T, _), M = x.shape, self.weight_hh_l0.shape[1]
        h = x.new_zeros(B, M) if state is None else state[0]
        outputs = []
        for t in range(T):
            r_x, z_x, n_x = (x[:, t] @ self.weight_ih_l0.T + self.bias_ih_l0).chunk(3, dim=1)
            r_h, z_h, n_h = (h @ self.weight_hh_l0.T + self.bias_hh_l0).chunk(3, dim=1)
            r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
            n = torch.tanh(n_x + r * n_h)
            h = (1 - z) * n + z * h
            outputs.append(h)
        return torch.stack(outputs, dim=1), h[None]


def clip_gradients(gradients: Sequence[Tensor], largest: float) -> float:
    """Shrink gradients together, in place, so that their norm is at most `largest`; return the norm they had before.

    gradients: a list or tuple of floating-point tensors of any shapes, finite; largest > 0

    The norm is that of all numbers of all tensors together, as if they were one long vector. Where it is above `largest`
    every number is multiplied by largest / norm; else nothing is changed. The tensors themselves change: an optimizer
    holds them. No tensors, or only zeros, have the norm 0. Returns a float, or a tensor of one element.
    Source: Pascanu, Mikolov & Bengio 2013, section 3.2.
    """
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
    if norm > largest:
        for gradient in gradients:
            gradient.mul_(largest / norm)
    return norm


def bptt_batches(tokens: Tensor, B: int, T: int) -> list[tuple[Tensor, Tensor]]:
    """Cut one long text into pieces for truncated backpropagation through time.

    tokens: (N,) int64; B >= 1 rows, T >= 1 places a piece -> pairs (inputs, targets), each (B, T) int64, the last may be shorter

    Every row reads a stretch of L = (N - 1) // B tokens: row b those from b L on. The target of a token is the one behind
    it in the text. A piece holds the next T places of all rows, so that row b of a piece goes on where row b of the piece
    before stopped; the last holds what is left, 1 to T places. Targets and inputs behind the last stretch are left out.
    Fewer than B + 1 tokens give no piece. The tokens are not changed.
    """
    length = (len(tokens) - 1) // B
    if length < 1:
        return []
    inputs = tokens[: B * length].reshape(B, length)
    targets = tokens[1 : B * length + 1].reshape(B, length)
    return list(zip(inputs.split(T, dim=1), targets.split(T, dim=1), strict=True))


def generate(model: Model, prompt: list[int], max_tokens: int, temperature: float, end: int, generator: torch.Generator) -> list[int]:
    """Continue a prompt token by token, with the state carried on; return the new tokens only.

    model: ids (1, T) int64, state -> logits (1, T, V), state; the state is None for the first ids, and can be anything after that

    The model reads the end token, the prompt and the new tokens, each once and in this order: a call gets the ids that were not
    read yet, and the state that the call before returned. The logits at the last place are those of the next token. At a
    temperature above 0 it is drawn from softmax(logits / temperature) with the generator; at 0 the most likely token is
    taken, of equally likely ones the lowest id. The temperature is 0 or at least 0.001. Stops after max_tokens new tokens (0 gives []),
    or when the end token comes up; the end token is not returned. A logit may be -inf: that token is never drawn. The prompt
    may be empty, and is not changed. Returns a list of ints.
    """
    new: list[int] = []
    unread, state = [end, *prompt], None
    while len(new) < max_tokens:
        with torch.no_grad():
            logits, state = model(torch.tensor([unread]), state)
        if temperature == 0:
            token = int(logits[0, -1].argmax())
        else:
            token = int(torch.multinomial(F.softmax(logits[0, -1] / temperature, dim=0), 1, generator=generator))
        if token == end:
            break
        new.append(token)
        unread = [token]
    return new


class RecurrentLM(nn.Module):
    """A recurrent language model: the vector of each token, a recurrent layer, and logits = h U + c.

    Trained for 400 steps, reach 2.95 bits per byte with an RNN and 2.8 with an LSTM, both with C = M = 64.
    """

    def __init__(self, layer: nn.Module, V: int, C: int, M: int, end: int, generator: torch.Generator):
        """Keep the layer, and draw the other parameters from the generator.

        layer: (B, T, C), state or None -> (B, T, M), state; such as nn.RNN(C, M, batch_first=True), or your own
        Parameters: E (V, C), U (M, V), c (V,), and those of the layer under the name `layer`.
        """
        super().__init__()
        self.layer, self.end = layer, end
        self.E = nn.Parameter(torch.randn(V, C, generator=generator) * 0.3)
        self.U = nn.Parameter(torch.randn(M, V, generator=generator) * 0.1 / math.sqrt(M))
        self.c = nn.Parameter(torch.zeros(V))

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits of the token behind each place, and the layer's state.   ids: (B, T) int64 -> (B, T, V), state"""
        outputs, state = self.layer(self.E[ids], state)
        return outputs @ self.U + self.c, state

    def fit(self, paragraphs: list[list[int]], steps: int, generator: torch.Generator) -> None:
        """Train all parameters, with `steps` updates on at most 512 places each.   paragraphs: token ids without end tokens

        400 steps with C = M = 64 take at most 30 seconds. All chance comes from the generator.
        """
        pieces = bptt_batches(torch.tensor([token for paragraph in paragraphs for token in (self.end, *paragraph)]), 16, 16)
        optimizer, state = torch.optim.AdamW(self.parameters(), lr=0.02), None
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=max(steps, 20), pct_start=0.1)
        for step in range(steps):
            inputs, targets = pieces[step % len(pieces)]
            logits, state = self(inputs, state)
            optimizer.zero_grad()
            F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
            clip_gradients([parameter.grad for parameter in self.parameters()], 1.0)
            optimizer.step()
            schedule.step()
            kept = torch.rand(1, 16, 1, generator=generator) >= 0.1  # some rows start again: a paragraph will start with zeros
            state = tuple(one.detach() * kept for one in state) if isinstance(state, tuple) else state.detach() * kept

    def log_probs(self, paragraph: list[int]) -> list[float]:
        """Natural log-probability of each token and of the end token behind the last; the model reads the end token first.

        len(paragraph) + 1 floats, list, array or tensor
        """
        with torch.no_grad():
            logits, _ = self(torch.tensor([[self.end, *paragraph]]))
        return F.log_softmax(logits[0], dim=-1).gather(1, torch.tensor([*paragraph, self.end])[:, None])[:, 0].tolist()
