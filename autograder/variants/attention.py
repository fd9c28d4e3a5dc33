"""Variants of the solutions of chapter 6, attention: the mistakes that students make, and other right answers."""

import heapq
import math

import torch
from torch import nn
from torch.nn import functional as F

from autograder.variant import edited, right, wrong

# shift_for_teacher_forcing

edited(
    __name__,
    "reads_what_it_shall_say",
    of="shift_for_teacher_forcing",
    edits={"torch.cat([first, targets[:, :-1]], dim=1)": "targets.clone()"},
    fails="check_shift_of_one_sentence",
    says="the decoder would read the very word that it shall say there",
)
edited(
    __name__,
    "shifted_to_the_left",
    of="shift_for_teacher_forcing",
    edits={"[first, targets[:, :-1]]": "[targets[:, 1:], torch.full_like(first, pad)]"},
    fails="check_shift_of_one_sentence",
    says="it is shifted to the left",
)
edited(
    __name__,
    "rolled_round",
    of="shift_for_teacher_forcing",
    edits={"torch.cat([first, targets[:, :-1]], dim=1)": "targets.roll(1, dims=1)"},
    fails="check_shift_of_one_sentence",
    says="its first place must hold start, 1",
)
edited(
    __name__,
    "padding_counts",
    of="shift_for_teacher_forcing",
    edits={"targets.masked_fill(padding, IGNORED)": "targets"},
    fails="check_shift_of_a_batch",
    says="padding is nothing to be said: its labels are -100",
)
edited(
    __name__,
    "end_is_not_said",
    of="shift_for_teacher_forcing",
    edits={"targets.masked_fill(padding, IGNORED)": "targets.masked_fill(torch.cat([padding[:, 1:], first > -1], dim=1), IGNORED)"},
    fails="check_shift_of_one_sentence",
    says="the end token is to be said, too",
)
edited(
    __name__,
    "end_is_read",
    of="shift_for_teacher_forcing",
    edits={"inputs.masked_fill(padding, pad)": "inputs"},
    fails="check_shift_of_a_batch",
    says="it holds the end token",
)


@wrong(of="shift_for_teacher_forcing", fails="check_shift_edges", says="row 0 of the inputs is [5, 9, 0, 1], expected [5, 4, 0, 9]")
def padding_is_always_zero(targets, start, pad):
    inputs = torch.full_like(targets, pad)
    inputs[:, 0] = start
    inputs[:, 1:] = targets[:, :-1]
    return inputs * (targets != 0) + pad * (targets == 0), torch.where(targets == 0, -100, targets)


@wrong(of="shift_for_teacher_forcing", fails="check_shift_edges", says="work on a copy")
def in_place(targets, start, pad):
    labels = targets.clone()
    labels[labels == pad] = -100
    targets[:, 1:] = targets[:, :-1].clone()
    targets[:, 0] = start
    targets[labels == -100] = pad
    return targets, labels


@right(of="shift_for_teacher_forcing")
def row_by_row(targets, start, pad):
    inputs, labels = [], []
    for row in targets.tolist():
        words = [token for token in row if token != pad]
        filling = len(row) - len(words)
        inputs.append([start, *words[:-1]] + [pad] * filling)
        labels.append(words + [-100] * filling)
    return torch.tensor(inputs), torch.tensor(labels)


# dot_product_attention

