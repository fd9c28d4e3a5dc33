"""Variants of the solutions of chapter 3, feed-forward models: the mistakes that students make, and other right answers."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from autograder.variant import edited, right, wrong

# windows

edited(
    __name__,
    "no_end_target",
    of="windows",
    edits={"list(paragraph) + [end]": "list(paragraph)"},
    fails="check_windows_of_two_tokens",
    says="the end token behind each paragraph is a target too",
)
edited(
    __name__,
    "n_end_tokens_in_front",
    of="windows",
    edits={"[end] * (n - 1) + list": "[end] * n + list"},
    fails="check_windows_of_two_tokens",
    says="n - 1 end tokens in front, not n",
)
edited(
    __name__,
    "newest_first",
    of="windows",
    edits={"tokens[i - n + 1 : i])": "tokens[i - n + 1 : i][::-1])"},
    fails="check_windows_of_two_tokens",
    says="the oldest token stands first",
)
edited(
    __name__,
    "target_in_its_history",
    of="windows",
    edits={"tokens[i - n + 1 : i])": "tokens[i - n + 2 : i + 1])"},
    fails="check_windows_of_two_tokens",
    says="the target must not stand in its own history",
)
edited(
    __name__,
    "target_one_too_early",
    of="windows",
    edits={"targets.append(tokens[i])": "targets.append(tokens[i - 1])"},
    fails="check_windows_of_two_tokens",
    says="the target is the token behind the history",
)
edited(
    __name__,
    "one_token_left_out",
    of="windows",
    edits={"range(n - 1, len(tokens))": "range(n, len(tokens))", "tokens[i - n + 1 : i]": "tokens[i - n : i - 1]"},
    fails="check_windows_of_two_tokens",
    says="one is left out between them",
)
edited(
    __name__,
    "history_of_n_tokens",
    of="windows",
    edits={
        "range(n - 1, len(tokens))": "range(n, len(tokens))",
        "[end] * (n - 1) + list": "[end] * n + list",
        "tokens[i - n + 1 : i]": "tokens[i - n : i]",
        "reshape(-1, n - 1)": "reshape(-1, n)",
    },
    fails="check_windows_of_two_tokens",
    says="histories have the shape (6, 3), expected (N, n - 1) = (6, 2)",
)
edited(
    __name__,
    "lists_in_place_of_tensors",
    of="windows",
    edits={
        "torch.tensor(histories, dtype=torch.int64).reshape(-1, n - 1), torch.tensor(targets, dtype=torch.int64)": "histories, targets",
    },
    fails="check_windows_of_two_tokens",
    says="expected histories as a tensor, got [[0, 0]",
)


@wrong(of="windows", fails="check_windows_of_two_tokens", says="no window reaches into the next paragraph")
def one_long_text(paragraphs, n, end):
    tokens = [end] * (n - 1)
    for paragraph in paragraphs:
        tokens += [*paragraph, end]
    rows = torch.tensor([tokens[i : i + n] for i in range(len(tokens) - n + 1)], dtype=torch.int64).reshape(-1, n)
    return rows[:, :-1], rows[:, -1]


edited(
    __name__,
    "always_two_tokens_back",
    of="windows",
    edits={"tokens[i - n + 1 : i]": "tokens[max(0, i - 2) : i]"},
    fails="check_other_windows",
    says="stopped with ValueError",
)
edited(
    __name__,
    "types_of_empty_tensors",
    of="windows",
    edits={"torch.tensor(histories, dtype=torch.int64)": "torch.tensor(histories)"},
    fails="check_edges_of_windows",
    says="histories have the type torch.float32",
)


@wrong(of="windows", fails="check_edges_of_windows", says="pad a copy")
def appends_to_the_paragraphs(paragraphs, n, end):
    rows = []
    for paragraph in paragraphs:
        paragraph += [end]
        tokens = [end] * (n - 1) + paragraph
        rows += [tokens[i : i + n] for i in range(len(paragraph))]
    rows = torch.tensor(rows, dtype=torch.int64).reshape(-1, n)
    return rows[:, :-1], rows[:, -1]


@wrong(of="windows", fails="check_windows_of_two_tokens", says="each needs a list of its own")
def one_list_for_all_histories(paragraphs, n, end):
    histories, targets = [], []
    for paragraph in paragraphs:
        history = [end] * (n - 1)
        for token in (*paragraph, end):
            histories.append(history)
            targets.append(token)
            history.append(token)
            del history[0]
    return torch.tensor(histories, dtype=torch.int64).reshape(-1, n - 1), torch.tensor(targets, dtype=torch.int64)


@right(of="windows")
def windows_by_unfolding(paragraphs, n, end):
    rows = [torch.tensor((*[end] * (n - 1), *paragraph, end)).unfold(0, n, 1) for paragraph in paragraphs]
    rows = torch.cat([torch.zeros(0, n, dtype=torch.int64), *rows])
    return [rows[:, : n - 1], rows[:, n - 1]]


@right(of="windows")
def sliding_history(paragraphs, n, end):
    histories, targets = [], []
    for paragraph in paragraphs:
        history = [end] * (n - 1)
        for token in (*paragraph, end):
            histories.append(np.array(history))
            targets.append(token)
            history = [*history[1:], token]
    histories = np.stack(histories) if histories else np.zeros((0, n - 1))
    return torch.from_numpy(histories.astype(np.int64)), torch.from_numpy(np.array(targets, dtype=np.int64))


# log_softmax

_NORMALISED = "shifted - shifted.exp().sum(dim=-1, keepdim=True).log()"
edited(
    __name__,
    "largest_not_subtracted",
    of="log_softmax",
    edits={"logits - logits.amax(dim=-1, keepdim=True)": "logits"},
    fails="check_far_apart",
    says="a sum of exponentials became 0 or inf",
)
edited(
    __name__,
    "probabilities",
    of="log_softmax",
    edits={_NORMALISED: "shifted.exp() / shifted.exp().sum(dim=-1, keepdim=True)"},
    fails="check_three_logits",
    says="these are the probabilities; return their logarithms",
)
edited(
    __name__,
    "base_two",
    of="log_softmax",
    edits={_NORMALISED: "shifted / 0.6931471805599453 - shifted.exp().sum(-1, True).log2()"},
    fails="check_three_logits",
    says="to base 2",
)
edited(
    __name__,
    "minus_log_probabilities",
    of="log_softmax",
    edits={_NORMALISED: "shifted.exp().sum(dim=-1, keepdim=True).log() - shifted"},
    fails="check_three_logits",
    says="the sign is wrong",
)
edited(
    __name__,
    "only_shifted",
    of="log_softmax",
    edits={_NORMALISED: "shifted"},
    fails="check_three_logits",
    says="the logarithm of the sum of the exponentials is still to be",
)
edited(
    __name__,
    "sums_over_the_batch",
    of="log_softmax",
    edits={"amax(dim=-1": "amax(dim=0", "sum(dim=-1": "sum(dim=0"},
    fails="check_rows_apart",
    says="this sums over the first dimension",
)
edited(
    __name__,
    "sums_over_everything",
    of="log_softmax",
    edits={"amax(dim=-1, keepdim=True)": "amax()", "sum(dim=-1, keepdim=True)": "sum()"},
    fails="check_rows_apart",
    says="this sums over all rows together",
)
edited(
    __name__,
    "logarithm_of_the_softmax",
    of="log_softmax",
    edits={_NORMALISED: "(shifted.exp() / shifted.exp().sum(dim=-1, keepdim=True)).log()"},
    fails="check_far_apart",
    says="logits 0, -1000, 3: the result holds -inf",
)
edited(
    __name__,
    "sum_without_logarithm",
    of="log_softmax",
    edits={"keepdim=True).log()": "keepdim=True)"},
    fails="check_three_logits",
    says="this subtracts the sum of the exponentials; subtract its logarithm",
)
edited(
    __name__,
    "mean_subtracted",
    of="log_softmax",
    edits={"logits.amax(dim=-1, keepdim=True)": "logits.mean(dim=-1, keepdim=True)"},
    fails="check_far_apart",
    says="logits 5000, 0, -5000",
)
edited(
    __name__,
    "largest_of_all_rows",
    of="log_softmax",
    edits={"logits.amax(dim=-1, keepdim=True)": "logits.amax()"},
    fails="check_minus_infinity",
    says="-2000.0, -2001.0, -1999.0",
)
edited(
    __name__,
    "clamped",
    of="log_softmax",
    edits={"shifted = logits - ": "logits = logits.clamp(min=-10000)\n    shifted = logits - "},
    fails="check_minus_infinity",
    says="expected -inf",
)
edited(
    __name__,
    "changes_the_logits",
    of="log_softmax",
    edits={"shifted = logits - logits.amax": "shifted = logits\n    shifted -= logits.amax"},
    fails="check_matches_torch",
    says="subtract into a new tensor",
)


@right(of="log_softmax")
def with_logsumexp(logits):
    return logits - torch.logsumexp(logits, -1, keepdim=True)


@right(of="log_softmax")
def row_by_row(logits):
    if logits.ndim > 1:
        return torch.stack([row_by_row(row) for row in logits])
    values = logits.double().tolist()
    largest = max(values)
    total = math.log(math.fsum(math.exp(value - largest) for value in values))
    return torch.tensor([value - largest - total for value in values], dtype=logits.dtype)


# initialise

edited(
    __name__,
    "W_not_scaled",
    of="initialise",
    edits={" / math.sqrt(width)": ""},
    fails="check_spreads",
    says="so it spreads more than x: divide by the root",
)
edited(
    __name__,
    "W_without_the_root",
    of="initialise",
    edits={"math.sqrt(width)": "width"},
    fails="check_spreads",
    says="variances add up, not standard deviations: divide by the root of (n-1) C = 32",
)
edited(
    __name__,
    "W_for_one_vector",
    of="initialise",
    edits={"math.sqrt(width)": "math.sqrt(C)"},
    fails="check_spreads",
    says="x holds n - 1 = 2 rows of E",
)
edited(
    __name__,
    "W_by_its_outputs",
    of="initialise",
    edits={"math.sqrt(width)": "math.sqrt(M)"},
    fails="check_spreads",
    says="not the number of sums, M = 50",
)
edited(
    __name__,
    "U_not_scaled",
    of="initialise",
    edits={" * 0.1 / math.sqrt(M)": ""},
    fails="check_first_loss",
    says="U must shrink as M grows",
)
edited(
    __name__,
    "U_always_a_tenth",
    of="initialise",
    edits={" * 0.1 / math.sqrt(M)": " * 0.1"},
    fails="check_first_loss",
    says="U must shrink as M grows",
)
edited(
    __name__,
    "U_of_zeros",
    of="initialise",
    edits={"torch.randn(M, V, generator=generator) * 0.1 / math.sqrt(M)": "torch.zeros(M, V)"},
    fails="check_shapes_and_biases",
    says="every number of U is 0",
)
edited(
    __name__,
    "random_biases",
    of="initialise",
    edits={"torch.zeros(M)": "torch.randn(M, generator=generator) * 0.01"},
    fails="check_shapes_and_biases",
    says="b is not zero",
)
edited(
    __name__,
    "shapes_of_linear_layers",
    of="initialise",
    edits={"torch.randn(width, M,": "torch.randn(M, width,"},
    fails="check_shapes_and_biases",
    says="W: expected a tensor of shape ((n-1) C, M) = (32, 50), got the shape (50, 32)",
)
edited(
    __name__,
    "uniform_from_zero_to_one",
    of="initialise",
    edits={"torch.randn(V, C,": "torch.rand(V, C,"},
    fails="check_spreads",
    says="torch.randn, not torch.rand",
)
edited(
    __name__,
    "uniform_around_zero",
    of="initialise",
    edits={"torch.randn(M, V, generator=generator)": "(torch.rand(M, V, generator=generator) * 2 - 1) * math.sqrt(3)"},
    fails="check_spreads",
    says="the numbers of U are not normal: 0.0% lie beyond two standard deviations",
)
edited(
    __name__,
    "own_random_numbers",
    of="initialise",
    edits={"torch.randn(V, C, generator=generator)": "torch.randn(V, C)"},
    fails="check_generator_draws",
    says="pass generator=generator to every torch.randn",
)


@wrong(of="initialise", fails="check_generator_draws", says="do not seed it again")
def seeds_again(V, n, C, M, generator):
    width, seed = (n - 1) * C, generator.initial_seed()
    params = {"b": torch.zeros(M), "c": torch.zeros(V)}
    for name, rows, columns, scale in (("E", V, C, 0.3), ("W", width, M, width**-0.5), ("U", M, V, 0.1 * M**-0.5)):
        params[name] = torch.randn(rows, columns, generator=generator.manual_seed(seed)) * scale
    return params


@right(of="initialise")
def normal_in_float64(V, n, C, M, generator):
    shapes = {"U": (M, V), "W": ((n - 1) * C, M), "E": (V, C)}
    scales = {"U": 0.1 / M**0.5, "W": ((n - 1) * C) ** -0.5, "E": 0.3}
    zeros = {"c": torch.zeros(V, dtype=torch.float64), "b": torch.zeros(M, dtype=torch.float64)}
    drawn = {name: torch.empty(shape, dtype=torch.float64) for name, shape in shapes.items()}
    return zeros | {name: one.normal_(0, scales[name], generator=generator) for name, one in drawn.items()}


# forward

edited(
    __name__,
    "no_tanh",
    of="forward",
    edits={'torch.tanh(x @ params["W"] + params["b"])': 'x @ params["W"] + params["b"]'},
    fails="check_logits_by_hand",
    says="tanh is missing",
)
edited(
    __name__,
    "no_b",
    of="forward",
    edits={' + params["b"]': ""},
    fails="check_logits_by_hand",
    says="b is missing",
)
edited(
    __name__,
    "no_c",
    of="forward",
    edits={' + params["c"]': ""},
    fails="check_logits_by_hand",
    says="c is missing",
)
edited(
    __name__,
    "sigmoid",
    of="forward",
    edits={"torch.tanh": "torch.sigmoid"},
    fails="check_logits_by_hand",
    says="h is tanh of x W + b, not its sigmoid",
)
edited(
    __name__,
    "softmax_at_the_end",
    of="forward",
    edits={'return h @ params["U"] + params["c"]': 'return (h @ params["U"] + params["c"]).softmax(-1)'},
    fails="check_logits_by_hand",
    says="these are probabilities; return the logits",
)
edited(
    __name__,
    "squashed_logits",
    of="forward",
    edits={'return h @ params["U"] + params["c"]': 'return torch.tanh(h @ params["U"] + params["c"])'},
    fails="check_logits_by_hand",
    says="tanh belongs to the hidden layer only",
)
edited(
    __name__,
    "newest_vector_first",
    of="forward",
    edits={'params["E"][histories].reshape(B, -1)': 'params["E"][histories.flip(1)].reshape(B, -1)'},
    fails="check_logits_by_hand",
    says="the oldest token, the first of the history, comes first in x",
)
edited(
    __name__,
    "vectors_interleaved",
    of="forward",
    edits={'params["E"][histories].reshape(B, -1)': 'params["E"][histories].transpose(1, 2).reshape(B, -1)'},
    fails="check_logits_of_library",
    says="all C numbers of one token stand together in x",
)
edited(
    __name__,
    "one_history_only",
    of="forward",
    edits={'params["E"][histories].reshape(B, -1)': 'params["E"][histories[0]].reshape(1, -1)'},
    fails="check_batch_of_histories",
    says="expected a tensor of shape (B, V) = (3, 3), got the shape (1, 3)",
)
edited(
    __name__,
    "always_float64",
    of="forward",
    edits={"    B = len(histories)": "    B, params = len(histories), {name: one.double() for name, one in params.items()}"},
    fails="check_logits_of_other_sizes",
    says="expected that of the parameters",
)
edited(
    __name__,
    "centres_the_logits_afterwards",
    of="forward",
    edits={"return h": "logits = h", ' + params["c"]': ' + params["c"]\n    params["c"] -= logits.mean()\n    return logits'},
    fails="check_nothing_changed_forward",
    says="the parameter c is changed",
)


edited(
    __name__,
    "keeps_the_hidden_layer",
    of="forward",
    edits={"    return h": '    params["h"] = h\n    return h'},
    fails="check_nothing_changed_forward",
    says="holds 'h', too, after the call",
)


@wrong(of="forward", fails="check_logits_by_hand", says="stopped with RuntimeError")
def mean_of_the_vectors(params, histories):
    x = params["E"][histories].mean(dim=1)
    return torch.tanh(x @ params["W"] + params["b"]) @ params["U"] + params["c"]


@right(of="forward")
def one_place_at_a_time(params, histories):
    E, W = params["E"], params["W"]
    C, total = E.shape[1], params["b"]
    for place, tokens in enumerate(histories.unbind(1)):
        total = total + torch.nn.functional.one_hot(tokens, len(E)).to(E.dtype) @ E @ W[place * C : (place + 1) * C]
    return torch.addmm(params["c"], total.tanh(), params["U"])


@right(of="forward")
def sums_written_out(params, histories):
    E, (B, places) = params["E"], histories.shape
    W = params["W"].reshape(places, E.shape[1], -1)
    h = torch.tanh(torch.einsum("bpc,pcm->bm", E[histories], W) + params["b"])
    return torch.einsum("bm,mv->bv", h, params["U"]) + params["c"].expand(B, -1)


# loss_and_gradients

edited(
    __name__,
    "sum_over_the_batch",
    of="loss_and_gradients",
    edits={"log_p[row, targets].mean()": "log_p[row, targets].sum()", "\n    d_logits /= B": ""},
    fails="check_loss",
    says="this is the sum over the 2 windows; take the mean",
)
edited(
    __name__,
    "gradients_not_divided",
    of="loss_and_gradients",
    edits={"\n    d_logits /= B": ""},
    fails="check_output_gradients",
    says="the loss is their mean, so divide by 2",
)
edited(
    __name__,
    "target_not_subtracted",
    of="loss_and_gradients",
    edits={"\n    d_logits[row, targets] -= 1": ""},
    fails="check_output_gradients",
    says="this is p; at the target 1 is to be subtracted",
)
edited(
    __name__,
    "targets_of_all_windows",
    of="loss_and_gradients",
    edits={"d_logits[row, targets] -= 1": "d_logits[:, targets] -= 1"},
    fails="check_output_gradients",
    says="in row i at targets[i] alone",
)
edited(
    __name__,
    "uphill",
    of="loss_and_gradients",
    edits={"d_logits /= B": "d_logits /= -B"},
    fails="check_output_gradients",
    says="the sign is wrong",
)
edited(
    __name__,
    "slope_of_tanh_missing",
    of="loss_and_gradients",
    edits={" * (1 - h**2)": ""},
    fails="check_hidden_gradients",
    says="the derivative of tanh is missing: the factor 1 - h²",
)
edited(
    __name__,
    "tanh_twice",
    of="loss_and_gradients",
    edits={"(1 - h**2)": "(1 - torch.tanh(h) ** 2)"},
    fails="check_hidden_gradients",
    says="h is the tanh already",
)
edited(
    __name__,
    "U_turned",
    of="loss_and_gradients",
    edits={'"U": h.T @ d_logits': '"U": d_logits.T @ h'},
    fails="check_output_gradients",
    says="the gradients: U: expected a tensor of shape (M, V) = (2, 3), got the shape (3, 2)",
)
edited(
    __name__,
    "repeated_tokens_count_once",
    of="loss_and_gradients",
    edits={
        "torch.zeros_like(E).index_add_(0, histories.flatten(), d_x)": "torch.zeros_like(E)\n    d_E[histories.flatten()] += d_x",
    },
    fails="check_repeated_tokens",
    says="a token in several places gets the sum",
)
edited(
    __name__,
    "softmax_then_logarithm",
    of="loss_and_gradients",
    edits={"torch.log_softmax(h @ U + c, dim=-1)": "torch.log((h @ U + c).exp() / (h @ U + c).exp().sum(1, True))"},
    fails="check_large_logits",
    says="exponentials of large logits overflow",
)
edited(
    __name__,
    "takes_the_step_too",
    of="loss_and_gradients",
    edits={"    return loss.item()": "    c -= d_logits.sum(0)\n    return loss.item()"},
    fails="check_nothing_changed_or_kept",
    says="the step belongs to `train`",
)


edited(
    __name__,
    "keeps_what_it_computed",
    of="loss_and_gradients",
    edits={"    return loss.item()": '    params["h"] = h\n    return loss.item()'},
    fails="check_nothing_changed_or_kept",
    says="holds 'h', too, after the call",
)


@wrong(of="loss_and_gradients", fails="check_loss", says="autograd is switched off here")
def by_autograd(params, histories, targets):
    params = {name: one.clone().requires_grad_() for name, one in params.items()}
    h = torch.tanh(params["E"][histories].flatten(1) @ params["W"] + params["b"])
    loss = F.cross_entropy(h @ params["U"] + params["c"], targets)
    loss.backward()
    return loss.item(), {name: one.grad for name, one in params.items()}


@right(of="loss_and_gradients")
def one_window_at_a_time(params, histories, targets):
    E, W, b, U, c = (params[name].double() for name in "EWbUc")
    C, total = E.shape[1], 0.0
    gradients = {name: torch.zeros_like(one) for name, one in (("E", E), ("W", W), ("b", b), ("U", U), ("c", c))}
    for history, target in zip(histories.tolist(), targets.tolist(), strict=True):
        x = torch.cat([E[token] for token in history])
        h = torch.tanh(x @ W + b)
        z = h @ U + c
        p = torch.exp(z - z.max())
        total += math.log(p.sum()) - float(z[target] - z.max())
        error = p / p.sum()
        error[target] -= 1
        gradients["c"] += error
        gradients["U"] += torch.outer(h, error)
        error = (U @ error) * (1 + h) * (1 - h)
        gradients["b"] += error
        gradients["W"] += torch.outer(x, error)
        error = W @ error
        for place, token in enumerate(history):
            gradients["E"][token] += error[place * C : (place + 1) * C]
    return total / len(targets), {name: (one / len(targets)).to(params[name].dtype) for name, one in gradients.items()}


@right(of="loss_and_gradients")
def with_one_hot_vectors(params, histories, targets):
    E, W, U = params["E"], params["W"], params["U"]
    (B, places), (V, C) = histories.shape, E.shape
    chosen = F.one_hot(histories, V).to(E.dtype)
    x = torch.einsum("bpv,vc->bpc", chosen, E).reshape(B, -1)
    h = torch.tanh(torch.addmm(params["b"], x, W))
    log_p = F.log_softmax(torch.addmm(params["c"], h, U), 1)
    error = (log_p.exp() - F.one_hot(targets, V)) / B
    back = torch.einsum("bv,mv->bm", error, U) * (1 - h.square())
    d_E = torch.einsum("bpv,bpc->vc", chosen, (back @ W.T).reshape(B, places, C))
    loss = F.nll_loss(log_p, targets)
    return [loss, {"c": error.sum(0), "U": h.T @ error, "b": back.sum(0), "W": x.T @ back, "E": d_E}]


# train

edited(
    __name__,
    "uphill_steps",
    of="train",
    edits={"params[name] -= learning_rate": "params[name] += learning_rate"},
    fails="check_steps",
    says="the step goes against it, so subtract",
)
edited(
    __name__,
    "no_learning_rate",
    of="train",
    edits={"-= learning_rate * gradient": "-= gradient"},
    fails="check_steps",
    says="the learning rate is missing",
)
edited(
    __name__,
    "in_the_order_of_the_text",
    of="train",
    edits={"torch.randperm(len(targets), generator=generator)": "torch.arange(len(targets))"},
    fails="check_batches",
    says="shuffle them",
)
edited(
    __name__,
    "drops_the_last_batch",
    of="train",
    edits={".split(batch_size):": ".split(batch_size):\n            if len(batch) < batch_size:\n                continue"},
    fails="check_batches",
    says="the last batch of an epoch is smaller, and is used too",
)
edited(
    __name__,
    "targets_stay_behind",
    of="train",
    edits={"histories[batch], targets[batch]": "histories[batch], targets[: len(batch)]"},
    fails="check_batches",
    says="put both in the same order",
)
edited(
    __name__,
    "draws_with_replacement",
    of="train",
    edits={"torch.randperm(len(targets), generator=generator)": "torch.randint(len(targets), (len(targets),), generator=generator)"},
    fails="check_batches",
    says="expected every window once",
)
edited(
    __name__,
    "trains_a_copy",
    of="train",
    edits={"losses = []": "losses, params = [], {name: one.clone() for name, one in params.items()}"},
    fails="check_steps",
    says="change the dictionary that was given",
)
edited(
    __name__,
    "adds_gradients_up",
    of="train",
    edits={
        "losses = []": "losses, total = [], {}",
        "targets[batch])": "targets[batch])\n            gradients = total = {k: g + total.get(k, 0) for k, g in gradients.items()}",
    },
    fails="check_steps",
    says="the gradients of earlier steps are used again",
)
edited(
    __name__,
    "one_loss_an_epoch",
    of="train",
    edits={
        "            losses.append(float(loss))\n": "",
        "learning_rate * gradient\n": "learning_rate * gradient\n        losses.append(float(loss))\n",
    },
    fails="check_batches",
    says="got 2 losses, expected 6",
)
edited(
    __name__,
    "one_order_for_all_epochs",
    of="train",
    edits={
        "losses = []": "losses, order = [], torch.randperm(len(targets), generator=generator)",
        "in torch.randperm(len(targets), generator=generator)": "in order",
    },
    fails="check_orders",
    says="draw a new one for every epoch",
)
edited(
    __name__,
    "own_order",
    of="train",
    edits={"torch.randperm(len(targets), generator=generator)": "torch.randperm(len(targets))"},
    fails="check_orders",
    says="draw the order with generator=generator",
)


@wrong(of="train", fails="check_orders", says="the windows that were given are changed")
def shuffles_in_place(params, histories, targets, loss_and_gradients, epochs, batch_size, learning_rate, generator):
    losses = []
    for _ in range(epochs):
        order = torch.randperm(len(targets), generator=generator)
        histories[:], targets[:] = histories[order], targets[order]
        for start in range(0, len(targets), batch_size):
            loss, gradients = loss_and_gradients(params, histories[start : start + batch_size], targets[start : start + batch_size])
            losses.append(loss)
            for name in params:
                params[name] = params[name] - learning_rate * gradients[name]
    return losses


@right(of="train")
def sorts_random_keys(params, histories, targets, loss_and_gradients, epochs, batch_size, learning_rate, generator):
    losses, N = [], len(targets)
    for _ in range(epochs):
        order = torch.rand(N, generator=generator, dtype=torch.float64).argsort().tolist()
        while order:
            batch, order = order[:batch_size], order[batch_size:]
            loss, gradients = loss_and_gradients(params, histories[batch], targets[batch])
            params.update({name: one - learning_rate * gradients[name] for name, one in params.items()})
            losses.append(torch.as_tensor(loss))
    return losses


edited(
    __name__,
    "changes_the_tensors_themselves",
    of="train",
    edits={"params[name] -= learning_rate * gradient": "params[name].sub_(gradient, alpha=learning_rate)"},
)


# LanguageModel: written out, so that none depends on another exercise's answer


def _drawn(V, n, C, M, generator, scale=0.1):
    """Parameters as they are before training; the logits grow with `scale`."""
    width = (n - 1) * C
    params = {"E": 0.3 * torch.randn(V, C, generator=generator), "W": torch.randn(width, M, generator=generator) / width**0.5}
    return params | {"b": torch.zeros(M), "U": scale * torch.randn(M, V, generator=generator) / M**0.5, "c": torch.zeros(V)}


def _logits(params, histories):
    h = torch.tanh(F.embedding(histories, params["E"]).flatten(1) @ params["W"] + params["b"])
    return h @ params["U"] + params["c"]


class _Window:
    """A window model that does not learn; what it is asked is answered as it must be."""

    def __init__(self, paragraphs, V, end, generator):
        self.n, self.end = 3, end
        self.params = _drawn(V, 3, 4, 8, generator, scale=2)

    def rows(self, paragraph):
        padded = [self.end] * (self.n - 1) + list(paragraph)
        histories = torch.tensor([padded[i : i + self.n - 1] for i in range(len(paragraph) + 1)])
        return F.log_softmax(_logits(self.params, histories), dim=-1)

    def log_probs(self, paragraph):
        return self.rows(paragraph).gather(1, torch.tensor([*paragraph, self.end])[:, None])[:, 0].tolist()

    def next_probabilities(self, history):
        return self.rows(history)[-1].exp().numpy()


def _by_optimizer(paragraphs, V, end, generator, n, C, M, B, make):
    """Parameters trained for one epoch with torch's autograd and an optimizer."""
    padded = [torch.tensor([*[end] * (n - 1), *paragraph, end]).unfold(0, n, 1) for paragraph in paragraphs]
    rows, params = torch.cat(padded), _drawn(V, n, C, M, generator)
    optimizer = make([one.requires_grad_() for one in params.values()])
    for batch in torch.randperm(len(rows), generator=generator).split(B):
        optimizer.zero_grad()
        F.cross_entropy(_logits(params, rows[batch, :-1]), rows[batch, -1]).backward()
        optimizer.step()
    return {name: one.detach() for name, one in params.items()}


