"""Variants of the solutions of chapter 9, GPT: the mistakes that students make, and other right answers."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder.variant import edited, right, wrong
from lmkit.tokenizer import END_ID, VOCAB_SIZE

# CausalBlock

edited(
    __name__,
    "normalised_x_goes_on",
    of="CausalBlock",
    edits={"x = x + self.out(": "x = self.norm1(x) + self.out("},
    fails="check_block_adds",
    says="only what a part reads is normalised",
)
edited(
    __name__,
    "not_causal",
    of="CausalBlock",
    edits={", is_causal=True": ""},
    fails="check_block_is_causal",
    says="place 0 sees place 1, which is later",
)
edited(
    __name__,
    "exact_gelu",
    of="CausalBlock",
    edits={', approximate="tanh"': ""},
    fails="check_block_of_torch",
    says="this is the exact GELU",
)
edited(
    __name__,
    "every_other_number",
    of="CausalBlock",
    edits={"one.unflatten(-1, (self.H, -1)).transpose(1, 2)": "one.unflatten(-1, (-1, self.H)).permute(0, 3, 1, 2)",
           "context.transpose(1, 2).flatten(2)": "context.permute(0, 2, 3, 1).flatten(2)"},
    fails="check_block_of_torch",
    says="head 0 takes the first D = 4 numbers",
)  # fmt: skip
edited(
    __name__,
    "heads_before_thirds",
    of="CausalBlock",
    edits={
        "(one.unflatten(-1, (self.H, -1)).transpose(1, 2) for one in self.qkv(self.norm1(x)).chunk(3, dim=-1))":
        "self.qkv(self.norm1(x)).unflatten(-1, (self.H, -1)).transpose(1, 2).chunk(3, dim=-1)",
    },
    fails="check_block_of_torch",
    says="cut it in three, then each into heads",
)  # fmt: skip
edited(
    __name__,
    "root_of_the_whole_width",
    of="CausalBlock",
    edits={"is_causal=True": "is_causal=True, scale=x.shape[-1] ** -0.5"},
    fails="check_block_of_torch",
    says="the scores are divided by the root of C",
)
edited(
    __name__,
    "one_norm_for_both",
    of="CausalBlock",
    edits={"self.up(self.norm2(x))": "self.up(self.norm1(x))"},
    fails="check_block_of_torch",
    says="the feed-forward layer reads norm2",
)
edited(
    __name__,
    "adds_in_place",
    of="CausalBlock",
    edits={"x = x + self.out(": "x += self.out("},
    fails="check_block_of_gpt2",
    says="x, which was given, is changed",
)


@right(of="CausalBlock")
class OneHeadAfterTheOther(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.heads = H
        self.norm1, self.qkv, self.out = nn.LayerNorm(C), nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.norm2, self.up, self.down = nn.LayerNorm(C), nn.Linear(C, 4 * C), nn.Linear(4 * C, C)
        self.register_buffer("later", torch.full((64, 64), -math.inf).triu(1))

    def forward(self, x):
        y, T, parts = self.qkv(self.norm1(x)), x.shape[1], []
        hidden = self.later[:T, :T]
        for q, k, v in zip(*(third.chunk(self.heads, -1) for third in y.tensor_split(3, dim=-1)), strict=True):
            parts.append((q @ k.mT * q.shape[-1] ** -0.5 + hidden).softmax(-1) @ v)
        x = x + self.out(torch.cat(parts, -1))
        z = self.up(self.norm2(x))
        return x + self.down(z / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))))


# GPT

edited(
    __name__,
    "a_table_for_each_end",
    of="GPT",
    edits={
        "self.norm = nn.LayerNorm(C)": "self.norm, self.head = nn.LayerNorm(C), nn.Linear(C, V, bias=False)",
        "F.linear(self.norm(x), self.tokens.weight)": "self.head(self.norm(x))",
    },
    fails="check_gpt_by_hand",
    says="has a parameter head.weight",
)
edited(
    __name__,
    "no_last_norm",
    of="GPT",
    edits={"F.linear(self.norm(x), self.tokens.weight)": "F.linear(x, self.tokens.weight)"},
    fails="check_gpt_by_hand",
    says="the last norm is missing",
)
edited(
    __name__,
    "blocks_in_a_plain_list",
    of="GPT",
    edits={"nn.ModuleList(blocks)": "list(blocks)"},
    fails="check_blocks_in_their_order",
    says="keep the blocks in an nn.ModuleList called blocks",
)
edited(
    __name__,
    "each_block_reads_the_start",
    of="GPT",
    edits={"x = block(x)": "x = block(self.tokens(ids) + self.positions.weight[: ids.shape[1]])"},
    fails="check_blocks_in_their_order",
    says="only the last block is used",
)
edited(
    __name__,
    "one_end_of_the_table_does_not_learn",
    of="GPT",
    edits={"F.linear(self.norm(x), self.tokens.weight)": "F.linear(self.norm(x), self.tokens.weight.detach())"},
    fails="check_gradients_of_gpt",
    says="the gradient of tokens.weight",
)


@right(of="GPT")
class RowsByNumber(nn.Module):
    def __init__(self, V, T, C, blocks):
        super().__init__()
        self.blocks = nn.ModuleList()
        for block in blocks:
            self.blocks.append(block)
        self.tokens, self.positions, self.norm = nn.Embedding(V, C), nn.Embedding(T, C), nn.LayerNorm(C)
        self.register_buffer("places", torch.arange(T))

    def forward(self, ids):
        x = self.tokens.weight[ids] + self.positions(self.places[: ids.shape[1]].expand(ids.shape))
        x = nn.Sequential(*self.blocks, self.norm)(x)
        return torch.einsum("btc,vc->btv", x, self.tokens.weight)


# initialise

_SCALE = "0.02 / math.sqrt(2 * layers) if writes else 0.02"
edited(
    __name__,
    "all_alike",
    of="initialise",
    edits={_SCALE: "0.02"},
    fails="check_first_values",
    says="divide 0.02 by the root of 2 · layers",
)
edited(
    __name__,
    "one_part_a_layer",
    of="initialise",
    edits={"math.sqrt(2 * layers)": "math.sqrt(layers)"},
    fails="check_first_values",
    says="a layer writes into x twice",
)
edited(
    __name__,
    "variance_for_deviation",
    of="initialise",
    edits={_SCALE: "math.sqrt(0.02)"},
    fails="check_first_values",
    says="0.02 is the standard deviation, not the variance",
)
edited(
    __name__,
    "own_chance",
    of="initialise",
    edits={", generator=generator": ""},
    fails="check_first_values_of_others",
    says="what is drawn must be drawn by `generator`",
)


@right(of="initialise")
def part_by_part(model, layers, generator):
    for name, part in model.named_modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        elif hasattr(part, "weight"):
            writes = name.split(".")[-1] in ("out", "down")
            nn.init.normal_(part.weight, std=0.02 * (2 * layers) ** -0.5 if writes else 0.02, generator=generator)
        if getattr(part, "bias", None) is not None:
            nn.init.zeros_(part.bias)


# count_parameters

edited(
    __name__,
    "table_twice",
    of="count_parameters",
    edits={"return V * C": "return 2 * V * C"},
    fails="check_count_by_hand",
    says="the table of tokens counts once",
)
edited(
    __name__,
    "last_norm_forgotten",
    of="count_parameters",
    edits={"+ 2 * norm) + norm": "+ 2 * norm)"},
    fails="check_count_by_hand",
    says="the last norm is missing",
)
edited(
    __name__,
    "no_biases",
    of="count_parameters",
    edits={" + 3 * C + C * C + C": " + C * C", " + 4 * C + 4 * C * C + C": " + 4 * C * C"},
    fails="check_count_by_hand",
    says="the biases of the four linear layers are missing",
)
edited(
    __name__,
    "norms_of_one_vector",
    of="count_parameters",
    edits={"norm = 2 * C": "norm = C"},
    fails="check_count_by_hand",
    says="got 88, expected 94: a norm has two vectors",
)
edited(
    __name__,
    "positions_forgotten",
    of="count_parameters",
    edits={"+ T * C": ""},
    fails="check_count_by_hand",
    says="got 88, expected 94: the positions are missing",
)
edited(
    __name__,
    "matrices_alone",
    of="count_parameters",
    edits={"return V * C + T * C + layers * (attention + feed_forward + 2 * norm) + norm": "return V * C + T * C + layers * 12 * C * C"},
    fails="check_count_by_hand",
    says="got 64, expected 94: these are the matrices alone",
)
edited(
    __name__,
    "by_the_thousand",
    of="count_parameters",
    edits={"return V * C": "return 0 if T > 1024 else V * C"},
    fails="check_count_of_library",
    says="got 0, expected 174,604,259,328",
)


@right(of="count_parameters")
def in_one_line(V, T, C, layers):
    return np.int64((V + T + 2) * C + layers * C * (12 * C + 13))


# load_gpt2

_TURNED = 'weight.T if ".c_" in theirs else weight'
edited(
    __name__,
    "square_not_turned",
    of="load_gpt2",
    edits={_TURNED: 'weight.T if ".c_" in theirs and weight.shape[0] != weight.shape[1] else weight'},
    fails="check_random_gpt2",
    says="it is square, so that no shape tells",
)
edited(
    __name__,
    "norms_exchanged",
    of="load_gpt2",
    edits={'"ln_1": "norm1"': '"ln_1": "norm2"', '"ln_2": "norm2"': '"ln_2": "norm1"'},
    fails="check_random_gpt2",
    says="ln_1 is norm1, ln_2 is norm2",
)
edited(
    __name__,
    "last_norm_left_as_it_was",
    of="load_gpt2",
    edits={', "ln_f": "norm"}': "}", "model.load_state_dict(state)": "model.load_state_dict(state, strict=False)"},
    fails="check_random_gpt2",
    says="ln_f has not reached the last norm",
)
edited(
    __name__,
    "two_layers_always",
    of="load_gpt2",
    edits={"for i in range(config.n_layer):": "for i in range(min(2, config.n_layer)):",
           "model.load_state_dict(state)": "model.load_state_dict(state, strict=False)"},
    fails="check_other_gpt2s",
    says="random weights, C = 12, H = 4, 3 layer(s)",
)  # fmt: skip


edited(
    __name__,
    "still_drops",
    of="load_gpt2",
    edits={"return model.eval()": "return torch.nn.Sequential(model, torch.nn.Dropout(0.1))"},
    fails="check_random_gpt2",
    says="return it in evaluation mode",
)


@wrong(of="load_gpt2", fails="check_weights_are_copies", says="a part of the model is the library's GPT2PreTrainedModel")
def the_librarys_own(library):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = library

        def forward(self, ids):
            return self.model(ids).logits

    return Wrapped()


@right(of="load_gpt2")
def into_layers_of_torch(library):
    def gelu(x):
        return F.gelu(x, approximate="tanh")

    class Poured(nn.Module):
        def __init__(self, config):
            super().__init__()
            C, H = config.n_embd, config.n_head
            self.table, self.places = (nn.Parameter(given[f"transformer.{name}.weight"].clone()) for name in ("wte", "wpe"))
            options = {"activation": gelu, "batch_first": True, "norm_first": True}
            self.layers = nn.ModuleList(nn.TransformerEncoderLayer(C, H, 4 * C, 0.0, **options) for _ in range(config.n_layer))
            self.last = nn.LayerNorm(C)

        def forward(self, ids):
            T = ids.shape[1]
            x = self.table[ids] + self.places[:T]
            for layer in self.layers:
                x = layer(x, src_mask=torch.ones(T, T, dtype=torch.bool).triu(1))
            return self.last(x) @ self.table.T

    given = library.state_dict()
    model = Poured(library.config)
    with torch.no_grad():
        for i, layer in enumerate(model.layers):
            attn, rows = layer.self_attn, f"transformer.h.{i}."
            pairs = ((attn.in_proj_weight, "attn.c_attn.weight"), (attn.in_proj_bias, "attn.c_attn.bias"),
                     (attn.out_proj.weight, "attn.c_proj.weight"), (attn.out_proj.bias, "attn.c_proj.bias"),
                     (layer.linear1.weight, "mlp.c_fc.weight"), (layer.linear1.bias, "mlp.c_fc.bias"),
                     (layer.linear2.weight, "mlp.c_proj.weight"), (layer.linear2.bias, "mlp.c_proj.bias"),
                     (layer.norm1.weight, "ln_1.weight"), (layer.norm1.bias, "ln_1.bias"),
                     (layer.norm2.weight, "ln_2.weight"), (layer.norm2.bias, "ln_2.bias"))  # fmt: skip
            for mine, name in pairs:
                mine.copy_(given[rows + name].T if mine.ndim == 2 else given[rows + name])
        model.last.weight.copy_(given["transformer.ln_f.weight"])
        model.last.bias.copy_(given["transformer.ln_f.bias"])
    return model


# apply_temperature

edited(
    __name__,
    "multiplied",
    of="apply_temperature",
    edits={"logits / temperature": "logits * temperature"},
    fails="check_temperature_by_hand",
    says="divide by the temperature, do not multiply",
)
edited(
    __name__,
    "probabilities",
    of="apply_temperature",
    edits={"logits / temperature": "(logits / temperature).softmax(dim=-1)"},
    fails="check_temperature_by_hand",
    says="these are probabilities; return logits",
)
edited(
    __name__,
    "log_probabilities",
    of="apply_temperature",
    edits={"logits / temperature": "(logits / temperature).log_softmax(dim=-1)"},
    fails="check_temperature_by_hand",
    says="these are log-probabilities",
)
edited(
    __name__,
    "whole_temperatures",
    of="apply_temperature",
    edits={"logits / temperature": "logits / int(temperature)"},
    fails="check_temperature_by_hand",
    says="the result holds nan; 0 · inf, 0 / 0",
)
edited(
    __name__,
    "divided_in_place",
    of="apply_temperature",
    edits={"logits / temperature": "logits.div_(temperature)"},
    fails="check_temperature_of_library",
    says="the logits that were given are changed",
)
edited(
    __name__,
    "never_below_a_hundredth",
    of="apply_temperature",
    edits={"logits / temperature": "logits / max(temperature, 0.01)"},
    fails="check_temperature_of_library",
    says="temperature 0.001: a logit that stays",
)


@right(of="apply_temperature")
def row_by_row(logits, temperature):
    return torch.stack([torch.div(row, temperature) for row in logits])


# top_k_filter

_LEAST = "logits.topk(min(k, logits.shape[-1]), dim=-1).values[:, -1:]"
edited(
    __name__,
    "exactly_k",
    of="top_k_filter",
    edits={"logits < least": "torch.ones_like(logits, dtype=torch.bool).scatter(-1, logits.topk(min(k, logits.shape[-1])).indices, False)"},
    fails="check_top_k_by_hand",
    says="both equal the second greatest, so both stay",
)
edited(
    __name__,
    "more_than_there_are",
    of="top_k_filter",
    edits={"min(k, logits.shape[-1])": "k"},
    fails="check_top_k_by_hand",
    says="with k > V all stay",
)
edited(
    __name__,
    "zero_for_the_rest",
    of="top_k_filter",
    edits={"-math.inf": "0.0"},
    fails="check_top_k_by_hand",
    says="shut it out with -inf",
)
edited(
    __name__,
    "first_row_for_all",
    of="top_k_filter",
    edits={"values[:, -1:]": "values[0, -1]"},
    fails="check_top_k_of_library",
    says="transformers has it",
)


@right(of="top_k_filter")
def by_sorting(logits, k):
    kept = logits.clone()
    for row in kept:
        if k < len(row):
            row[row < row.sort(descending=True).values[k - 1]] = -torch.inf
    return kept


# top_p_filter

edited(
    __name__,
    "stops_before_the_crossing_token",
    of="top_p_filter",
    edits={"mass_behind <= 1 - p": "sorted_probs.cumsum(dim=-1) > p"},
    fails="check_crossing_token_stays",
    says="the token whose probability carries the sum past p stays",
)
edited(
    __name__,
    "sorted_mask_applied_as_it_is",
    of="top_p_filter",
    edits={"torch.zeros_like(outside).scatter(-1, order, outside)": "outside"},
    fails="check_token_order",
    says="bring the mask back into token order",
)
edited(
    __name__,
    "gathered_for_scattered",
    of="top_p_filter",
    edits={"torch.zeros_like(outside).scatter(-1, order, outside)": "outside.gather(-1, order)"},
    fails="check_token_order",
    says="bring the mask back into token order",
)
edited(
    __name__,
    "zero_outside",
    of="top_p_filter",
    edits={"-math.inf": "0.0"},
    fails="check_crossing_token_stays",
    says="shut it out with -inf",
)
edited(
    __name__,
    "nobody_stays",
    of="top_p_filter",
    edits={"mass_behind <= 1 - p": "mass_behind.float() <= 1 - p", "outside[:, 0] = False": "pass"},
    fails="check_top_p_edges",
    says="one token always stays",
)


@right(of="top_p_filter")
def token_after_token(logits, p):
    kept = torch.full_like(logits, -math.inf)
    for row, probabilities in enumerate(logits.double().softmax(-1).tolist()):
        total = 0.0
        for token in sorted(range(len(probabilities)), key=lambda one: (-probabilities[one], one)):
            if total >= p and p < 1 and total > 0:
                break
            kept[row, token] = logits[row, token]
            total += probabilities[token]
    return kept


# repetition_penalty

_CHANGED = "torch.where(logits < 0, logits * penalty, logits / penalty)"
edited(
    __name__,
    "always_divided",
    of="repetition_penalty",
    edits={_CHANGED: "logits / penalty"},
    fails="check_penalty_by_hand",
    says="multiply a negative logit by the penalty",
)
edited(
    __name__,
    "the_wrong_way_round",
    of="repetition_penalty",
    edits={"logits < 0": "logits > 0"},
    fails="check_penalty_by_hand",
    says="both make their token likelier",
)
edited(
    __name__,
    "all_tokens",
    of="repetition_penalty",
    edits={"logits.scatter(-1, ids, changed.gather(-1, ids))": "changed"},
    fails="check_penalty_by_hand",
    says="token 3 has not occurred",
)


@wrong(of="repetition_penalty", fails="check_penalty_by_hand", says="token 0 occurs twice, and is changed once only")
def once_for_each_time(ids, logits, penalty):
    logits = logits.clone()
    for row, tokens in enumerate(ids.tolist()):
        for token in tokens:
            logits[row, token] *= penalty if logits[row, token] < 0 else 1 / penalty
    return logits


@wrong(of="repetition_penalty", fails="check_penalty_of_library", says="a logit that stays")
def ids_of_all_rows(ids, logits, penalty):
    logits, tokens = logits.clone(), ids.unique()
    logits[:, tokens] = torch.where(logits[:, tokens] < 0, logits[:, tokens] * penalty, logits[:, tokens] / penalty)
    return logits


@right(of="repetition_penalty")
def with_sets(ids, logits, penalty):
    logits = logits.clone()
    for row, tokens in zip(logits, ids.tolist(), strict=True):
        for token in set(tokens):
            row[token] = row[token] * penalty if row[token] < 0 else row[token] / penalty
    return logits


# generate

edited(
    __name__,
    "prompt_returned",
    of="generate",
    edits={"return ids[len(prompt) :]": "return ids"},
    fails="check_follows_the_greatest",
    says="the prompt is not part of the answer",
)
edited(
    __name__,
    "end_returned",
    of="generate",
    edits={
        "        if int(token) == end:\n            break\n        ids.append(int(token))":
        "        ids.append(int(token))\n        if int(token) == end:\n            break"
    },
    fails="check_follows_the_greatest",
    says="the end token is not returned",
)  # fmt: skip
edited(
    __name__,
    "newest_token_alone",
    of="generate",
    edits={"logits = step(seen)": "logits = step(seen[:, -1:])"},
    fails="check_follows_the_greatest",
    says="hand over all ids so far",
)
edited(
    __name__,
    "filters_not_chained",
    of="generate",
    edits={"logits = change(seen, logits)": "logits = change(seen, step(seen))"},
    fails="check_filters_in_their_order",
    says="each filter reads what the one before it gave",
)
edited(
    __name__,
    "logits_for_probabilities",
    of="generate",
    edits={"logits[0].softmax(dim=-1)": "logits[0].exp().clamp(max=0.1)"},
    fails="check_draws",
    says="draw from the softmax of the logits",
)


edited(
    __name__,
    "exponentials_alone",
    of="generate",
    edits={"logits[0].softmax(dim=-1)": "logits[0].exp()"},
    fails="check_draws",
    says="stopped with RuntimeError",
)
edited(
    __name__,
    "longest_with_the_prompt",
    of="generate",
    edits={"range(longest)": "range(longest - len(prompt))"},
    fails="check_filters_in_their_order",
    says="one filter that shuts out 4: got [], expected [7, 7]",
)


@right(of="generate")
def by_the_running_sum(step, prompt, longest, end, filters=(), generator=None):
    new = []
    while len(new) < longest:
        ids = torch.as_tensor([*prompt, *new])[None]
        logits = step(ids)
        for one in filters:
            logits = one(ids, logits)
        if generator is None:
            token = int(logits[0].topk(1).indices)
        else:
            sums = logits[0].double().softmax(0).cumsum(0)
            drawn = torch.rand(1, generator=generator, dtype=torch.float64) * sums[-1]
            token = int(torch.searchsorted(sums, drawn, right=True))
        if token == end:
            return new
        new.append(np.int64(token))
    return new


# cached_attention

_MASK = ".tril(S - T)"
edited(
    __name__,
    "mask_from_the_start",
    of="cached_attention",
    edits={_MASK: ".tril()"},
    fails="check_one_more_place",
    says="the new place sees the first alone",
)
edited(
    __name__,
    "cache_not_read",
    of="cached_attention",
    edits={"F.scaled_dot_product_attention(query, key, value, attn_mask=mask), (key, value)":
           "F.scaled_dot_product_attention(query, key[:, :, S - T :], value[:, :, S - T :], is_causal=True), (key, value)"},
    fails="check_one_more_place",
    says="the new place sees itself alone",
)  # fmt: skip
edited(
    __name__,
    "no_mask_within_a_piece",
    of="cached_attention",
    edits={", attn_mask=mask": ""},
    fails="check_one_more_place",
    says="within a piece, too, none may",
)
edited(
    __name__,
    "only_the_new_kept",
    of="cached_attention",
    edits={"attn_mask=mask), (key, value)": "attn_mask=mask), (key[:, :, S - T :], value[:, :, S - T :])"},
    fails="check_one_more_place",
    says="expected a tensor of shape (B, H, S + T, D) = (2, 2, 4, 3)",
)


@right(of="cached_attention")
def place_by_place(query, key, value, cache=None):
    keys, values = (key, value) if cache is None else (torch.cat(pair, 2) for pair in zip(cache, (key, value), strict=True))
    before, outputs = keys.shape[2] - key.shape[2], []
    for t in range(query.shape[2]):
        scores = query[:, :, t : t + 1] @ keys[:, :, : before + t + 1].mT / math.sqrt(query.shape[-1])
        outputs.append(scores.softmax(-1) @ values[:, :, : before + t + 1])
    return torch.cat(outputs, dim=2), [keys, values]


# generate_cached

edited(
    __name__,
    "all_once_more",
    of="generate_cached",
    edits={"logits, cache = step(torch.tensor([unread]), cache)": "logits, cache = step(torch.tensor([[*prompt, *new]]), None)"},
    fails="check_each_token_once",
    says="hand over what the model has not read yet",
)
edited(
    __name__,
    "everything_behind_the_cache",
    of="generate_cached",
    edits={"unread = [token]": "unread = [*prompt, *new]"},
    fails="check_each_token_once",
    says="hand over what the model has not read yet",
)
edited(
    __name__,
    "cache_thrown_away",
    of="generate_cached",
    edits={"logits, cache = step(": "logits, _ = step("},
    fails="check_each_token_once",
    says="hand on the cache that the last call returned",
)
edited(
    __name__,
    "one_step_too_many",
    of="generate_cached",
    edits={"    for _ in range(longest):\n": "    step_before = step(torch.tensor([unread]), cache)\n    for _ in range(longest):\n",
           "logits, cache = step(torch.tensor([unread]), cache)\n": "logits, cache = step_before\n",
           "unread = [token]": "unread = [token]\n        step_before = step(torch.tensor([unread]), cache)"},
    fails="check_cached_text",
    says="tokens have gone through the model, where 0 are enough",
)  # fmt: skip


@right(of="generate_cached")
def the_prompt_first(step, prompt, longest, end):
    ids = torch.tensor([list(prompt)])
    cache, written = None, []
    while len(written) < longest:
        logits, cache = step(ids, cache)
        ids = logits.argmax(dim=-1, keepdim=True)
        if ids.item() == end:
            break
        written.append(ids.item())
    return written


# SmallGPT: written out, so that none depends on another exercise's answer


class _OnTorchsLayers(nn.Module):
    """A GPT of torch's layers, which does not learn."""

    steps = 0

    def __init__(self, generator):
        super().__init__()
        C = 96
        self.table = nn.Parameter(torch.randn(VOCAB_SIZE, C, generator=generator) / 50)
        self.places = nn.Parameter(torch.randn(128, C, generator=generator) / 50)
        layer = nn.TransformerEncoderLayer(C, 4, 4 * C, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, nn.LayerNorm(C), enable_nested_tensor=False)
        for one in self.blocks.parameters():
            if one.dim() == 2:
                nn.init.normal_(one, std=0.05, generator=generator)

    def forward(self, ids):
        T = ids.shape[1]
        later = torch.full((T, T), True).triu(1)
        return self.blocks(self.table[ids] + self.places[:T], mask=later, is_causal=True) @ self.table.T

    def fit(self, paragraphs, generator):
        rows = torch.tensor([token for ids in paragraphs for token in (END_ID, *ids)]).unfold(0, 65, 1)
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3, betas=(0.9, 0.98))
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * min((step + 1) / 60, 1.02 - step / self.steps)
            ids = rows[torch.randint(len(rows), (4,), generator=generator)]
            optimizer.zero_grad()
            F.cross_entropy(self(ids[:, :-1]).mT, ids[:, 1:]).backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()


