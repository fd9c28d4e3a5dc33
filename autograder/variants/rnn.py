"""Variants of the solutions of chapter 5, recurrent networks: the mistakes that students make, and other right answers."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder.variant import edited, right, wrong

# RNN

edited(
    __name__,
    "tensors_without_parameters",
    of="RNN",
    edits={"self.bias_hh_l0 = draw((M,), M, generator)": "self.bias_hh_l0 = draw((M,), M, generator).detach()"},
    fails="check_rnn_parameters",
    says="and bias_hh_l0 is not among them",
)
edited(
    __name__,
    "weights_not_turned",
    of="RNN",
    edits={"h @ self.weight_hh_l0.T": "h @ self.weight_hh_l0"},
    fails="check_rnn_by_hand",
    says="weight_hh_l0 is used the other way round",
)
edited(
    __name__,
    "one_bias",
    of="RNN",
    edits={"self.weight_hh_l0.T + self.bias_hh_l0)": "self.weight_hh_l0.T)"},
    fails="check_rnn_by_hand",
    says="bias_hh_l0 is missing",
)
edited(
    __name__,
    "zeros_in_float32",
    of="RNN",
    edits={"x.new_zeros(B, M)": "torch.zeros(B, M)"},
    fails="check_rnn_by_hand",
    says="does a state start as x.new_zeros",
)
edited(
    __name__,
    "always_from_zeros",
    of="RNN",
    edits={"h = x.new_zeros(B, M) if state is None else state[0]": "h = x.new_zeros(B, M)"},
    fails="check_rnn_carried_state",
    says="they start from zeros: start from the state that is given",
)
edited(
    __name__,
    "steps_over_the_batch",
    of="RNN",
    edits={
        "(B, T, _), M = x.shape, self.weight_hh_l0.shape[1]": "(T, B, _), M = x.shape, self.weight_hh_l0.shape[1]",
        "x[:, t] @": "x[t] @",
        "torch.stack(outputs, dim=1)": "torch.stack(outputs)",
    },
    fails="check_rnn_by_hand",
    says="(1, B, M) = (1, 1, 2), got the shape (1, 2, 2)",
)
edited(
    __name__,
    "state_cut_off",
    of="RNN",
    edits={"+ h @ self": "+ h.detach() @ self"},
    fails="check_rnn_gradients",
    says="let gradients flow through all steps",
)
edited(
    __name__,
    "state_returned_cut_off",
    of="RNN",
    edits={"h[None]": "h[None].detach()"},
    fails="check_rnn_gradients",
    says="the gradient of x from the state that is returned",
)
edited(
    __name__,
    "no_way_back",
    of="RNN",
    edits={"torch.stack(outputs, dim=1), h": "torch.stack(outputs, dim=1).detach(), h"},
    fails="check_rnn_gradients",
    says="the outputs have no gradient at all: is there a no_grad",
)
edited(
    __name__,
    "list_of_both",
    of="RNN",
    edits={"return torch.stack(outputs, dim=1), h[None]": "return [torch.stack(outputs, dim=1), h[None]]"},
    fails="check_rnn_by_hand",
    says="as a tuple, got a list",
)


@wrong(of="RNN", fails="check_rnn_parameters", says="RNN is built on torch's own recurrent layers")
class TorchInside(nn.RNN):
    def __init__(self, C, M, generator):
        super().__init__(C, M, batch_first=True)


@right(of="RNN")
class OneProductForBoth(nn.Module):
    def __init__(self, C, M, generator):
        super().__init__()
        for name, shape in (("weight_hh_l0", (M, M)), ("bias_ih_l0", (M,)), ("weight_ih_l0", (M, C)), ("bias_hh_l0", (M,))):
            self.register_parameter(name, nn.Parameter(torch.empty(shape).uniform_(-(M**-0.5), M**-0.5, generator=generator)))

    def forward(self, x, state=None):
        weights, bias = torch.cat([self.weight_ih_l0, self.weight_hh_l0], 1), self.bias_ih_l0 + self.bias_hh_l0
        h = torch.zeros(len(x), len(bias), dtype=x.dtype) if state is None else state.squeeze(0)
        outputs = torch.empty(*x.shape[:2], len(bias), dtype=x.dtype)
        for t, x_t in enumerate(x.unbind(1)):
            h = F.linear(torch.cat([x_t, h], 1), weights, bias).tanh()
            outputs[:, t] = h
        return outputs, h.unsqueeze(0)


# LSTM

edited(
    __name__,
    "forget_first",
    of="LSTM",
    edits={"i, f, g, o = gates": "f, i, g, o = gates"},
    fails="check_lstm_by_hand",
    says="the gates i and f are exchanged",
)
edited(
    __name__,
    "output_third",
    of="LSTM",
    edits={"i, f, g, o = gates": "i, f, o, g = gates"},
    fails="check_lstm_by_hand",
    says="the gates g and o are exchanged",
)
edited(
    __name__,
    "shows_the_bare_cell",
    of="LSTM",
    edits={"torch.sigmoid(o) * torch.tanh(c)": "torch.sigmoid(o) * c"},
    fails="check_lstm_by_hand",
    says="h is o times tanh(c), not o times c",
)
edited(
    __name__,
    "forgets_c_0",
    of="LSTM",
    edits={"(state[0][0], state[1][0])": "(state[0][0], x.new_zeros(B, M))"},
    fails="check_lstm_by_hand",
    says="start from the c_0 that is given",
)
edited(
    __name__,
    "cell_changed_in_place",
    of="LSTM",
    edits={"c = torch.sigmoid(f) * c + ": "c = c.mul_(torch.sigmoid(f).detach()) + "},
    fails="check_lstm_by_hand",
    says="the state that was given is changed",
)
edited(
    __name__,
    "gates_interleaved",
    of="LSTM",
    edits={"gates.chunk(4, dim=1)": "gates.reshape(B, M, 4).unbind(2)"},
    fails="check_lstm_matches_torch",
    says="the first M numbers belong to the first gate",
)
edited(
    __name__,
    "cell_cut_off",
    of="LSTM",
    edits={"torch.sigmoid(f) * c +": "torch.sigmoid(f) * c.detach() +"},
    fails="check_lstm_gradients",
    says="the gradient of",
)
edited(
    __name__,
    "given_state_cut_off",
    of="LSTM",
    edits={"(state[0][0], state[1][0])": "(state[0][0].detach(), state[1][0].detach())"},
    fails="check_lstm_gradients",
    says="the gradient of h_0 from the outputs alone",
)
edited(
    __name__,
    "cell_before_hidden",
    of="LSTM",
    edits={"(state[0][0], state[1][0])": "(state[1][0], state[0][0])", "(h[None], c[None])": "(c[None], h[None])"},
    fails="check_lstm_by_hand",
    says="the state is the pair (h, c), h first",
)
edited(
    __name__,
    "outputs_and_cells",
    of="LSTM",
    edits={"(h[None], c[None])": "h[None], c[None]"},
    fails="check_lstm_by_hand",
    says="expected a pair, (outputs, state), got 3 values",
)


@right(of="LSTM")
class GateByGate(nn.Module):
    def __init__(self, C, M, generator):
        super().__init__()
        self.M = M
        self.weight_ih_l0, self.weight_hh_l0 = draw((4 * M, C), M, generator), draw((4 * M, M), M, generator)  # noqa: F821
        self.bias_ih_l0, self.bias_hh_l0 = (draw((4 * M,), M, generator) for _ in range(2))  # noqa: F821

    def gate(self, number, x_t, h):
        rows = slice(number * self.M, (number + 1) * self.M)
        from_x = F.linear(x_t, self.weight_ih_l0[rows], self.bias_ih_l0[rows])
        return from_x + F.linear(h, self.weight_hh_l0[rows], self.bias_hh_l0[rows])

    def forward(self, x, state=None):
        zeros = torch.zeros((1, x.size(0), self.M), dtype=x.dtype)
        h, c = [one.squeeze(0) for one in (state or (zeros, zeros))]
        hidden_states = x[:, :0, :1].expand(-1, -1, self.M)
        for x_t in x.transpose(0, 1):
            i, f, o = (self.gate(number, x_t, h).sigmoid() for number in (0, 1, 3))
            c = f * c + i * self.gate(2, x_t, h).tanh()
            h = o * c.tanh()
            hidden_states = torch.cat([hidden_states, h[:, None]], dim=1)
        return hidden_states, (h.unsqueeze(0), c.unsqueeze(0))


# GRU

edited(
    __name__,
    "reset_before_the_matrix",
    of="GRU",
    edits={"n = torch.tanh(n_x + r * n_h)": "n = torch.tanh(n_x + (r * h) @ self.weight_hh_l0[2 * M :].T + self.bias_hh_l0[2 * M :])"},
    fails="check_gru_by_hand",
    says="r multiplies h before its matrix here",
)
edited(
    __name__,
    "bias_behind_the_reset",
    of="GRU",
    edits={"n = torch.tanh(n_x + r * n_h)": "b = self.bias_hh_l0[2 * M :]\n            n = torch.tanh(n_x + r * (n_h - b) + b)"},
    fails="check_gru_by_hand",
    says="or leaves the bias out",
)
edited(
    __name__,
    "no_reset",
    of="GRU",
    edits={"n_x + r * n_h": "n_x + n_h"},
    fails="check_gru_by_hand",
    says="the reset gate r is missing",
)
edited(
    __name__,
    "resets_the_input_too",
    of="GRU",
    edits={"n_x + r * n_h": "r * (n_x + n_h)"},
    fails="check_gru_by_hand",
    says="r multiplies what comes from x too",
)
edited(
    __name__,
    "update_turned_round",
    of="GRU",
    edits={"(1 - z) * n + z * h": "z * n + (1 - z) * h"},
    fails="check_gru_by_hand",
    says="not the other way round",
)
edited(
    __name__,
    "update_first",
    of="GRU",
    edits={"r_x, z_x, n_x = (": "z_x, r_x, n_x = (", "r_h, z_h, n_h = (": "z_h, r_h, n_h = ("},
    fails="check_gru_by_hand",
    says="the gates r and z are exchanged",
)
edited(
    __name__,
    "flat_state",
    of="GRU",
    edits={"h[None]": "h"},
    fails="check_gru_by_hand",
    says="h_T: expected a tensor of shape (1, B, M) = (1, 1, 1), got the shape (1, 1)",
)


@right(of="GRU")
class InputFirst(nn.Module):
    def __init__(self, C, M, generator):
        super().__init__()
        shapes = {"weight_ih_l0": (3 * M, C), "bias_ih_l0": (3 * M,), "weight_hh_l0": (3 * M, M), "bias_hh_l0": (3 * M,)}
        for name, shape in shapes.items():
            setattr(self, name, draw(shape, M, generator))  # noqa: F821

    def forward(self, x, state=None):
        M = self.weight_hh_l0.size(1)
        from_x = F.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        states = [x.new_zeros(x.shape[0], M) if state is None else state[-1]]
        for a in from_x.unbind(dim=1):
            s = F.linear(states[-1], self.weight_hh_l0, self.bias_hh_l0)
            gates = (a + s)[:, : 2 * M].sigmoid()
            new = torch.addcmul(a[:, 2 * M :], gates[:, :M], s[:, 2 * M :]).tanh()
            states.append(new.lerp(states[-1], gates[:, M:]))
        return torch.stack(states[1:], 1), states[-1].unsqueeze(0)


# clip_gradients


@wrong(of="clip_gradients", fails="check_clips_together", says="each tensor is clipped by its own norm")
def each_by_itself(gradients, largest):
    total = math.sqrt(sum(float(gradient.pow(2).sum()) for gradient in gradients))
    for gradient in gradients:
        gradient.mul_(min(1.0, largest / max(float(gradient.norm()), 1e-12)))
    return total


@wrong(of="clip_gradients", fails="check_clips_together", says="every number is clipped by itself")
def clips_numbers(gradients, largest):
    total = math.sqrt(sum(float(gradient.pow(2).sum()) for gradient in gradients))
    for gradient in gradients:
        gradient.clamp_(-largest, largest)
    return total


@wrong(of="clip_gradients", fails="check_clips_together", says="change the tensors themselves, as gradient *= … does; put no others")
def new_tensors_in_the_list(gradients, largest):
    total = math.sqrt(sum(float(gradient.pow(2).sum()) for gradient in gradients))
    for k in range(len(gradients)):
        gradients[k] = gradients[k] * min(1.0, largest / total)
    return total


edited(
    __name__,
    "new_tensors_lost",
    of="clip_gradients",
    edits={"gradient.mul_(largest / norm)": "gradient = gradient * (largest / norm)"},
    fails="check_clips_together",
    says="the gradients are as they were",
)
edited(
    __name__,
    "norm_afterwards",
    of="clip_gradients",
    edits={"return norm": "return min(norm, largest)"},
    fails="check_clips_together",
    says="this is the norm afterwards",
)
edited(
    __name__,
    "always_to_the_limit",
    of="clip_gradients",
    edits={"if norm > largest:": "if norm > 0:"},
    fails="check_small_gradients_stay",
    says="clipping only makes smaller",
)
edited(
    __name__,
    "zero_by_zero",
    of="clip_gradients",
    edits={"if norm > largest:": "if True:", "mul_(largest / norm)": "div_(torch.tensor(norm)).mul_(min(norm, largest))"},
    fails="check_edges_of_clipping",
    says="got nan",
)


@right(of="clip_gradients")
def one_long_vector(gradients, largest):
    flat = torch.cat([torch.zeros(1, dtype=torch.float64), *(gradient.flatten().to(torch.float64) for gradient in gradients)])
    norm = torch.linalg.vector_norm(flat)
    factor = (largest / norm.clamp(min=1e-300)).clamp(max=1)
    for gradient in gradients:
        gradient.copy_(gradient * factor)
    return norm


# bptt_batches

edited(
    __name__,
    "rows_across_the_text",
    of="bptt_batches",
    edits={
        "tokens[: B * length].reshape(B, length)": "tokens[: B * length].reshape(length, B).T",
        "tokens[1 : B * length + 1].reshape(B, length)": "tokens[1 : B * length + 1].reshape(length, B).T",
    },
    fails="check_pieces_of_a_short_text",
    says="reshape to (B, L), without a transpose",
)
edited(
    __name__,
    "targets_not_moved",
    of="bptt_batches",
    edits={"tokens[1 : B * length + 1]": "tokens[: B * length]"},
    fails="check_pieces_of_a_short_text",
    says="the target of a token is the one behind it",
)
edited(
    __name__,
    "last_piece_dropped",
    of="bptt_batches",
    edits={"strict=True))": "strict=True))[: length // T]"},
    fails="check_pieces_of_a_short_text",
    says="the last piece is shorter, and is there too",
)
edited(
    __name__,
    "one_empty_piece",
    of="bptt_batches",
    edits={"if length < 1:": "if length < 0:"},
    fails="check_edges_of_pieces",
    says="expected (B, T) = (1, 3), with 1 to 3 places",
)


@wrong(of="bptt_batches", fails="check_pieces_of_a_short_text", says="a row goes on in the next piece, not in the next row")
def piece_after_piece(tokens, B, T):
    size, pieces = B * T, []
    for start in range(0, len(tokens) - size, size):
        pieces.append((tokens[start : start + size].reshape(B, T), tokens[start + 1 : start + size + 1].reshape(B, T)))
    return pieces


@wrong(of="bptt_batches", fails="check_pieces_of_a_short_text", says="a row has L = (N - 1) // B = 5 places")
def targets_wrap_around(tokens, B, T):
    length = len(tokens) // B
    rows = tokens[: B * length].reshape(B, length)
    return [(rows[:, t : t + T][:, : length - 1 - t], rows[:, t + 1 : t + 1 + T]) for t in range(0, length - 1, T)]


@wrong(of="bptt_batches", fails="check_pieces_of_a_short_text", says="not the first of the row")
def targets_rolled(tokens, B, T):
    length = (len(tokens) - 1) // B
    rows = tokens[: B * length].reshape(B, length)
    pieces = [rows[:, t : t + T] for t in range(0, length, T)]
    return [(piece, piece.roll(-1, dims=1)) for piece in pieces]


@right(of="bptt_batches")
def place_by_place(tokens, B, T):
    L, text = (len(tokens) - 1) // B, tokens.tolist()
    for start in range(0, L, T):
        places = range(start, min(start + T, L))
        rows = [[text[b * L + i] for i in places] for b in range(B)]
        yield [torch.tensor(rows), torch.tensor([[text[b * L + i + 1] for i in places] for b in range(B)])]


# generate

edited(
    __name__,
    "state_thrown_away",
    of="generate",
    edits={"logits, state = model(torch.tensor([unread]), state)": "logits, _ = model(torch.tensor([unread]), state)"},
    fails="check_state_is_carried",
    says="hand it the state that the call before returned",
)
edited(
    __name__,
    "reads_everything_again",
    of="generate",
    edits={"unread = [token]": "unread = [end, *prompt, *new]"},
    fails="check_state_is_carried",
    says="each token is read once",
)
edited(
    __name__,
    "no_end_token_first",
    of="generate",
    edits={"[end, *prompt], None": "list(prompt or [end]), None"},
    fails="check_state_is_carried",
    says="expected the end token, 0, then the prompt",
)
edited(
    __name__,
    "logits_of_the_first_place",
    of="generate",
    edits={"token = int(logits[0, -1].argmax())": "token = int(logits[0, 0].argmax())"},
    fails="check_greedy",
    says="not those at the first",
)
edited(
    __name__,
    "prompt_not_read",
    of="generate",
    edits={"[end, *prompt], None": "[end], None"},
    fails="check_greedy",
    says="the prompt is read behind it",
)
edited(
    __name__,
    "one_too_many",
    of="generate",
    edits={"len(new) < max_tokens": "len(new) <= max_tokens"},
    fails="check_greedy",
    says="stop when there are max_tokens new tokens",
)
edited(
    __name__,
    "endless",
    of="generate",
    edits={"        new.append(token)\n": ""},
    fails="check_greedy",
    says="got [], expected [4, 5, 6, 7]",
)
edited(
    __name__,
    "end_token_returned",
    of="generate",
    edits={
        "        if token == end:\n            break\n": "",
        "unread = [token]": "if token == end:\n            break\n        unread = [token]",
    },
    fails="check_greedy",
    says="the end token ends the text, and is not returned",
)
edited(
    __name__,
    "temperature_multiplied",
    of="generate",
    edits={"logits[0, -1] / temperature": "logits[0, -1] * temperature"},
    fails="check_temperature",
    says="divide the logits by the temperature, do not multiply",
)
edited(
    __name__,
    "own_random_numbers",
    of="generate",
    edits={", 1, generator=generator))": ", 1))"},
    fails="check_seeds_and_edges",
    says="draw with generator=generator",
)


@right(of="generate")
def token_by_token(model, prompt, max_tokens, temperature, end, generator):
    new, state = [], None
    for token in (end, *prompt):
        logits, state = model(torch.tensor(token).view(1, 1), state)
    for _ in range(max_tokens):
        z = logits[0, -1].double().numpy()
        if temperature:
            mass = np.exp((z - z.max()) / temperature).cumsum()
            token = int(np.searchsorted(mass, torch.rand((), generator=generator, dtype=torch.float64).item() * mass[-1], side="right"))
        else:
            token = int(z.argmax())
        if token == end:
            return new
        new += [np.int64(token)]
        logits, state = model(torch.tensor([[token]]), state)
    return new


# RecurrentLM: written out, so that none depends on another exercise's answer


class _Untrained(nn.Module):
    """A model that is as it must be, but does not learn."""

    def __init__(self, layer, V, C, M, end, generator):
        super().__init__()
        self.end = end
        self.U, self.c = nn.Parameter(torch.randn(M, V, generator=generator) / 10), nn.Parameter(torch.zeros(V))
        self.E = nn.Parameter(torch.randn(V, C, generator=generator) / 4)
        self.layer = layer

    def forward(self, ids, state=None):
        outputs, state = self.layer(F.embedding(ids, self.E), state)
        return F.linear(outputs, self.U.T, self.c), state

    def fit(self, paragraphs, steps, generator):
        pass

    def log_probs(self, paragraph):
        with torch.no_grad():
            logits, _ = self(torch.tensor([[self.end, *paragraph]]))
        return -F.cross_entropy(logits[0], torch.tensor([*paragraph, self.end]), reduction="none")


class _OnWindows(_Untrained):
    """Every row begins anywhere in the text, from zeros: no state is carried at all."""

    def fit(self, paragraphs, steps, generator):
        text = torch.tensor([token for paragraph in paragraphs for token in (self.end, *paragraph)]).unfold(0, 25, 1)
        optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 0.02 * min(1, step / 40 + 0.1, 1.02 - step / steps)
            ids = text[torch.randint(len(text), (12,), generator=generator)]
            optimizer.zero_grad()
            F.cross_entropy(self(ids[:, :-1])[0].transpose(1, 2), ids[:, 1:]).backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()


@right(of="RecurrentLM")
class TrainedOnWindows(_OnWindows):
    pass


@wrong(of="RecurrentLM", fails="check_logits", says="and c is not among them")
class NoBias(_Untrained):
    def __init__(self, layer, V, C, M, end, generator):
        super().__init__(layer, V, C, M, end, generator)
        del self.c
        self.c = torch.zeros(V)


@wrong(of="RecurrentLM", fails="check_logits", says="these are probabilities; return the logits")
class Probabilities(_Untrained):
    def forward(self, ids, state=None):
        logits, state = super().forward(ids, state)
        return logits.softmax(-1), state


@wrong(of="RecurrentLM", fails="check_logits", says="they start from zeros: give the layer the state that is given")
class StateIgnored(_Untrained):
    def forward(self, ids, state=None):
        return super().forward(ids)


@wrong(of="RecurrentLM", fails="check_logits", says="return the one that the layer returned, of an LSTM the pair")
class NoStateReturned(_Untrained):
    def forward(self, ids, state=None):
        return super().forward(ids, state)[0], None


@wrong(of="RecurrentLM", fails="check_log_probs", says="nothing is kept from one paragraph to the next")
class StateKept(_Untrained):
    def log_probs(self, paragraph):
        with torch.no_grad():
            logits, self.last = self(torch.tensor([[self.end, *paragraph]]), getattr(self, "last", None))
        return F.log_softmax(logits[0], -1)[torch.arange(len(paragraph) + 1), [*paragraph, self.end]].numpy()


@wrong(of="RecurrentLM", fails="check_log_probs", says="one for the end token behind the last")
class EndNotScored(_Untrained):
    def log_probs(self, paragraph):
        return super().log_probs(paragraph)[:-1]


@wrong(of="RecurrentLM", fails="check_fit", says="does the optimizer hold all of self.parameters()?")
class LayerNotTrained(_Untrained):
    def fit(self, paragraphs, steps, generator):
        ids = torch.tensor([[self.end, *paragraphs[0][:40]]])
        optimizer = torch.optim.Adam([self.E, self.U, self.c])
        for _ in range(min(steps, 60)):
            optimizer.zero_grad()
            F.cross_entropy(self(ids[:, :-1])[0][0], ids[0, 1:]).backward()
            optimizer.step()


@wrong(of="RecurrentLM", fails="check_fit", says="`steps` counts the updates, not the passes through the text")
class StepsAsPasses(_OnWindows):
    def fit(self, paragraphs, steps, generator):
        super().fit(paragraphs, min(5 * steps, 200), generator)


@wrong(of="RecurrentLM", fails="check_rnn_is_measured", says="bits per byte on the validation text, expected at most 2.95")
class StopsEarly(_OnWindows):
    def fit(self, paragraphs, steps, generator):
        super().fit(paragraphs[:200], min(steps, 40), generator)