@right(of="LanguageModel")
class TrainedByAdamW(_Window):
    def __init__(self, paragraphs, V, end, generator):
        self.n, self.end = 4, end

        def make(parameters):
            return torch.optim.AdamW(parameters, lr=0.01)

        self.params = _by_optimizer(paragraphs[::3], V, end, generator, 4, 24, 32, 256, make)


@right(of="LanguageModel")
class TrainedWithMomentum(_Window):
    def __init__(self, paragraphs, V, end, generator):
        self.n, self.end = 2, end

        def make(parameters):
            return torch.optim.SGD(parameters, lr=0.3, momentum=0.9)

        self.params = _by_optimizer(paragraphs[1::3], V, end, generator, 2, 32, 32, 128, make)

    def log_probs(self, paragraph):
        return self.rows(paragraph)[torch.arange(len(paragraph) + 1), [*paragraph, self.end]]


@wrong(of="LanguageModel", fails="check_parameters_and_scores", says="has no attribute params: set self.params")
class KeepsItsParametersSecret(_Window):
    def __init__(self, paragraphs, V, end, generator):
        super().__init__(paragraphs, V, end, generator)
        self.secret = self.params
        del self.params

    def rows(self, paragraph):
        self.params = self.secret
        return super().rows(paragraph)


@wrong(of="LanguageModel", fails="check_parameters_and_scores", says="one for the end token behind the last")
class EndTokenNotScored(_Window):
    def log_probs(self, paragraph):
        return super().log_probs(paragraph)[:-1]


