"""Chapter 6, attention: teacher forcing, two kinds of attention, a decoder's step, greedy and beam search, and a small translator."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lmkit.train import Budget, TrainConfig, train

IGNORED = -100  # the label that F.cross_entropy leaves out, unless told otherwise
Step = Callable[[int, Any], tuple[Tensor, Any]]  # (token, state) -> (log-probabilities of the next token (V,), next state)


def shift_for_teacher_forcing(targets: Tensor, start: int, pad: int) -> tuple[Tensor, Tensor]:
    """What the decoder reads, and what it shall say.   targets: (B, T) int64, T >= 1 -> inputs (B, T), labels (B, T), int64

    A row of targets is the words of a sentence, the end token, and `pad` up to the longest
    row. Place t of the labels is what the decoder shall say at place t: the target there, or
    IGNORED where that is only padding. Place t of the inputs is what it reads before it says
    so: `start` at place 0, then the target of the place before, and `pad` where the label is
    IGNORED. The targets are not changed.
    """
    padding = targets == pad
    first = torch.full_like(targets[:, :1], start)
    inputs = torch.cat([first, targets[:, :-1]], dim=1)
    return inputs.masked_fill(padding, pad), targets.masked_fill(padding, IGNORED)


def dot_product_attention(query: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Look up a query in a memory.   query: (B, M), memory: (B, S, M), mask: (B, S) bool -> context (B, M), weights (B, S)

    The score of a place is the dot product of the query and the place's vector, not divided
    by anything. Places where the mask is False are not looked at: their weight is 0. The
    weights of the others are the softmax of their scores, and the context is the sum of the
    memory's vectors, each times its weight. In a row where no place may be looked at all
    weights are 0, and so is the context. B, S >= 1; float32 or float64, which the results
    keep; scores may be in the thousands. Gradients flow to query and memory and are finite.
    Nothing given is changed. Source: Luong et al. 2015, section 3.1, score "dot".
    """
    scores = torch.einsum("bm,bsm->bs", query, memory)
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1) * mask  # the factor matters where a row is wholly masked
    return torch.einsum("bs,bsm->bm", weights, memory), weights