_HIDDEN = "scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)"
edited(
    __name__,
    "scaled",
    of="dot_product_attention",
    edits={"memory)\n    scores = ": "memory) / query.shape[1] ** 0.5\n    scores = "},
    fails="check_lookup_by_hand",
    says="the scores are divided by the root of M = 2",
)
edited(
    __name__,
    "mask_the_wrong_way_round",
    of="dot_product_attention",
    edits={"masked_fill(~mask": "masked_fill(mask", ".softmax(dim=-1) * mask": ".softmax(dim=-1) * ~mask"},
    fails="check_lookup_by_hand",
    says="the mask is the wrong way round",
)
edited(
    __name__,
    "mask_after_the_softmax",
    of="dot_product_attention",
    edits={_HIDDEN: "pass"},
    fails="check_hidden_places",
    says="hide the places before the softmax",
)
edited(
    __name__,
    "scores_of_zero",
    of="dot_product_attention",
    edits={_HIDDEN: "scores = scores * mask", ".softmax(dim=-1) * mask": ".softmax(dim=-1)"},
    fails="check_hidden_places",
    says="a score of 0 is no mask",
)
edited(
    __name__,
    "softmax_over_the_batch",
    of="dot_product_attention",
    edits={"softmax(dim=-1)": "softmax(dim=0)"},
    fails="check_lookup_by_hand",
    says="the softmax runs over the sentences of the batch",
)
edited(
    __name__,
    "nan_where_all_is_hidden",
    of="dot_product_attention",
    edits={"torch.finfo(scores.dtype).min": "float('-inf')"},
    fails="check_wholly_hidden",
    says="a softmax of nothing has no meaning",
)
edited(
    __name__,
    "hides_with_a_large_number",
    of="dot_product_attention",
    edits={"torch.finfo(scores.dtype).min": "-1e3", ".softmax(dim=-1) * mask": ".softmax(dim=-1) * mask.any(1, keepdim=True)"},
    fails="check_lookup_properties",
    says="scores of minus some thousands",
)
edited(
    __name__,
    "hides_by_adding",
    of="dot_product_attention",
    edits={_HIDDEN: "scores = scores - 1e9 * ~mask"},
    fails="check_lookup_properties",
    says="do not add to it",
)
edited(
    __name__,
    "weights_first",
    of="dot_product_attention",
    edits={'return torch.einsum("bs,bsm->bm", weights, memory), weights': 'return weights, torch.einsum("bs,bsm->bm", weights, memory)'},
    fails="check_lookup_by_hand",
    says="return the context first, then the weights",
)
edited(
    __name__,
    "turned_round_and_lowest",
    of="dot_product_attention",
    edits={"masked_fill(~mask": "masked_fill(mask"},
    fails="check_lookup_by_hand",
    says="the mask is the wrong way round",
)
edited(
    __name__,
    "mask_by_its_length",
    of="dot_product_attention",
    edits={_HIDDEN: f"mask = torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True)\n    {_HIDDEN}"},
    fails="check_hidden_places",
    says="hidden places may lie anywhere",
)
edited(
    __name__,
    "always_float32",
    of="dot_product_attention",
    edits={'bm", weights, memory), weights': 'bm", weights, memory).float(), weights.float()'},
    fails="check_lookup_properties",
    says="query and memory are float64, and the context torch.float32",
)


@right(of="dot_product_attention")
def only_the_open_places(query, memory, mask):
    rows = []
    for q, places, open_ in zip(query, memory, mask, strict=True):
        row = torch.zeros_like(places[:, 0])
        if open_.any():
            row = row.index_put((open_.nonzero()[:, 0],), F.softmax(places[open_] @ q, dim=0))
        rows.append(row)
    weights = torch.stack(rows)
    return (weights[:, :, None] * memory).sum(1), weights