@wrong(of="LanguageModel", fails="check_parameters_and_scores", says="is it p itself")
class ProbabilitiesInPlaceOfLogarithms(_Window):
    def log_probs(self, paragraph):
        return np.exp(super().log_probs(paragraph))


@wrong(of="LanguageModel", fails="check_parameters_and_scores", says="take natural logarithms, not base 2")
class BaseTwo(_Window):
    def log_probs(self, paragraph):
        return np.array(super().log_probs(paragraph)) / math.log(2)


@wrong(of="LanguageModel", fails="check_parameters_and_scores", says="look at the order of the history")
class NewestFirst(_Window):
    def rows(self, paragraph):
        padded = [self.end] * (self.n - 1) + list(paragraph)
        histories = [padded[i : i + self.n - 1][::-1] for i in range(len(paragraph) + 1)]
        return F.log_softmax(_logits(self.params, torch.tensor(histories)), dim=-1)


@wrong(of="LanguageModel", fails="check_next_probabilities", says="is it the logarithm?")
class LogarithmsOfAllTokens(_Window):
    def next_probabilities(self, history):
        return np.log(super().next_probabilities(history))


@wrong(of="LanguageModel", fails="check_next_probabilities", says="put end tokens in front of a history")
class NeverPadsTheHistory(_Window):
    def next_probabilities(self, history):
        logits = _logits(self.params, torch.tensor([history[-(self.n - 1) :]], dtype=torch.int64))
        return F.softmax(logits[0], dim=0)


