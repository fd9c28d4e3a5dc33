"""Variants of the solutions of chapter 7, the Transformer: the mistakes that students make, and other right answers."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder.variant import edited, right, wrong
from lmkit.sequences import END, PAD, START, V

# causal_mask

edited(
    __name__,
    "turned_over",
    of="causal_mask",
    edits={".tril()": ".triu()"},
    fails="check_causal_mask_of_three",
    says="it is turned over: row t is the place that looks",
)
edited(
    __name__,
    "not_itself",
    of="causal_mask",
    edits={".tril()": ".tril(-1)"},
    fails="check_causal_mask_of_three",
    says="a place may look at itself",
)
edited(
    __name__,
    "true_hides",
    of="causal_mask",
    edits={".tril()": ".triu(1)"},
    fails="check_causal_mask_of_three",
    says="True means `may be looked at` here",
)
edited(
    __name__,
    "minus_infinity",
    of="causal_mask",
    edits={"torch.ones(T, T, dtype=torch.bool).tril()": "torch.full((T, T), -math.inf).triu(1)"},
    fails="check_causal_mask_of_three",
    says="True where a place may be looked at, not 0 and -inf",
)
edited(
    __name__,
    "three_places_back",
    of="causal_mask",
    edits={".tril()": ".tril().triu(-2)"},
    fails="check_causal_masks",
    says="place 3 may not look at place 0",
)


@right(of="causal_mask")
def by_comparing(T):
    places = torch.arange(T)
    return places[:, None] >= places


# padding_mask

edited(
    __name__,
    "true_is_padding",
    of="padding_mask",
    edits={"ids != pad": "ids == pad"},
    fails="check_padding_mask_of_two",
    says="True means `may be looked at` here",
)
edited(
    __name__,
    "two_dimensions",
    of="padding_mask",
    edits={"[:, None, None, :]": ""},
    fails="check_padding_mask_of_two",
    says="got the shape (2, 3)",
)
edited(
    __name__,
    "hides_the_queries",
    of="padding_mask",
    edits={"[:, None, None, :]": "[:, None, :, None]"},
    fails="check_padding_mask_of_two",
    says="expected a bool tensor of shape (B, 1, 1, S) = (2, 1, 1, 3), got the shape (2, 1, 3, 1)",
)
edited(
    __name__,
    "padding_is_always_zero",
    of="padding_mask",
    edits={"ids != pad": "ids > 0"},
    fails="check_padding_masks",
    says="expected False",
)


@wrong(of="padding_mask", fails="check_padding_masks", says="padding may stand in front, or within")
def by_counting(ids, pad):
    lengths = (ids != pad).sum(dim=1)
    return (torch.arange(ids.shape[1]) < lengths[:, None])[:, None, None]


@right(of="padding_mask")
def token_by_token(ids, pad):
    return torch.tensor([[[[token != pad for token in row]]] for row in ids.tolist()])


# attention

_SCORES = "query @ key.mT / math.sqrt(query.shape[-1])"
_HIDDEN = "scores.masked_fill(~mask, -math.inf).softmax(dim=-1)"
_ZEROED = "        weights = weights.masked_fill(~mask, 0.0)  # the softmax of a row that is wholly -inf is nan\n"
edited(
    __name__,
    "not_divided",
    of="attention",
    edits={_SCORES: "query @ key.mT"},
    fails="check_two_queries",
    says="the scores are not divided by the root of D",
)
edited(
    __name__,
    "divided_by_D",
    of="attention",
    edits={_SCORES: "query @ key.mT / query.shape[-1]"},
    fails="check_two_queries",
    says="divide them by its root",
)
edited(
    __name__,
    "softmax_over_queries",
    of="attention",
    edits={"scores.softmax(dim=-1)": "scores.softmax(dim=-2)"},
    fails="check_two_queries",
    says="the softmax goes over the queries",
)
edited(
    __name__,
    "weights_hidden_afterwards",
    of="attention",
    edits={_HIDDEN: "scores.softmax(dim=-1)"},
    fails="check_hidden_keys",
    says="hide the scores before the softmax",
)
edited(
    __name__,
    "scores_set_to_zero",
    of="attention",
    edits={_HIDDEN: "scores.masked_fill(~mask, 0.0).softmax(dim=-1)", _ZEROED: ""},
    fails="check_hidden_keys",
    says="a score of 0 is a score like others",
)
edited(
    __name__,
    "nan_where_nothing_is_seen",
    of="attention",
    edits={_ZEROED: ""},
    fails="check_rows_that_see_nothing",
    says="the weights hold nan",
)
edited(
    __name__,
    "even_where_nothing_is_seen",
    of="attention",
    edits={"-math.inf": "-1e9", _ZEROED: ""},
    fails="check_rows_that_see_nothing",
    says="they have the weight 1/5 at every key",
)
edited(
    __name__,
    "nan_on_the_way_back",
    of="attention",
    edits={_HIDDEN: "(scores + torch.zeros(mask.shape).masked_fill(~mask, -math.inf)).softmax(dim=-1).nan_to_num()", _ZEROED: ""},
    fails="check_gradients_of_attention",
    says="where a query sees nothing: the gradient of the queries holds nan",
)


edited(
    __name__,
    "a_low_score",
    of="attention",
    edits={"-math.inf": "-50.0", _ZEROED: ""},
    fails="check_attention_of_library",
    says="a weight that is not exactly 0",
)


edited(
    __name__,
    "a_list_of_two",
    of="attention",
    edits={"return weights @ value, weights": "return [weights @ value, weights]"},
    fails="check_two_queries",
    says="without brackets",
)


@right(of="attention")
def with_einsum(query, key, value, mask=None):
    scores = torch.einsum("...td,...sd->...ts", query, key) * query.shape[-1] ** -0.5
    seen = torch.ones_like(scores) if mask is None else mask.to(scores.dtype).expand_as(scores)
    lowest = scores.detach().masked_fill(seen == 0, -1e30)
    parts = (scores - lowest.amax(-1, keepdim=True).clamp(min=-1e29)).clamp(max=0).exp() * seen
    weights = parts / parts.sum(-1, keepdim=True).clamp(min=1e-30)
    return torch.einsum("...ts,...se->...te", weights, value), weights


# MultiHeadAttention

_SPLIT = "(x.unflatten(-1, (self.H, -1)).transpose(1, 2) for x in projected)"
_JOINED = "context.transpose(1, 2).reshape(B, T, C)"
edited(
    __name__,
    "tokens_mixed",
    of="MultiHeadAttention",
    edits={_SPLIT: "(x.reshape(B, self.H, -1, C // self.H) for x in projected)", _JOINED: "context.reshape(B, T, C)"},
    fails="check_places_stay_apart",
    says="numbers of different tokens are mixed",
)
edited(
    __name__,
    "joined_without_turning_back",
    of="MultiHeadAttention",
    edits={_JOINED: "context.reshape(B, T, C)"},
    fails="check_places_stay_apart",
    says="numbers of different tokens are mixed",
)
edited(
    __name__,
    "out_proj_forgotten",
    of="MultiHeadAttention",
    edits={f"self.out_proj({_JOINED})": _JOINED},
    fails="check_two_heads",
    says="out_proj is missing",
)
edited(
    __name__,
    "every_other_number",
    of="MultiHeadAttention",
    edits={
        _SPLIT: "(x.unflatten(-1, (-1, self.H)).permute(0, 3, 1, 2) for x in projected)",
        _JOINED: "context.permute(0, 2, 3, 1).flatten(2)",
    },
    fails="check_heads_of_library",
    says="head 0 takes the first D = 4 numbers",
)
edited(
    __name__,
    "root_of_the_width",
    of="MultiHeadAttention",
    edits={"attn_mask=mask": "attn_mask=mask, scale=C**-0.5"},
    fails="check_two_heads",
    says="the scores are divided by the root of C",
)
edited(
    __name__,
    "matrices_turned_over",
    of="MultiHeadAttention",
    edits={"F.linear(x, W, b)": "x @ W + b"},
    fails="check_heads_of_library",
    says="here W is turned over",
)
edited(
    __name__,
    "keys_from_the_query",
    of="MultiHeadAttention",
    edits={"zip((query, key, value), weights": "zip((query, query, query), weights"},
    fails="check_cross_attention",
    says="the keys and values are made from `key` and `value`",
)
edited(
    __name__,
    "mask_turned_over",
    of="MultiHeadAttention",
    edits={"attn_mask=mask": "attn_mask=None if mask is None else ~mask"},
    fails="check_places_stay_apart",
    says="True means `may be looked at` here",
)


edited(
    __name__,
    "a_pair_as_the_librarys",
    of="MultiHeadAttention",
    edits={".reshape(B, T, C))": ".reshape(B, T, C)), None"},
    fails="check_places_stay_apart",
    says="return the result alone",
)


@wrong(of="MultiHeadAttention", fails="check_places_stay_apart", says="is built on nn.MultiheadAttention")
class TheLibrarys(nn.MultiheadAttention):
    def __init__(self, C, H):
        super().__init__(C, H, batch_first=True)

    def forward(self, query, key, value, mask=None):
        hides = None
        if mask is not None:
            hides = ~mask.expand(len(query), self.num_heads, query.shape[1], key.shape[1]).flatten(0, 1)
        return super().forward(query, key, value, attn_mask=hides, need_weights=False)[0]


@right(of="MultiHeadAttention")
class OneHeadAtATime(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.heads, self.D = H, C // H
        self.in_proj_weight, self.in_proj_bias = nn.Parameter(torch.randn(3 * C, C)), nn.Parameter(torch.zeros(3 * C))
        self.out_proj = nn.Linear(C, C)

    def forward(self, query, key, value, mask=None):
        C, D, parts = self.heads * self.D, self.D, []
        W, b = self.in_proj_weight, self.in_proj_bias
        for h in range(self.heads):
            rows = [slice(part * C + h * D, part * C + (h + 1) * D) for part in range(3)]
            q, k, v = (x @ W[row].T + b[row] for x, row in zip((query, key, value), rows, strict=True))
            scores = q @ k.transpose(1, 2) / math.sqrt(D)
            if mask is None:
                parts.append(scores.softmax(-1) @ v)
                continue
            own = mask.expand(len(q), self.heads, *scores.shape[1:])[:, h]
            weights = scores.masked_fill(~own, torch.finfo(scores.dtype).min).softmax(-1)
            parts.append((weights * own) @ v)
        return self.out_proj(torch.cat(parts, dim=-1))


# sinusoidal_positions

edited(
    __name__,
    "sines_first_cosines_behind",
    of="sinusoidal_positions",
    edits={"torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)": "torch.cat([angles.sin(), angles.cos()], dim=1)"},
    fails="check_three_places",
    says="sine and cosine of one rate stand side by side",
)
edited(
    __name__,
    "cosine_first",
    of="sinusoidal_positions",
    edits={"[angles.sin(), angles.cos()]": "[angles.cos(), angles.sin()]"},
    fails="check_three_places",
    says="the sine stands in column 2i",
)
edited(
    __name__,
    "rates_too_close",
    of="sinusoidal_positions",
    edits={"torch.arange(0, C, 2, dtype=torch.float64)": "torch.arange(0, C // 2)"},
    fails="check_three_places",
    says="the second rate is 0.1",
)
edited(
    __name__,
    "places_from_one",
    of="sinusoidal_positions",
    edits={"torch.arange(T)": "torch.arange(1, T + 1)"},
    fails="check_three_places",
    says="the first place is t = 0",
)
edited(
    __name__,
    "rates_of_four_numbers",
    of="sinusoidal_positions",
    edits={"dtype=torch.float64) / C": "dtype=torch.float64) / 4"},
    fails="check_waves",
    says="the rates are 10000 ** (-2i / C)",
)


@wrong(of="sinusoidal_positions", fails="check_three_places", says="both waves of a pair, columns 2i and 2i + 1, have one rate")
def a_rate_for_each_column(T, C):
    angles = torch.arange(T)[:, None] / 10000 ** (torch.arange(C) / C)
    waves = angles.sin()
    waves[:, 1::2] = angles[:, 1::2].cos()
    return waves


@right(of="sinusoidal_positions")
def number_by_number(T, C):
    rows = np.zeros((T, C))
    for t in range(T):
        for column in range(C):
            angle = t / math.pow(10000, (column - column % 2) / C)
            rows[t, column] = math.cos(angle) if column % 2 else math.sin(angle)
    return torch.from_numpy(rows)


# LayerNorm

edited(
    __name__,
    "divided_by_one_less",
    of="LayerNorm",
    edits={"centred.square().mean(dim=-1, keepdim=True)": "x.var(dim=-1, keepdim=True)"},
    fails="check_norm_by_hand",
    says="the variance is divided by C - 1",
)
edited(
    __name__,
    "eps_outside_the_root",
    of="LayerNorm",
    edits={"(variance + self.eps).sqrt()": "(variance.sqrt() + self.eps)"},
    fails="check_norm_by_hand",
    says="add it to the variance, under the root",
)
edited(
    __name__,
    "no_root",
    of="LayerNorm",
    edits={"(variance + self.eps).sqrt()": "(variance + self.eps)"},
    fails="check_norm_by_hand",
    says="the root of the variance is missing",
)
edited(
    __name__,
    "over_the_tokens",
    of="LayerNorm",
    edits={"x.mean(dim=-1, keepdim=True)": "x.mean(dim=0)", "square().mean(dim=-1, keepdim=True)": "square().mean(dim=0)"},
    fails="check_norm_by_hand",
    says="the mean goes over the tokens",
)
edited(
    __name__,
    "no_bias",
    of="LayerNorm",
    edits={" * self.weight + self.bias": " * self.weight"},
    fails="check_norm_of_library",
    says="bias is not used",
)
edited(
    __name__,
    "weights_that_do_not_learn",
    of="LayerNorm",
    edits={"nn.Parameter(torch.ones(C))": "torch.ones(C)"},
    fails="check_norm_by_hand",
    says="has no parameter weight",
)
edited(
    __name__,
    "centred_in_place",
    of="LayerNorm",
    edits={"centred = x - x.mean(dim=-1, keepdim=True)": "x -= x.mean(dim=-1, keepdim=True)\n        centred = x"},
    fails="check_norms_of_other_shapes",
    says="x, which was given, is changed",
)


edited(
    __name__,
    "no_eps",
    of="LayerNorm",
    edits={"(variance + self.eps).sqrt()": "variance.sqrt()"},
    fails="check_norm_by_hand",
    says="(2, 2, 2, 2) becomes nan",
)


edited(
    __name__,
    "over_dimension_one",
    of="LayerNorm",
    edits={"x.mean(dim=-1,": "x.mean(dim=1,", ".square().mean(dim=-1,": ".square().mean(dim=1,"},
    fails="check_norm_of_library",
    says="go over dimension 1",
)


@wrong(of="LayerNorm", fails="check_norm_by_hand", says="is built on nn.LayerNorm")
class TheLibrarysNorm(nn.LayerNorm):
    pass


@right(of="LayerNorm")
class ByTheMeanSquare(nn.Module):
    def __init__(self, C, eps=1e-5):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(C)), nn.Parameter(torch.zeros(C))
        self.small = eps

    def forward(self, x):
        variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
        return torch.addcmul(self.bias, self.weight, (x - mean) * torch.rsqrt(variance + self.small))


# EncoderBlock

_ENCODER_STEP = "x = x + part(norm(x)) if self.norm_first else norm(x + part(x))"
edited(
    __name__,
    "nothing_added_up",
    of="EncoderBlock",
    edits={_ENCODER_STEP: "x = part(norm(x)) if self.norm_first else norm(part(x))"},
    fails="check_encoder_adds",
    says="x goes on as it is, and each part adds to it",
)
edited(
    __name__,
    "normalised_x_goes_on",
    of="EncoderBlock",
    edits={_ENCODER_STEP: "x = norm(x) + part(norm(x)) if self.norm_first else norm(x + part(x))"},
    fails="check_encoder_adds",
    says="only what a part reads is normalised",
)
edited(
    __name__,
    "always_norm_last",
    of="EncoderBlock",
    edits={_ENCODER_STEP: "x = norm(x + part(x))"},
    fails="check_encoder_adds",
    says="norm_first=True: expected x itself",
)
edited(
    __name__,
    "no_relu",
    of="EncoderBlock",
    edits={"self.linear1(y).relu()": "self.linear1(y)"},
    fails="check_encoder_of_library",
    says="ReLU is missing",
)
edited(
    __name__,
    "padding_seen",
    of="EncoderBlock",
    edits={"key_padding_mask=~real, ": ""},
    fails="check_encoder_with_padding",
    says="the padding is looked at",
)
edited(
    __name__,
    "real_not_turned",
    of="EncoderBlock",
    edits={"key_padding_mask=~real": "key_padding_mask=real"},
    fails="check_encoder_of_library",
    says="hand over ~real",
)


edited(
    __name__,
    "real_not_turned_and_weights_asked_for",
    of="EncoderBlock",
    edits={"key_padding_mask=~real, need_weights=False": "key_padding_mask=real"},
    fails="check_encoder_adds",
    says="hand over ~real",
)
edited(
    __name__,
    "dropout_left_in",
    of="EncoderBlock",
    edits={"nn.MultiheadAttention(C, H, batch_first=True)": "nn.MultiheadAttention(C, H, dropout=0.3, batch_first=True)"},
    fails="check_encoder_of_library",
    says="two calls give two results: no dropout here",
)


edited(
    __name__,
    "batch_second",
    of="EncoderBlock",
    edits={"nn.MultiheadAttention(C, H, batch_first=True)": "nn.MultiheadAttention(C, H)"},
    fails="check_encoder_adds",
    says="has it batch_first=True",
)
edited(
    __name__,
    "one_norm_for_both_parts",
    of="EncoderBlock",
    edits={"self.norm2)):": "self.norm1)):"},
    fails="check_encoder_adds",
    says="the norms come in the order norm1, norm1",
)


@wrong(of="EncoderBlock", fails="check_encoder_adds", says="is built on nn.TransformerEncoderLayer")
class TheLibrarysBlock(nn.TransformerEncoderLayer):
    def __init__(self, C, H, M, norm_first=False):
        super().__init__(C, H, M, dropout=0.0, batch_first=True, norm_first=norm_first)

    def forward(self, x, real):
        return super().forward(x, src_key_padding_mask=~real)


@right(of="EncoderBlock")
class WrittenOut(nn.Module):
    def __init__(self, C, H, M, norm_first=False):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(C, H, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(C, M), nn.Linear(M, C)
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.before = norm_first

    def forward(self, x, real):
        y = self.norm1(x) if self.before else x
        hides = torch.zeros(real.shape, dtype=y.dtype).masked_fill(~real, -math.inf)
        y = x + self.self_attn(y, y, y, key_padding_mask=hides)[0]
        if not self.before:
            y = self.norm1(y)
            return self.norm2(y + self.linear2(F.relu(self.linear1(y))))
        return y + self.linear2(F.relu(self.linear1(self.norm2(y))))


# DecoderBlock

_DECODER_STEP = "x = x + part(norm(x)) if self.norm_first else norm(x + part(x))"
edited(
    __name__,
    "not_causal",
    of="DecoderBlock",
    edits={"attn_mask=later, ": ""},
    fails="check_decoder_looks_back",
    says="place 0 sees place 1, which is later",
)
edited(
    __name__,
    "looks_ahead_only",
    of="DecoderBlock",
    edits={".triu(1)": ".tril(-1)"},
    fails="check_decoder_looks_back",
    says="give self_attn a causal mask, in which True hides",
)
edited(
    __name__,
    "memory_normalised",
    of="DecoderBlock",
    edits={"self.multihead_attn(y, memory, memory": "self.multihead_attn(y, self.norm2(memory), self.norm2(memory)"},
    fails="check_decoder_of_library",
    says="the memory is normalised here",
)
edited(
    __name__,
    "memory_first",
    of="DecoderBlock",
    edits={"((attend, self.norm1), (look_back, self.norm2)": "((look_back, self.norm1), (attend, self.norm2)"},
    fails="check_decoder_of_library",
    says="first self_attn, then multihead_attn",
)
edited(
    __name__,
    "two_norms_for_three_parts",
    of="DecoderBlock",
    edits={"self.norm1, self.norm2, self.norm3 = nn.LayerNorm(C), nn.LayerNorm(C), nn.LayerNorm(C)":
           "self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)", "(feed_forward, self.norm3)": "(feed_forward, self.norm2)"},
    fails="check_decoder_adds",
    says="has no parameter norm3.weight",
)  # fmt: skip
edited(
    __name__,
    "x_left_out",
    of="DecoderBlock",
    edits={_DECODER_STEP: "x = part(norm(x)) if self.norm_first else norm(part(x))"},
    fails="check_decoder_adds",
    says="each part adds to it",
)
edited(
    __name__,
    "padding_of_the_memory_seen",
    of="DecoderBlock",
    edits={"key_padding_mask=~memory_real, ": ""},
    fails="check_decoder_with_padding",
    says="the padding is looked at",
)


edited(
    __name__,
    "memory_real_not_turned",
    of="DecoderBlock",
    edits={"key_padding_mask=~memory_real, need_weights=False": "key_padding_mask=memory_real"},
    fails="check_decoder_adds",
    says="Turn memory_real round for key_padding_mask",
)
edited(
    __name__,
    "gelu",
    of="DecoderBlock",
    edits={"self.linear2(self.linear1(y).relu())": "self.linear2(nn.functional.gelu(self.linear1(y)))"},
    fails="check_decoder_of_library",
    says="between linear1 and linear2 stands ReLU",
)


edited(
    __name__,
    "own_place_hidden",
    of="DecoderBlock",
    edits={"triu(1)": "triu(0)"},
    fails="check_decoder_of_library",
    says="a place may look at itself, too",
)


@right(of="DecoderBlock")
class PartByPart(nn.Module):
    def __init__(self, C, H, M, norm_first=False):
        super().__init__()
        self.norm_first = norm_first
        for name in ("self_attn", "multihead_attn"):
            setattr(self, name, nn.MultiheadAttention(C, H, batch_first=True))
        for name in ("norm1", "norm2", "norm3"):
            setattr(self, name, nn.LayerNorm(C))
        self.linear1, self.linear2 = nn.Linear(C, M), nn.Linear(M, C)

    def forward(self, x, memory, memory_real):
        ahead = torch.full((x.shape[1], x.shape[1]), -math.inf, dtype=x.dtype).triu(1)
        places = torch.zeros(memory_real.shape, dtype=x.dtype).masked_fill(~memory_real, -math.inf)
        before, after = (nn.Identity(), None) if not self.norm_first else (None, nn.Identity())
        y = (before or self.norm1)(x)
        x = (after or self.norm1)(x + self.self_attn(y, y, y, attn_mask=ahead)[0])
        y = (before or self.norm2)(x)
        x = (after or self.norm2)(x + self.multihead_attn(y, memory, memory, key_padding_mask=places)[0])
        y = (before or self.norm3)(x)
        return (after or self.norm3)(x + self.linear2(torch.relu(self.linear1(y))))


# Rewriter: those that fail before they are trained take one step

_STEPS = "targets, 450, generator"
edited(
    __name__,
    "padding_in_the_encoder",
    of="Rewriter",
    edits={"block(memory, src_key_padding_mask=padding)": "block(memory)", _STEPS: "targets, 1, generator"},
    fails="check_logits_of_rewriter",
    says="padding must not be looked at",
)
edited(
    __name__,
    "prefix_seen_ahead",
    of="Rewriter",
    edits={"tgt_mask=later, ": "", _STEPS: "targets, 1, generator"},
    fails="check_logits_of_rewriter",
    says="changes the logits of an earlier place",
)
edited(
    __name__,
    "goes_on_behind_end",
    of="Rewriter",
    edits={".masked_fill(ended, PAD)": "", _STEPS: "targets, 1, generator"},
    fails="check_answers",
    says="a row ends with its first END",
)
edited(
    __name__,
    "start_not_returned",
    of="Rewriter",
    edits={"return ids": "return ids[:, 1:]"},
    fails="check_answers",
    says="got the shape (3, 5)",
)
edited(
    __name__,
    "forty_steps",
    of="Rewriter",
    edits={_STEPS: "targets, 40, generator"},
    fails="check_reverses",
    says="more steps, another learning rate?",
)


edited(
    __name__,
    "drops_in_evaluation_too",
    of="Rewriter",
    edits={"self.output(self.norms[1](x))": "self.output(F.dropout(self.norms[1](x), 0.1))"},
    fails="check_logits_of_rewriter",
    says="two calls in evaluation mode",
)


edited(
    __name__,
    "fourteen_positions",
    of="Rewriter",
    edits={"sinusoidal_positions(prefix.shape[1], self.C)": "sinusoidal_positions(14, self.C)[: prefix.shape[1]]"},
    fails="check_logits_of_rewriter",
    says="must match the size of tensor",
)
edited(
    __name__,
    "strips_padding",
    of="Rewriter",
    edits={"B, S = inputs.shape": "B, S = inputs[:, : int((inputs != PAD).sum(dim=1).max())].shape"},
    fails="check_answers",
    says="two columns of padding more",
)


@right(of="Rewriter")
class LibrarysTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(V, 48)
        self.model = nn.Transformer(48, 4, 2, 2, 96, 0.0, batch_first=True, norm_first=True)
        self.scores = nn.Linear(48, V)

    def vectors(self, ids):
        angles = torch.arange(ids.shape[1])[:, None] / 10000 ** (torch.arange(24) / 24)
        return self.tokens(ids) + torch.cat([angles.sin(), angles.cos()], dim=1)

    def forward(self, inputs, prefix):
        later = torch.full((prefix.shape[1],) * 2, True).triu(1)
        hidden = {"src_key_padding_mask": inputs == PAD, "memory_key_padding_mask": inputs == PAD, "tgt_mask": later}
        return self.scores(self.model(self.vectors(inputs), self.vectors(prefix), **hidden))

    def fit(self, inputs, targets, generator):
        optimizer = torch.optim.Adam(self.parameters(), lr=4e-3, betas=(0.9, 0.98))
        for step in range(450):
            for group in optimizer.param_groups:
                group["lr"] = 4e-3 * min(1, step / 20 + 0.05, (455 - step) / 400)
            rows = torch.randint(len(inputs), (64,), generator=generator)
            logits = self(inputs[rows], targets[rows, :-1])
            optimizer.zero_grad()
            F.cross_entropy(logits.mT, targets[rows, 1:], ignore_index=PAD).backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()

    @torch.no_grad()
    def answer(self, inputs):
        ids = torch.full((len(inputs), inputs.shape[1] + 2), PAD)
        ids[:, 0] = START
        unfinished = torch.arange(len(inputs))
        for t in range(1, ids.shape[1]):
            if len(unfinished) == 0:
                break
            best = self(inputs[unfinished], ids[unfinished])[:, t - 1].argmax(dim=-1)
            ids[unfinished, t] = best
            unfinished = unfinished[best != END]
        return ids