@right(of="dot_product_attention")
def by_exponentials(query, memory, mask):
    scores = torch.bmm(memory, query[:, :, None]).squeeze(2)
    highest = scores.masked_fill(~mask, -math.inf).amax(1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    grown = torch.where(mask, scores - highest.detach(), -math.inf).exp()
    weights = grown / grown.sum(1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
    return torch.bmm(weights[:, None], memory)[:, 0], weights


# AdditiveAttention

_SUM = "torch.tanh(self.W(query)[:, None] + self.U(memory))"
edited(
    __name__,
    "no_tanh",
    of="AdditiveAttention",
    edits={_SUM: "self.W(query)[:, None] + self.U(memory)"},
    fails="check_additive_by_hand",
    says="tanh is missing",
)
edited(
    __name__,
    "two_tanhs",
    of="AdditiveAttention",
    edits={_SUM: "self.W(query).tanh()[:, None] + self.U(memory).tanh()"},
    fails="check_additive_by_hand",
    says="the query must be added before the tanh",
)
edited(
    __name__,
    "with_biases",
    of="AdditiveAttention",
    edits={"self.W = nn.Linear(M, A, bias=False)": "self.W = nn.Linear(M, A)"},
    fails="check_additive_parameters",
    says="has a parameter that the contract does not name, W.bias: bias=False",
)
edited(
    __name__,
    "softmax_over_sentences",
    of="AdditiveAttention",
    edits={"softmax(dim=-1)": "softmax(dim=0)"},
    fails="check_additive_by_hand",
    says="the softmax runs over the sentences of the batch",
)
edited(
    __name__,
    "hidden_after_the_softmax",
    of="AdditiveAttention",
    edits={_HIDDEN: "pass"},
    fails="check_additive_by_hand",
    says="hide the places before the softmax",
)
edited(
    __name__,
    "detached_memory",
    of="AdditiveAttention",
    edits={"self.U(memory)": "self.U(memory.detach())"},
    fails="check_additive_gradients",
    says="the gradient of the memory",
)
edited(
    __name__,
    "nothing_to_see_is_nan",
    of="AdditiveAttention",
    edits={"torch.finfo(scores.dtype).min": "float('-inf')"},
    fails="check_additive_wholly_hidden",
    says="a softmax of nothing has no meaning",
)
edited(
    __name__,
    "layers_changed_places",
    of="AdditiveAttention",
    edits={_SUM: "torch.tanh(self.U(query)[:, None] + self.W(memory))"},
    fails="check_additive_batch",
    says="W is for the query, U for the memory",
)


@right(of="AdditiveAttention")
class PlaceByPlace(nn.Module):
    def __init__(self, M, A):
        super().__init__()
        self.v, self.U, self.W = nn.Linear(A, 1, bias=False), nn.Linear(M, A, bias=False), nn.Linear(M, A, bias=False)

    def forward(self, query, memory, mask):
        scores = torch.cat([self.v((self.W(query) + self.U(place)).tanh()) for place in memory.unbind(1)], 1)
        scores = torch.where(mask, scores, -math.inf)
        scores = torch.where(mask.any(1, keepdim=True), scores, 0.0)
        weights = torch.where(mask, scores.softmax(1), 0.0)
        return torch.bmm(weights.unsqueeze(1), memory).squeeze(1), weights


# Decoder

edited(
    __name__,
    "asks_with_the_old_state",
    of="Decoder",
    edits={
        "state = self.cell(self.embedding(tokens), state)": "old, state = state, self.cell(self.embedding(tokens), state)",
        "self.attention(state,": "self.attention(old,",
    },
    fails="check_batch_of_steps",
    says="the query is the new state",
)
edited(
    __name__,
    "context_first",
    of="Decoder",
    edits={"[state, context]": "[context, state]"},
    fails="check_step_by_hand",
    says="the state's numbers come first",
)
edited(
    __name__,
    "combine_without_tanh",
    of="Decoder",
    edits={"torch.tanh(self.combine(torch.cat([state, context], dim=1)))": "self.combine(torch.cat([state, context], dim=1))"},
    fails="check_step_by_hand",
    says="tanh is missing between combine and output",
)
edited(
    __name__,
    "probabilities_of_words",
    of="Decoder",
    edits={"self.output(mixed), state": "self.output(mixed).softmax(1), state"},
    fails="check_step_by_hand",
    says="these are probabilities; return the logits",
)
edited(
    __name__,
    "returns_the_old_state",
    of="Decoder",
    edits={"state = self.cell": "new = self.cell", "self.attention(state,": "self.attention(new,", "[state, context]": "[new, context]"},
    fails="check_step_by_hand",
    says="return the new one",
)
edited(
    __name__,
    "mask_is_not_handed_on",
    of="Decoder",
    edits={"self.attention(state, memory, mask)": "self.attention(state, memory, torch.ones_like(mask))"},
    fails="check_batch_of_steps",
    says="the weights at",
)
edited(
    __name__,
    "no_way_back_to_the_state",
    of="Decoder",
    edits={"self.embedding(tokens), state)": "self.embedding(tokens), state.detach())"},
    fails="check_gradients_of_step",
    says="no gradient reaches the state",
)
edited(
    __name__,
    "detached_query",
    of="Decoder",
    edits={"self.attention(state, memory, mask)": "self.attention(state.detach(), memory, mask)"},
    fails="check_attention_is_called",
    says="cut off from the gradients",
)


@right(of="Decoder")
class DecoderByGates(nn.Module):
    def __init__(self, V, C, M, attention):
        super().__init__()
        self.embedding, self.cell, self.output = nn.Embedding(V, C), nn.GRUCell(C, M), nn.Linear(M, V)
        self.combine = nn.Linear(M + M, M)
        self.look = (attention,)

    def forward(self, tokens, state, memory, mask):
        x = F.linear(self.embedding(tokens), self.cell.weight_ih, self.cell.bias_ih).chunk(3, 1)
        h = F.linear(state, self.cell.weight_hh, self.cell.bias_hh).chunk(3, 1)
        keep = torch.sigmoid(x[1] + h[1])
        state = (1 - keep) * torch.tanh(x[2] + torch.sigmoid(x[0] + h[0]) * h[2]) + keep * state
        context, weights = self.look[0](state, memory, mask)
        return self.output(self.combine(torch.hstack([state, context])).tanh()), state, weights


# greedy

edited(
    __name__,
    "end_belongs_to_the_sentence",
    of="greedy",
    edits={"if token == end:": "tokens.append(token)\n        if token == end:", "break\n        tokens.append(token)": "break"},
    fails="check_greedy_by_hand",
    says="the end token is no part of the sentence",
)
edited(
    __name__,
    "always_the_first_state",
    of="greedy",
    edits={"log_probs, state = step": "log_probs, _ = step"},
    fails="check_greedy_by_hand",
    says="hand on the state that came back",
)
edited(
    __name__,
    "reads_start_again",
    of="greedy",
    edits={"state = step(token, state)": "state = step(start, state)"},
    fails="check_greedy_by_hand",
    says="expected [3, 4]",
)
edited(
    __name__,
    "one_token_too_many",
    of="greedy",
    edits={"while len(tokens) < max_length": "while len(tokens) <= max_length"},
    fails="check_length_of_greedy",
    says="the sentence holds at most max_length",
)
edited(
    __name__,
    "end_takes_room",
    of="greedy",
    edits={"while len(tokens) < max_length": "while len(tokens) < max_length - 1"},
    fails="check_length_of_greedy",
    says="the end token not counted",
)
edited(
    __name__,
    "ties_to_the_higher_id",
    of="greedy",
    edits={"int(log_probs.argmax())": "len(log_probs) - 1 - int(log_probs.flip(0).argmax())"},
    fails="check_ties_of_greedy",
    says="after start 3 and 4 are equally likely",
)


@wrong(of="greedy", fails="check_greedy_by_hand", says="step was called 10 times, expected 3")
def asks_on_after_the_end(step, state, start, end, max_length):
    tokens, token = [], start
    for _ in range(max_length):
        log_probs, state = step(token, state)
        token = log_probs.argmax().item()
        tokens.append(token)
    return tokens[: tokens.index(end)] if end in tokens else tokens


edited(
    __name__,
    "end_is_always_two",
    of="greedy",
    edits={"if token == end:": "if token == 2:"},
    fails="check_ties_of_greedy",
    says="start = 0, end = 5",
)


@right(of="greedy")
def greedy_by_recursion(step, state, start, end, max_length):
    if max_length == 0:
        return []
    log_probs, state = step(torch.tensor(start), state)
    best = log_probs.max()
    token = next(i for i, one in enumerate(log_probs) if one == best)
    return () if token == end else (token, *greedy_by_recursion(step, state, token, end, max_length - 1))


# beam_search

edited(
    __name__,
    "beam_with_the_end",
    of="beam_search",
    edits={"tokens + [token] * (token != end)": "[*tokens, token]"},
    fails="check_beam_by_hand",
    says="the end token is no part of a sentence",
)
edited(
    __name__,
    "one_state_for_all",
    of="beam_search",
    edits={"log_probs, after = step(*ahead)": "log_probs, after = step(ahead[0], state)\n            state = after"},
    fails="check_beam_by_hand",
    says="found",
)
edited(
    __name__,
    "divided_by_length",
    of="beam_search",
    edits={"found = [(tokens, score) for tokens, score, _ in beam]": "found = [(one, score / (len(one) + 1)) for one, score, _ in beam]"},
    fails="check_beam_by_hand",
    says="it is not divided by the length",
)
edited(
    __name__,
    "finished_ones_leave_the_beam",
    of="beam_search",
    edits={
        "found = [(tokens, score) for tokens, score, _ in beam]": "found = done",
        "beam = [([], 0.0, (start, state) if max_length else None)]": (
            "done = [([], 0.0)][max_length:]\n    beam = [([], 0.0, (start, state))]"
        ),
        "    while any(ahead for *_, ahead in beam):": "    while beam and max_length:",
        "[:size]  # equals keep their order": (
            "[:size]\n        done += [one[:2] for one in beam if not one[2]]\n        beam = [one for one in beam if one[2]]"
        ),
    },
    fails="check_finished_stay",
    says="a finished hypothesis takes up a place in the beam",
)
edited(
    __name__,
    "first_end_ends_all",
    of="beam_search",
    edits={"while any(ahead for *_, ahead in beam):": "while all(ahead for *_, ahead in beam):"},
    fails="check_finished_stay",
    says="the end of one hypothesis does not end the others",
)
edited(
    __name__,
    "without_greedy",
    of="beam_search",
    edits={"if size > 1:": "if size < 1:"},
    fails="check_never_below_greedy",
    says="at the end it joins",
)
edited(
    __name__,
    "ties_to_the_later",
    of="beam_search",
    edits={"beam = sorted(candidates, key": "beam = sorted(candidates[::-1], key"},
    fails="check_ties_and_ends_of_beam",
    says="everything equally likely",
)
edited(
    __name__,
    "finished_ones_go_first",
    of="beam_search",
    edits={"beam = sorted(candidates, key": "beam = sorted(sorted(candidates, key=lambda one: one[2] is not None), key"},
    fails="check_ties_and_ends_of_beam",
    says="a finished one is its own parent",
)
edited(
    __name__,
    "greedy_joins_in_front",
    of="beam_search",
    edits={
        "found += [one for one in alone if one[0] not in [tokens for tokens, _ in found]]": (
            "found = [one for one in alone if one[0] not in [tokens for tokens, _ in found]] + found"
        )
    },
    fails="check_never_below_greedy",
    says="joins behind those with the same score",
)
edited(__name__, "scores_in_float32", of="beam_search", edits={"enumerate(log_probs.tolist())": "enumerate(log_probs.float())"})
edited(
    __name__,
    "end_is_always_two_in_the_beam",
    of="beam_search",
    edits={"tokens + [token] * (token != end)": "tokens + [token] * (token != 2)", "over = token == end": "over = token == 2"},
    fails="check_ties_and_ends_of_beam",
    says="start = 0, end = 5",
)
edited(
    __name__,
    "ties_by_tokens",
    of="beam_search",
    edits={
        "beam = sorted(candidates, key=lambda one: one[1], reverse=True)": "beam = sorted(candidates, key=lambda one: (-one[1], one[0]))"
    },
    fails="check_ties_and_ends_of_beam",
    says="[4] stands above [3]",
)
edited(
    __name__,
    "end_goes_first",
    of="beam_search",
    edits={"enumerate(log_probs.tolist())": "sorted(enumerate(log_probs.tolist()), key=lambda one: one[0] != end)"},
    fails="check_ties_and_ends_of_beam",
    says="the end token has the id 5 here",
)
edited(
    __name__,
    "full_ones_go_on",
    of="beam_search",
    edits={"len(longer) == max_length": "len(longer) == max_length + 1"},
    fails="check_beam_of_one",
    says="no end token is chosen, and none counts",
)


@right(of="beam_search")
def beam_with_a_heap(step, state, start, end, size, max_length):
    def search(K):
        open_, done = [(0.0, (), [], start, state)] if max_length else [], [] if max_length else [(0.0, (), [])]
        while open_:
            candidates = [(score, rank, tokens, None, None) for score, rank, tokens in done]
            for score, rank, tokens, last, its in open_:
                logs, after = step(torch.tensor(last), its)
                for token in logs.isfinite().nonzero()[:, 0].tolist():
                    candidates.append((score - logs[token].item(), (rank, token), [*tokens, token], token, after))
            best = heapq.nsmallest(K, candidates, key=lambda one: (one[0], _order(one[1])))
            ranked = [(one[0], i, *one[2:]) for i, one in enumerate(best)]
            over = [one[3] is None or one[3] == end or len(one[2]) == max_length for one in ranked]
            done = [one[:3] for one, finished in zip(ranked, over, strict=True) if finished]
            open_ = [one for one, finished in zip(ranked, over, strict=True) if not finished]
        return [([token for token in tokens if token != end], -score) for score, _, tokens in sorted(done)]

    found = search(size)
    if size == 1:
        return found
    names = [tokens for tokens, _ in found]
    found += [one for one in search(1) if one[0] not in names]
    return heapq.nlargest(size, found, key=lambda one: one[1])


def _order(rank):
    """The place of a parent, then the token."""
    return rank if isinstance(rank, tuple) else (rank, -1)


# Translator

edited(
    __name__,
    "hands_out_the_end",
    of="Translator",
    edits={
        "row[: row.index(2)]": "row[: row.index(2) + 1]",
        "if word > 2]": "]",
        "target, steps, generator)": "target, min(steps, 12), generator)",
    },
    fails="check_translator",
    says="the end token; a sentence holds the ids of its words alone",
)
edited(
    __name__,
    "sorts_the_pairs_in_place",
    of="Translator",
    edits={
        "target, steps, generator)": (
            "target, min(steps, 12), generator)\n"
            "        order = (source != 0).sum(dim=1).argsort()\n"
            "        source[:], target[:] = source[order], target[order]"
        ),
    },
    fails="check_translator",
    says="that was given is changed",
)
edited(
    __name__,
    "own_first_parameters",
    of="Translator",
    edits={
        "torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))": (
            'Translator.made = getattr(Translator, "made", 0) + 1\n        torch.manual_seed(Translator.made)'
        ),
        "target, steps, generator)": "target, min(steps, 12), generator)",
    },
    fails="check_same_translator",
    says="take all chance from the generator",
)
edited(
    __name__,
    "without_attention",
    of="Translator",
    edits={
        "self.attention, M = attention, 96": "self.attention, M = False, 96",
        "target, steps, generator)": "target, min(steps, 100), generator)",
    },
    fails="check_most_are_exact",
    says="does the decoder look at the memory of the sentence",
)
edited(
    __name__,
    "attention_reads_the_padding",
    of="Translator",
    edits={"attn_mask=mask[:, None]": "attn_mask=None", "target, steps, generator)": "target, min(steps, 200), generator)"},
    fails="check_most_are_exact",
    says="neither the encoder nor the attention may read padding",
)
edited(
    __name__,
    "reads_the_padding",
    of="Translator",
    edits={
        "mask.sum(dim=1)": "mask.sum(dim=1) * 0 + mask.shape[1]",
        "attn_mask=mask[:, None]": "attn_mask=None",
        "target, steps, generator)": "target, min(steps, 100), generator)",
    },
    fails="check_most_are_exact",
    says="neither the encoder nor the attention may read padding",
)


@right(of="Translator")
class TranslatorThatTurnsRound(nn.Module):
    """Without packed sequences: a second layer reads each row from its last word to its first."""

    def __init__(self, source, target, V_source, V_target, steps, generator, attention=True):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            self.words, self.said = nn.Embedding(V_source, 96, padding_idx=0), nn.Embedding(V_target, 96)
            self.forth, self.back = nn.GRU(96, 48, batch_first=True), nn.GRU(96, 48, batch_first=True)
            self.cell, self.mix, self.out = nn.GRU(96, 96, batch_first=True), nn.Linear(192, 96), nn.Linear(96, V_target, bias=False)
            for weight in (self.words.weight, self.said.weight):
                weight.data *= 0.3
        self.looks = attention
        fit(self, _loss_by_words, source, target, steps, generator)  # noqa: F821  given in the notebook

    def remember(self, source):
        x, mask = self.words(source), source != 0
        length, places = mask.sum(1, keepdim=True), torch.arange(source.shape[1])
        turned = torch.where(mask, length - 1 - places, places)[:, :, None].expand(-1, -1, 48)
        there = self.forth(x)[0]
        again = self.back(x.gather(1, turned.repeat(1, 1, 2)))[0]
        rows = torch.arange(len(x))
        whole = torch.cat([there[rows, length[:, 0] - 1], again[rows, length[:, 0] - 1]], 1)
        if not self.looks:
            return whole[:, None], mask[:, :1], whole
        return torch.cat([there, again.gather(1, turned)], 2) + x, mask, whole

    def forward(self, inputs, memory, mask, state):
        states, last = self.cell(self.said(inputs), state[None])
        scores = torch.where(mask[:, None], states @ memory.mT / 5, -torch.inf)
        return self.out(self.mix(torch.cat([states, scores.softmax(2) @ memory], 2)).tanh()), last[0]

    def translate(self, source):
        with torch.inference_mode():
            memory, mask, state = self.remember(source)
            rows, tokens = [[] for _ in source], torch.ones(len(source), dtype=torch.int64)
            over = torch.zeros(len(source), dtype=torch.bool)
            while not over.all() and len(rows[0]) < 40:
                logits, state = self(tokens[:, None], memory, mask, state)
                tokens = logits[:, 0].argmax(1)
                over |= tokens == 2
                for row, token, done in zip(rows, tokens.tolist(), over.tolist(), strict=True):
                    row.append(0 if done else token)
        return [tuple(token for token in row if token > 2) for row in rows]


def _loss_by_words(model, pair):
    source, target = pair
    inputs = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], 1)
    logits, _ = model(inputs, *model.remember(source))
    return F.nll_loss(logits.log_softmax(2)[target != 0], target[target != 0])
