"""Chapter 9, GPT: the causal block, the model, published weights, decoding, the key–value cache, and a GPT trained on the corpus."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2LMHeadModel

from lmkit.tokenizer import END_ID, VOCAB_SIZE
from lmkit.train import Budget, TrainConfig, train

Filter = Callable[[Tensor, Tensor], Tensor]  # ids so far (1, T), logits (1, V) -> other logits (1, V)


class CausalBlock(nn.Module):
    """GPT-2's block: causal self-attention, then a feed-forward layer; each reads the normalised x, and adds to x.

    Parts: norm1, qkv (C to 3C numbers: queries, keys, values), out (C to C), norm2, up (C to 4C), down (4C to C); no dropout.
    """

    def __init__(self, C: int, H: int):
        """C: width; H: heads; C is a multiple of H"""
        super().__init__()
        self.H = H
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x: Tensor) -> Tensor:
        """x + out(attention of norm1(x)), then x + down(GELU(up(norm2(x)))).   x: (B, T, C) -> (B, T, C)

        Head h has the numbers h D to (h + 1) D - 1 of each query, key and value, D = C / H; scores are divided
        by the root of D; no place looks at a later one. GELU is the approximation with tanh. x is not changed.
        Source: Radford et al. 2019, section 2.3.
        """
        q, k, v = (one.unflatten(-1, (self.H, -1)).transpose(1, 2) for one in self.qkv(self.norm1(x)).chunk(3, dim=-1))  # (B, H, T, D)
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(context.transpose(1, 2).flatten(2))  # (B, T, C)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    """A GPT: token and position vectors, blocks, a last layer norm, and the table of tokens once more for the logits.

    Parts: tokens and positions (nn.Embedding), blocks (nn.ModuleList), norm (nn.LayerNorm); no other parameters.
    """

    def __init__(self, V: int, T: int, C: int, blocks: Sequence[nn.Module]):
        """V: tokens; T: places; C: width; blocks: modules that make (B, T, C) of (B, T, C), in the order in which x goes through them"""
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(C)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the token behind each place.   ids: (B, t) int64, t at most T -> (B, t, V)

        Place i gets row i of positions. Logits are products with the rows of tokens.weight, without a bias.
        Source: Radford et al. 2019; one table for both ends: Press & Wolf 2017.
        """
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


def initialise(model: nn.Module, layers: int, generator: torch.Generator) -> None:
    """Give all parameters of a GPT their first values, in place; what is drawn is drawn by the generator.

    Parameters of two dimensions are drawn from a normal distribution with mean 0 and standard deviation 0.02; those
    whose name ends in out.weight or down.weight, which write into x, with 0.02 / sqrt(2 * layers). Those whose name ends in
    bias become 0, all others, the weights of layer norms, 1. Source: Radford et al. 2019, section 2.3.
    """
    with torch.no_grad():
        for name, one in model.named_parameters():
            if one.dim() == 2:
                writes = name.endswith(("out.weight", "down.weight"))
                one.normal_(0.0, 0.02 / math.sqrt(2 * layers) if writes else 0.02, generator=generator)
            else:
                one.fill_(0.0 if name.endswith("bias") else 1.0)


def count_parameters(V: int, T: int, C: int, layers: int) -> int:
    """How many parameters a GPT of CausalBlocks has, by arithmetic alone; the table of tokens counts once."""
    attention = C * 3 * C + 3 * C + C * C + C
    feed_forward = C * 4 * C + 4 * C + 4 * C * C + C
    norm = 2 * C
    return V * C + T * C + layers * (attention + feed_forward + 2 * norm) + norm


