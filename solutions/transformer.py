"""Chapter 7, the Transformer: masks, attention, heads, positions, layer norm, the two blocks, and a model that reverses and sorts."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmkit.sequences import END, PAD, START, V
from lmkit.train import Budget, TrainConfig, train


def causal_mask(T: int) -> Tensor:
    """Which place may look at which, where none may look ahead.   T >= 0 -> (T, T) bool

    True in row t, column s: place t may look at place s, which is so where s <= t.
    """
    return torch.ones(T, T, dtype=torch.bool).tril()


def padding_mask(ids: Tensor, pad: int) -> Tensor:
    """Which tokens may be looked at, where padding may not.   ids: (B, S) int64 -> (B, 1, 1, S) bool

    True where the id is another than pad, wherever in its row the padding stands. The two
    dimensions of size 1 stand for heads and for the places that look: by broadcasting, the
    mask fits scores of shape (B, H, T, S), and combines with a causal mask by &.
    """
    return (ids != pad)[:, None, None, :]


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention.

    query: (..., T, D), key: (..., S, D), value: (..., S, E) -> output (..., T, E), weights (..., T, S)

    Scores are dot products of queries and keys, divided by the root of D; weights are their
    softmax over the keys; an output is the sum of the values, each times its weight. mask:
    bool, of a shape that broadcasts to (..., T, S); True: may be looked at. A hidden place
    has the weight 0 and takes nothing from the others. A row that may look at nothing has
    weights of 0, and the output 0; no gradient is nan. Scores may be in the thousands. The
    inputs have one floating-point type, which both results have; none is changed.
    Source: Vaswani et al. 2017, equation 1.
    """
    scores = query @ key.mT / math.sqrt(query.shape[-1])  # (..., T, S)
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
        weights = weights.masked_fill(~mask, 0.0)  # the softmax of a row that is wholly -inf is nan
    return weights @ value, weights


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each on its own D = C / H of the C numbers.

    Parameters as in nn.MultiheadAttention: in_proj_weight (3C, C) holds the matrices that make
    queries, keys and values, one below the other in this order, in_proj_bias (3C,) what is added
    to each; out_proj is a linear layer from C to C numbers.
    """

    def __init__(self, C: int, H: int):
        """C: width; H: heads; C is a multiple of H. The first values of the parameters are of your choice."""
        super().__init__()
        self.C, self.H = C, H
        self.in_proj_weight = nn.Parameter(torch.empty(3 * C, C))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * C))
        self.out_proj = nn.Linear(C, C)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention from query to key and value.

        query: (B, T, C), key and value: (B, S, C), mask: bool, broadcasts to (B, H, T, S) -> (B, T, C)

        Each of the three is projected: x W.T + b, with its C rows of in_proj_weight and its C
        numbers of in_proj_bias. Head h takes the numbers h D to (h + 1) D - 1 of each and attends
        with scores divided by the root of D. What the heads return stands side by side again,
        in the same places, and goes through out_proj. mask: True where a query may look at a
        key. A query that may look at nothing gets 0 from the heads, so out_proj's bias.
        Source: Vaswani et al. 2017, section 3.2.2.
        """
        B, T, C = query.shape
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        projected = [F.linear(x, W, b) for x, W, b in zip((query, key, value), weights, biases, strict=True)]
        q, k, v = (x.unflatten(-1, (self.H, -1)).transpose(1, 2) for x in projected)  # (B, H, T, D), twice (B, H, S, D)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, H, T, D)
        return self.out_proj(context.transpose(1, 2).reshape(B, T, C))


def sinusoidal_positions(T: int, C: int) -> Tensor:
    """A row of waves for each place.   T >= 0, C even, at least 2 -> (T, C), floating point

    Row t holds sin(t r_i) in column 2i and cos(t r_i) in column 2i + 1, for i from 0 to
    C / 2 - 1, with the rates r_i = 10000 ** (-2i / C). The first place is t = 0.
    Source: Vaswani et al. 2017, section 3.5.
    """
    rates = 10000.0 ** (-torch.arange(0, C, 2, dtype=torch.float64) / C)
    angles = torch.arange(T)[:, None] * rates  # (T, C / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class LayerNorm(nn.Module):
    """Gives the C numbers of each token mean 0 and variance 1, then stretches and shifts each of the C by its own learned amount.

    Parameters: weight (C,), ones at the start, and bias (C,), zeros at the start, as in nn.LayerNorm.
    Source: Ba, Kiros & Hinton 2016.
    """

    def __init__(self, C: int, eps: float = 1e-5):
        """C: width; eps: what is added to the variance, so that no root is 0"""
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(C))
        self.bias = nn.Parameter(torch.zeros(C))

    def forward(self, x: Tensor) -> Tensor:
        """(x - mean) / root(variance + eps) * weight + bias.   x: (..., C) -> (..., C)

        Mean and variance are of the last dimension alone, one pair for each token. The variance
        is the mean of the squares of x - mean: divided by C, not C - 1. x is not changed.
        """
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = centred.square().mean(dim=-1, keepdim=True)
        return centred / (variance + self.eps).sqrt() * self.weight + self.bias