class AdditiveAttention(nn.Module):
    """Attention whose score is a small network of query and memory.   M: width of both, A: width of the network's layer

    Layers, each without a bias: W, nn.Linear(M, A), for the query; U, nn.Linear(M, A), for
    the vectors of the memory; v, nn.Linear(A, 1), for the score. No other parameters.
    Source: Bahdanau et al. 2015, section 3.1.
    """

    def __init__(self, M: int, A: int):
        """Make the three layers."""
        super().__init__()
        self.W = nn.Linear(M, A, bias=False)
        self.U = nn.Linear(M, A, bias=False)
        self.v = nn.Linear(A, 1, bias=False)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Look up a query in a memory.   query: (B, M), memory: (B, S, M), mask: (B, S) bool -> context (B, M), weights (B, S)

        The score of a place is v applied to tanh(W applied to the query + U applied to the
        place's vector). All else is as for dot_product_attention: weights 0 where the mask is
        False, the softmax of the scores elsewhere; all 0, and the context too, in a row where
        no place may be looked at.
        """
        scores = self.v(torch.tanh(self.W(query)[:, None] + self.U(memory)))[:, :, 0]  # (B, S)
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1) * mask
        return torch.einsum("bs,bsm->bm", weights, memory), weights


class Decoder(nn.Module):
    """One step of a recurrent decoder with attention.   V: words, C: width of a word's vector, M: width of state and memory

    Layers: embedding, nn.Embedding(V, C); cell, nn.GRUCell(C, M); combine, nn.Linear(2 M, M);
    output, nn.Linear(M, V). attention is a function or a module, called as
    attention(query, memory, mask) -> (context (B, M), weights (B, S)).
    Source: Luong et al. 2015, equations 5 and 6, with a gated recurrent unit.
    """

    def __init__(self, V: int, C: int, M: int, attention: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]):
        """Make the four layers, and keep the attention."""
        super().__init__()
        self.embedding = nn.Embedding(V, C)
        self.cell = nn.GRUCell(C, M)
        self.combine = nn.Linear(2 * M, M)
        self.output = nn.Linear(M, V)
        self.attention = attention

    def forward(self, tokens: Tensor, state: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read one token in each row, and say what comes next.

        tokens: (B,) int64, state: (B, M), memory: (B, S, M), mask: (B, S) bool
        -> logits (B, V), new state (B, M), weights (B, S)

        The cell makes the new state out of the tokens' vectors and the state. The new state is
        the query of the attention, which is called once with the memory and the mask as they
        are given. The logits are output(tanh(combine((new state, context)))), the state's
        numbers first; weights are the attention's. Nothing given is changed.
        """
        state = self.cell(self.embedding(tokens), state)
        context, weights = self.attention(state, memory, mask)
        mixed = torch.tanh(self.combine(torch.cat([state, context], dim=1)))  # (B, M)
        return self.output(mixed), state, weights


def greedy(step: Step, state: Any, start: int, end: int, max_length: int) -> list[int]:
    """The sentence that takes the most likely token at every place.   -> token ids, at most max_length, without start and end

    step(token, state) -> (log-probabilities of the next token (V,), the state after that token);
    at least one token is possible. It is called with `start` and the given state first, then with the token chosen last and
    the state that the call before returned. Ties go to the lower id. The sentence is over
    when `end` is chosen, or when it holds max_length >= 0 tokens; step is not called then.
    """
    tokens, token = [], start
    while len(tokens) < max_length:
        log_probs, state = step(token, state)
        token = int(log_probs.argmax())
        if token == end:
            break
        tokens.append(token)
    return tokens


def beam_search(step: Step, state: Any, start: int, end: int, size: int, max_length: int) -> list[tuple[list[int], float]]:
    """The best sentences that a beam of `size` >= 1 finds.   -> at most `size` pairs (token ids, score), best first

    step, state, start, end, max_length: as for `greedy`; every hypothesis goes on from its
    own state. A hypothesis is a list of tokens; its score is the sum of their
    log-probabilities, that of `end` included. It is finished when `end` is chosen, which the
    list does not hold, or when the list holds max_length tokens. Round by round each
    unfinished hypothesis is replaced by those that are one token longer; a finished one
    stays as it is. The `size` best of all go on to the next round, until all are finished.
    Of equal scores the one goes first whose parent stood further up (a finished one is its
    own parent); of one parent, the one with the lower id. A log-probability of -inf makes no
    hypothesis. At the end the sentence of greedy decoding joins, if it is not there, behind
    those of the same score, and the `size` best are returned. So the first never scores
    below greedy's.
    """
    beam = [([], 0.0, (start, state) if max_length else None)]  # tokens, score, what step reads next: None when finished
    while any(ahead for *_, ahead in beam):
        candidates = []
        for tokens, score, ahead in beam:
            if not ahead:
                candidates.append((tokens, score, None))
                continue
            log_probs, after = step(*ahead)
            for token, log_prob in enumerate(log_probs.tolist()):
                longer = tokens + [token] * (token != end)
                over = token == end or len(longer) == max_length
                if log_prob > -math.inf:
                    candidates.append((longer, score + log_prob, None if over else (token, after)))
        beam = sorted(candidates, key=lambda one: one[1], reverse=True)[:size]  # equals keep their order
    found = [(tokens, score) for tokens, score, _ in beam]
    if size > 1:
        alone = beam_search(step, state, start, end, 1, max_length)
        found += [one for one in alone if one[0] not in [tokens for tokens, _ in found]]
    return sorted(found, key=lambda one: one[1], reverse=True)[:size]


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor],
    source: Tensor,
    target: Tensor,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Change the model's parameters in `steps` steps, so that loss(model, (source, target)) of a batch of pairs falls.

    source: (N, S), target: (N, T) int64, filled with 0; a batch holds up to 48 pairs of similar length, cut to the longest.
    """

    def batches():
        while True:
            keys = (target != 0).sum(dim=1) + 4 * torch.rand(len(target), generator=generator)
            pieces = keys.argsort().split(48)
            for i in torch.randperm(len(pieces), generator=generator).tolist():
                yield tuple(one[pieces[i]][:, : int((one[pieces[i]] != 0).sum(dim=1).max())] for one in (source, target))

    train(model, batches(), loss, Budget(steps=steps), TrainConfig(learning_rate=8e-3, final_rate=0.01))


class Translator(nn.Module):
    """A translator that learns from pairs of sentences, with attention or without: reach 0.95 exact matches on held-out ones.

    A sentence is a row of ids: its words, the end token 2, and padding 0 up to the longest row.
    A decoder starts with token 1. Ids of words are 3 and higher.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        V_source: int,
        V_target: int,
        steps: int,
        generator: torch.Generator,
        attention: bool = True,
    ):
        """Learn from N pairs, in `steps` steps of `fit`.   source: (N, S), target: (N, T) int64

        V_source, V_target: how many ids there are. All chance comes from the generator: the
        same seed, the same translator. Without attention the decoder gets one vector for the
        whole sentence, whatever its length.
        """
        super().__init__()
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        self.attention, M = attention, 96
        self.read, self.encoder = nn.Embedding(V_source, M), nn.GRU(M, M // 2, batch_first=True, bidirectional=True)
        self.write, self.decoder = nn.Embedding(V_target, M), nn.GRU(M, M, batch_first=True)
        self.combine, self.output = nn.Linear(2 * M, M), nn.Linear(M, V_target)
        for embedding in (self.read, self.write):
            nn.init.normal_(embedding.weight, std=0.3)
        fit(self, Translator.loss, source, target, steps, generator)
        self.eval()

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the decoder needs.   source: (B, S) -> memory (B, S, M), mask (B, S), first state (1, B, M)"""
        mask = source != 0
        x = self.read(source)  # (B, S, M)
        outputs, last = self.encoder(pack_padded_sequence(x, mask.sum(dim=1), batch_first=True, enforce_sorted=False))
        memory = pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])[0] + x
        whole = torch.cat([last[0], last[1]], dim=1)  # (B, M)
        if not self.attention:
            memory, mask = whole[:, None], mask[:, :1]
        return memory, mask, whole[None]

    def decode(self, inputs: Tensor, memory: Tensor, mask: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of what comes next at every place, and the last state.   inputs: (B, T) -> (B, T, V), (1, B, M)"""
        states, state = self.decoder(self.write(inputs), state)
        context = F.scaled_dot_product_attention(states, memory, memory, attn_mask=mask[:, None], scale=0.2)
        return self.output(torch.tanh(self.combine(torch.cat([states, context], dim=2)))), state

    def loss(self, pairs: tuple[Tensor, Tensor]) -> Tensor:
        """Mean cross-entropy of the words and end tokens of a batch, with teacher forcing."""
        source, target = pairs
        logits, _ = self.decode(F.pad(target, (1, -1), value=1), *self.encode(source))
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=0)

    @torch.no_grad()
    def translate(self, source: Tensor) -> list[list[int]]:
        """The sentences that greedy decoding writes.   source: (B, S) -> B lists of ids of words, without 0, 1 and 2

        A sentence has at most 40 words. Padding behind a row of source changes nothing.
        """
        memory, mask, state = self.encode(source)
        tokens, written = torch.full((len(source), 1), 1), []
        for _ in range(40):
            logits, state = self.decode(tokens, memory, mask, state)
            tokens = logits.argmax(dim=2)
            written.append(tokens)
        rows = torch.cat([*written, torch.full_like(tokens, 2)], dim=1).tolist()
        return [[word for word in row[: row.index(2)] if word > 2] for row in rows]