def load_gpt2(library: GPT2LMHeadModel) -> nn.Module:
    """A model of one's own with the weights of a GPT-2 of transformers: ids (B, t) -> logits (B, t, V), the library's.

    Of library.config: vocab_size, n_positions, n_embd, n_layer, n_head; all else is as in the published GPT-2. The weights are
    copied, float32; the library's model is left as it is. No part of the result is the library's own.
    """
    config, given = library.config, library.state_dict()
    C, H = config.n_embd, config.n_head
    names = {"wte": "tokens", "wpe": "positions", "ln_f": "norm"}
    parts = {"ln_1": "norm1", "attn.c_attn": "qkv", "attn.c_proj": "out", "ln_2": "norm2", "mlp.c_fc": "up", "mlp.c_proj": "down"}
    for i in range(config.n_layer):
        names |= {f"h.{i}.{theirs}": f"blocks.{i}.{mine}" for theirs, mine in parts.items()}
    model = GPT(config.vocab_size, config.n_positions, C, [CausalBlock(C, H) for _ in range(config.n_layer)])
    state = {}
    for theirs, mine in names.items():
        weight = given[f"transformer.{theirs}.weight"]
        state[f"{mine}.weight"] = weight.T if ".c_" in theirs else weight  # the library's Conv1D has its matrix lying down
        if f"transformer.{theirs}.bias" in given:
            state[f"{mine}.bias"] = given[f"transformer.{theirs}.bias"]
    model.load_state_dict(state)
    return model.eval()


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature: below 1 the likely tokens gain, above 1 the others.   logits: (B, V), temperature > 0 -> (B, V)

    Returns a new tensor of the same type.
    """
    return logits / temperature


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Set every logit below the k-th greatest of its row to -inf.   logits: (B, V), k >= 1 -> (B, V)

    What equals the k-th greatest stays, so more than k may stay. With k > V all stay. Returns a new tensor.
    Source: Fan et al. 2018.
    """
    least = logits.topk(min(k, logits.shape[-1]), dim=-1).values[:, -1:]
    return logits.masked_fill(logits < least, -math.inf)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Set every logit outside the nucleus to -inf.   logits: (B, V), 0 < p <= 1 -> (B, V)

    The nucleus of a row is the smallest set of its most likely tokens whose probabilities together reach p, the crossing
    token included; of equally likely ones the lower id comes first. One token always stays; p = 1 keeps all. Returns a
    new tensor. Source: Holtzman et al. 2020, section 3.1.
    """
    order = logits.argsort(dim=-1, descending=True, stable=True)  # most likely first
    sorted_probs = logits.gather(-1, order).softmax(dim=-1)
    mass_behind = sorted_probs.flip(-1).cumsum(dim=-1).flip(-1)  # of a token and all less likely ones: tiny sums stay exact
    outside = mass_behind <= 1 - p
    outside[:, 0] = False  # one token always stays
    outside = torch.zeros_like(outside).scatter(-1, order, outside)  # back to token order
    return logits.masked_fill(outside, -math.inf)


def repetition_penalty(ids: Tensor, logits: Tensor, penalty: float) -> Tensor:
    """Make the tokens that a row of ids holds less likely in its row of logits.

    ids: (B, T) int64, T >= 0; logits: (B, V); penalty > 0 -> (B, V)

    Their logits are divided by the penalty where they are positive, and multiplied by it where they are negative, once each,
    however often a token occurs. Returns a new tensor. Source: Keskar et al. 2019, section 4.1.
    """
    changed = torch.where(logits < 0, logits * penalty, logits / penalty)
    return logits.scatter(-1, ids, changed.gather(-1, ids))


def generate(
    step: Callable[[Tensor], Tensor],
    prompt: Sequence[int],
    longest: int,
    end: int,
    filters: Sequence[Filter] = (),
    generator: torch.Generator | None = None,
) -> list[int]:
    """Write on behind a prompt, token by token.   prompt: at least one id -> the new ids, without the prompt, at most `longest`

    step: all ids so far (1, T) int64 -> logits of the next (1, V). filters: one after the other, each (ids so far, logits) ->
    logits. The next token is drawn from the softmax of what they leave, by the generator; without a generator it is the
    one with the greatest logit. When `end` comes, it is not returned, and nothing more is asked for. The prompt is not changed.
    """
    ids = list(prompt)
    for _ in range(longest):
        seen = torch.tensor([ids])
        logits = step(seen)
        for change in filters:
            logits = change(seen, logits)
        token = logits[0].argmax() if generator is None else torch.multinomial(logits[0].softmax(dim=-1), 1, generator=generator)
        if int(token) == end:
            break
        ids.append(int(token))
    return ids[len(prompt) :]


def cached_attention(
    query: Tensor, key: Tensor, value: Tensor, cache: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Causal attention of T new places, which also look at the S places before them.

    query, key, value: (B, H, T, D), of the new places; cache: keys and values of the places before, each (B, H, S, D);
    None: there are none -> output (B, H, T, D), and the cache with the new places: a pair, each (B, H, S + T, D)

    A new place looks at all S places before, at the new ones before itself, and at itself; scores are divided by the root of D.
    Nothing that is given is changed: one may go on from the same cache again.
    """
    if cache is not None:
        key, value = (torch.cat([before, new], dim=-2) for before, new in zip(cache, (key, value), strict=True))
    T, S = query.shape[-2], key.shape[-2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)  # new place t stands at S - T + t
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask), (key, value)


def generate_cached(step: Callable, prompt: Sequence[int], longest: int, end: int) -> list[int]:
    """Write the likeliest tokens behind a prompt, and put no token through the model twice.

    step: ids that the model has not read yet (1, T) int64, cache -> logits of the token behind them (1, V), cache
    The first cache is None, each further one what the call before returned. Otherwise as generate without a
    generator: at most `longest` new ids, without the prompt and without `end`.
    """
    new, unread, cache = [], list(prompt), None
    for _ in range(longest):
        logits, cache = step(torch.tensor([unread]), cache)
        token = int(logits[0].argmax())
        if token == end:
            break
        new.append(token)
        unread = [token]
    return new


class SmallGPT(nn.Module):
    """A GPT on the course's tokens, small enough to train within half a minute: reach 2.9 bits per byte."""

    T = 128  # places that it reads at once, at most

    def __init__(self, generator: torch.Generator):
        """Draw the first values of all parameters with the generator."""
        super().__init__()
        C, H, layers = 96, 4, 2
        self.gpt = GPT(VOCAB_SIZE, self.T, C, [CausalBlock(C, H) for _ in range(layers)])
        initialise(self.gpt, layers, generator)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the token behind each place.   ids: (B, t) int64, t at most T -> (B, t, V)"""
        return self.gpt(ids)

    def fit(self, paragraphs: list[list[int]], generator: torch.Generator) -> None:
        """Train in at most 25 seconds on one core.   paragraphs: token ids without end tokens

        A paragraph begins and ends with the end token. What is drawn is drawn by the generator.
        """
        text = torch.tensor([END_ID, *(token for paragraph in paragraphs for token in (*paragraph, END_ID))])

        def batches():
            while True:
                starts = torch.randint(len(text) - 64, (4, 1), generator=generator)
                yield text[starts + torch.arange(65)]  # (4, 65)

        def loss(model: nn.Module, rows: Tensor) -> Tensor:
            return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

        train(self, batches(), loss, Budget(steps=500), TrainConfig(learning_rate=3e-3, final_rate=0.01, weight_decay=0.1, warmup=0.1))