class EncoderBlock(nn.Module):
    """Self-attention, then a feed-forward layer; each is added to what it was given, and normalised.

    Parts as in nn.TransformerEncoderLayer: self_attn, linear1, linear2, norm1, norm2. No dropout.
    """

    def __init__(self, C: int, H: int, M: int, norm_first: bool = False):
        """C: width; H: heads; M: width inside the feed-forward layer; norm_first: normalise before each part, not after it"""
        super().__init__()
        self.self_attn = nn.MultiheadAttention(C, H, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(C, M), nn.Linear(M, C)
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.norm_first = norm_first

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x: (B, T, C); real: (B, T) bool, True: a token, False: padding, which no place looks at -> (B, T, C)

        f1 is the self-attention, f2 the feed-forward layer: linear1, ReLU, linear2.
        norm_first False: x = norm1(x + f1(x)), then norm2(x + f2(x)).
        norm_first True:  x = x + f1(norm1(x)), then x + f2(norm2(x)).
        Each row of `real` has at least one True. Padding looks as other places do; what it
        gets is of no use. x and real are not changed.
        Sources: Vaswani et al. 2017, section 3.1; norm first: Xiong et al. 2020.
        """

        def attend(y: Tensor) -> Tensor:
            return self.self_attn(y, y, y, key_padding_mask=~real, need_weights=False)[0]

        for part, norm in ((attend, self.norm1), (lambda y: self.linear2(self.linear1(y).relu()), self.norm2)):
            x = x + part(norm(x)) if self.norm_first else norm(x + part(x))
        return x


class DecoderBlock(nn.Module):
    """Causal self-attention, then attention to the memory, then a feed-forward layer; each is added to what it was given, and normalised.

    Parts as in nn.TransformerDecoderLayer: self_attn, multihead_attn (to the memory), linear1, linear2,
    norm1, norm2, norm3, in the order of the parts that they belong to. No dropout.
    """

    def __init__(self, C: int, H: int, M: int, norm_first: bool = False):
        """C: width; H: heads; M: width inside the feed-forward layer; norm_first: normalise before each part, not after it"""
        super().__init__()
        self.self_attn = nn.MultiheadAttention(C, H, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(C, H, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(C, M), nn.Linear(M, C)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(C), nn.LayerNorm(C), nn.LayerNorm(C)
        self.norm_first = norm_first

    def forward(self, x: Tensor, memory: Tensor, memory_real: Tensor) -> Tensor:
        """x: (B, T, C), memory: (B, S, C), memory_real: (B, S) bool, True: a token, False: padding -> (B, T, C)

        f1 is the self-attention of x, in which no place looks at a later one. f2 is the attention
        from x to the memory, in which no place looks at padding. f3 is the feed-forward layer:
        linear1, ReLU, linear2.
        norm_first False: x = norm1(x + f1(x)), x = norm2(x + f2(x)), then norm3(x + f3(x)).
        norm_first True:  x = x + f1(norm1(x)), x = x + f2(norm2(x)), then x + f3(norm3(x)).
        The memory is never normalised here. Padding in x stands behind its tokens, so they do not
        look at it. Each row of memory_real has at least one True. Nothing that is given is changed.
        Source: Vaswani et al. 2017, section 3.1.
        """
        T = x.shape[1]
        later = torch.ones(T, T, dtype=torch.bool).triu(1)

        def attend(y: Tensor) -> Tensor:
            return self.self_attn(y, y, y, attn_mask=later, need_weights=False)[0]

        def look_back(y: Tensor) -> Tensor:
            return self.multihead_attn(y, memory, memory, key_padding_mask=~memory_real, need_weights=False)[0]

        def feed_forward(y: Tensor) -> Tensor:
            return self.linear2(self.linear1(y).relu())

        for part, norm in ((attend, self.norm1), (look_back, self.norm2), (feed_forward, self.norm3)):
            x = x + part(norm(x)) if self.norm_first else norm(x + part(x))
        return x


def teach(
    model: nn.Module, inputs: Tensor, targets: Tensor, steps: int, generator: torch.Generator, batch: int = 64, rate: float = 3e-3
) -> None:
    """Train model(inputs, prefix) on pairs of inputs and targets; all places of a target are learned at once.

    inputs: (N, S), targets: (N, T), both filled with PAD; batch: pairs a step, drawn by the generator; rate: highest learning rate
    """

    def batches():
        while True:
            rows = torch.randint(len(inputs), (batch,), generator=generator)
            yield inputs[rows], targets[rows]

    def loss(model: nn.Module, pairs: tuple[Tensor, Tensor]) -> Tensor:
        given, wanted = pairs
        logits = model(given, wanted[:, :-1])  # from each place, the one behind it
        return F.cross_entropy(logits.flatten(0, 1), wanted[:, 1:].flatten(), ignore_index=PAD)

    config = TrainConfig(learning_rate=rate, final_rate=0.01, weight_decay=0.0, betas=(0.9, 0.98))
    train(model, batches(), loss, Budget(steps=steps), config)


class Rewriter(nn.Module):
    """An encoder–decoder Transformer with two blocks each, that learns to rewrite sequences: reach 0.99 exact.

    Works on ids from 0 to V - 1, for inputs and answers of any length.
    """

    def __init__(self):
        """Make the parts. What torch's layers draw for their first weights may be drawn."""
        super().__init__()
        self.C = 48
        self.embedding = nn.Embedding(V, self.C)
        sizes = {"d_model": self.C, "nhead": 4, "dim_feedforward": 96, "dropout": 0.0, "batch_first": True, "norm_first": True}
        self.encoder = nn.ModuleList(nn.TransformerEncoderLayer(**sizes) for _ in range(2))
        self.decoder = nn.ModuleList(nn.TransformerDecoderLayer(**sizes) for _ in range(2))
        self.norms = nn.ModuleList([nn.LayerNorm(self.C), nn.LayerNorm(self.C)])
        self.output = nn.Linear(self.C, V)

    def forward(self, inputs: Tensor, prefix: Tensor) -> Tensor:
        """Logits of the id behind each place of the prefix.   inputs: (B, S), prefix: (B, T), int64 -> (B, T, V)

        inputs: each row is symbols, with PAD behind them; PAD in any number changes no logit.
        prefix: each row is START and the answer so far. The logits of a place depend on the
        inputs and on the prefix up to it, not on what stands behind it.
        """
        padding = inputs == PAD
        memory = self.embedding(inputs) + sinusoidal_positions(inputs.shape[1], self.C)
        for block in self.encoder:
            memory = block(memory, src_key_padding_mask=padding)
        memory = self.norms[0](memory)
        later = torch.ones(prefix.shape[1], prefix.shape[1], dtype=torch.bool).triu(1)
        x = self.embedding(prefix) + sinusoidal_positions(prefix.shape[1], self.C)
        for block in self.decoder:
            x = block(x, memory, tgt_mask=later, memory_key_padding_mask=padding)
        return self.output(self.norms[1](x))

    def fit(self, inputs: Tensor, targets: Tensor, generator: torch.Generator) -> None:
        """Learn a task from examples, in at most 30 seconds.   inputs: (N, S), targets: (N, T), int64

        As lmkit.sequences.examples makes them. What is drawn is drawn by the generator.
        """
        teach(self, inputs, targets, 450, generator, rate=4e-3)

    def answer(self, inputs: Tensor) -> Tensor:
        """The most likely answers, one id after the other.   inputs: (B, S) int64 -> (B, S + 2) int64

        Each row is START, then always the id with the greatest logit, given what the row has
        so far, up to the first END; behind that, PAD. A row without END is cut after S + 2 ids.
        """
        B, S = inputs.shape
        ids = torch.full((B, 1), START)
        ended = torch.zeros(B, dtype=torch.bool)
        with torch.no_grad():
            for _ in range(S + 1):
                best = self(inputs, ids)[:, -1].argmax(dim=-1).masked_fill(ended, PAD)
                ended |= best == END
                ids = torch.cat([ids, best[:, None]], dim=1)
        return ids