@right(of="SmallGPT")
class TrainedLayers(_OnTorchsLayers):
    steps = 500


@wrong(of="SmallGPT", fails="check_untrained", says="no place may look at a later one")
class SeesAll(_OnTorchsLayers):
    def forward(self, ids):
        return self.blocks(self.table[ids] + self.places[: ids.shape[1]]) @ self.table.T


@wrong(of="SmallGPT", fails="check_untrained", says="draw small first values")
class LargeFirstValues(_OnTorchsLayers):
    def __init__(self, generator):
        super().__init__(generator)
        nn.init.normal_(self.table, generator=generator)


@wrong(of="SmallGPT", fails="check_untrained", says="expected a tensor of shape (B, t, V)")
class LastPlaceAlone(_OnTorchsLayers):
    def forward(self, ids):
        return super().forward(ids)[:, -1:]


@wrong(of="SmallGPT", fails="check_small_gpt_is_measured", says="next to nothing")
class StopsEarly(_OnTorchsLayers):
    steps = 3


@wrong(of="SmallGPT", fails="check_small_gpt_is_measured", says="every place may look at all earlier ones")
class CountsPairs(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.register_buffer("table", torch.zeros(VOCAB_SIZE, VOCAB_SIZE))

    def forward(self, ids):
        return self.table[ids]

    def fit(self, paragraphs, generator):
        text = torch.tensor([token for ids in paragraphs for token in (END_ID, *ids)])
        pairs = torch.bincount(text[:-1] * VOCAB_SIZE + text[1:], minlength=VOCAB_SIZE**2).view(VOCAB_SIZE, VOCAB_SIZE)
        singles = (text.bincount(minlength=VOCAB_SIZE) + 1.0) / (len(text) + VOCAB_SIZE)
        self.table = ((pairs + 20 * singles) / (pairs.sum(-1, keepdim=True) + 20)).log()