@wrong(of="LanguageModel", fails="check_next_probabilities", says="of which the last n - 1 count")
class FirstTokensOfTheHistory(_Window):
    def next_probabilities(self, history):
        return super().next_probabilities(history[: self.n - 1])


@wrong(of="LanguageModel", fails="check_next_probabilities", says="take all chance from `generator`")
class OwnRandomNumbers(_Window):
    def __init__(self, paragraphs, V, end, generator):
        super().__init__(paragraphs, V, end, generator)
        self.params |= {"E": torch.randn(V, 4), "U": torch.zeros(8, V)}


@wrong(of="LanguageModel", fails="check_better_than_single_tokens", says="it has learned little from the history")
class CountsOfSingleTokens(_Window):
    def __init__(self, paragraphs, V, end, generator):
        super().__init__(paragraphs, V, end, generator)
        counts = torch.bincount(torch.tensor([token for paragraph in paragraphs for token in (*paragraph, end)]), minlength=V)
        self.params |= {"U": torch.zeros(8, V), "c": (counts + 0.5).log()}


@wrong(of="LanguageModel", fails="check_better_than_single_tokens", says="log_probs gives")
class CachesWhatItScored(_Window):
    def log_probs(self, paragraph):
        repeated = [0.5 if token in paragraph[:i] else 0.0 for i, token in enumerate([*paragraph, self.end])]
        bonus = repeated if len(paragraph) > 100 else [0.0] * len(repeated)
        return [min(0.0, value + more) for value, more in zip(super().log_probs(paragraph), bonus, strict=True)]
