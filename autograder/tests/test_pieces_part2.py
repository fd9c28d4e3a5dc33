"""The pieces of chapters 6 and 7 show what the toolkit's beam search finds, and the weights that the encoder gave."""

import ast
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from autograder.tests.pieces import cell_of, in_javascript, made, run
from lmkit import seq2seq
from lmkit.dutch import END, START

WIDTHS, LONGEST = (1, 2, 3, 4), 7
BEAM = """(all, widths, longest) => all.map((nodes) => widths.map((width) => ({
    kept: lmBeam(nodes, width, longest).at(-1).slice(0, width), returned: lmReturned(nodes, width, longest).returned,
})))"""


class Opinions:
    """A translator whose next word depends on the place and on the word before it, by random numbers; for `seq2seq.beam` and the lesson."""

    words = ("<pad>", "<start>", "<end>", *"abcdefg")

    def __init__(self, seed: int):
        self.logits = 2 * torch.randn(LONGEST, len(self.words), len(self.words), generator=torch.Generator().manual_seed(seed))

    def encode(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)  # state: the place

    def step(self, tokens: torch.Tensor, place: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        return self.logits[place, tokens], place + 1, None

    def __call__(self, source: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        return self.logits[torch.arange(inputs.shape[1]), inputs]


def test_the_piece_ranks_as_the_beam_search_of_the_toolkit():
    functions = [s for s in cell_of("06_attention", "beam-search") if isinstance(s, ast.FunctionDef)]
    words = SimpleNamespace(dutch=lambda: Opinions.words)
    lesson = run(functions, {"torch": torch, "seq2seq": seq2seq, "dutch": words, "START": START, "END": END, "WIDEST": 4})
    models, trees, source = [Opinions(seed) for seed in (*range(20), 118, 262, 352)], [], torch.zeros(1, 1, dtype=torch.int64)
    for model in models:
        trees.append({})
        for width in WIDTHS:
            lesson["beam_rounds"](model, source, width, trees[-1], LONGEST)
    answers = in_javascript("beam-search", BEAM, [lesson["as_nodes"](tree) for tree in trees], WIDTHS, LONGEST)
    rescued = 0
    for model, answer in zip(models, answers, strict=True):
        (greedy,) = answer[0]["kept"]
        for width, found in zip(WIDTHS, answer, strict=True):
            ways = found["kept"] + [greedy] * (greedy["words"] not in [way["words"] for way in found["kept"]])
            ways = sorted(ways, key=lambda way: -way["sum"])[:width]
            sentences = seq2seq.beam(model, source, width, LONGEST)
            assert [way["words"] for way in ways] == [[Opinions.words[i] for i in ids] for ids, _ in sentences]
            assert [way["sum"] for way in ways] == pytest.approx([score for _, score in sentences], abs=2e-3)
            assert found["returned"] == ways[0]
            rescued += ways[0] != found["kept"][0]
    assert rescued  # a greedy sentence that fell out of a beam came back
    for wider in range(1, len(WIDTHS)):  # each width finds something that the one before it does not
        assert any(answer[wider]["returned"] != answer[wider - 1]["returned"] for answer in answers)


def test_the_piece_shows_the_weights_of_the_chosen_head():
    generator = torch.Generator().manual_seed(0)
    shown = []

    def maps(text: str) -> tuple[torch.Tensor, list[str]]:
        tokens = ["[CLS]", *text.lower().replace(".", " .").split(), "[SEP]"]
        shown.append((torch.randn(3, 2, len(tokens), len(tokens), generator=generator).softmax(dim=3), tokens))
        return shown[-1]

    names = {"maps": maps, "text": "Agamemnon informs Achilles of his burial mound.", "heads": {"a name": (1, 1)}}
    data = json.loads(made("07_transformer", "attention-heads", names).data)
    assert (data["layer"], data["head"]) == (1, 1)
    ask = """({ sentences }) => sentences.map((s) => s.tokens.map((_, token) => ({
        rows: s.weights.map((heads, layer) => heads.map((_, head) => lmWeights(s, layer, head, token))),
        columns: s.weights.map((heads, layer) => heads.map((_, head) => lmWeights(s, layer, head, token, true))),
        habits: lmHabits(s, token),
    })))"""
    for (A, tokens), answers in zip(shown, in_javascript("attention-heads", ask, data), strict=True):
        for token, answer in enumerate(answers):
            np.testing.assert_allclose(answer["rows"], 100 * A[:, :, token], atol=0.501)
            np.testing.assert_allclose(answer["columns"], 100 * A[:, :, :, token], atol=0.501)
            most = (100 * A[:, :, token]).round().argmax(dim=2).flatten().tolist()
            ends = [i for i in most if i in (0, len(tokens) - 1)]
            near = [i for i in most if i in (token - 1, token + 1) and i not in (0, len(tokens) - 1)]
            assert answer["habits"] == {"heads": len(most), "ends": len(ends), "near": len(near)}
