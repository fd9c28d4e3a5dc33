"""Tests of lmkit.muon: matrices turn orthogonal, all else is AdamW's, and a state goes on where it stopped."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lmkit.muon import Muon, optimizer, orthogonal
from lmkit.train import TrainConfig

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = TrainConfig(learning_rate=0.02, weight_decay=0.1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.layer = nn.Embedding(5, 6), nn.Linear(6, 5)
        for p in self.parameters():
            nn.init.normal_(p, generator=seeded())

    def forward(self, ids):
        return self.layer(self.table(ids))


def loss(model: Model) -> torch.Tensor:
    return F.cross_entropy(model(torch.tensor([0, 1, 2, 3])), torch.tensor([1, 2, 3, 4]))


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_all_singular_values_come_near_one(shape):
    matrix = torch.randn(shape, generator=seeded())
    u, before, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = orthogonal(matrix)
    after = torch.linalg.svdvals(turned)
    assert before.max() / before.min() > 1.5
    assert after.min() > 0.6
    assert after.max() < 1.25
    inner = u.T @ turned @ v.T  # in the directions of the matrix itself: nothing but the new values on the diagonal
    assert torch.allclose(inner, inner.diagonal().diag(), atol=1e-4)


def test_what_is_no_matrix_moves_as_with_adamw():
    ours, theirs = Model(), Model()
    optimizer_ours = optimizer(ours, {"table.weight"}, CONFIG)
    optimizer_theirs = torch.optim.AdamW([theirs.table.weight, theirs.layer.bias], lr=0.02, betas=CONFIG.betas, weight_decay=0.0)
    for _ in range(3):
        for model, one in ((ours, optimizer_ours), (theirs, optimizer_theirs)):
            one.zero_grad()
            loss(model).backward()
        with torch.no_grad():  # the same matrix on both sides, so that the same gradients reach the others
            optimizer_ours.step()
            optimizer_theirs.step()
            theirs.layer.weight.copy_(ours.layer.weight)
    assert torch.equal(ours.table.weight, theirs.table.weight)
    assert torch.equal(ours.layer.bias, theirs.layer.bias)


def test_a_first_step_by_hand():
    p = nn.Parameter(torch.eye(4))
    p.grad = 3 * torch.eye(4)
    Muon([{"params": [p], "orthogonal": True}], TrainConfig(learning_rate=0.1, weight_decay=0.5)).step()
    step = 0.2 * 2 * 0.1 * orthogonal(torch.eye(4))  # 0.2 √4 times the rate; the size of the gradient does not matter
    assert torch.allclose(p.detach(), torch.eye(4) * (1 - 0.1 * 0.5) - step)


def test_it_learns_and_goes_on_from_its_state():
    model = Model()
    one = optimizer(model, {"table.weight"}, CONFIG)
    before = loss(model).item()

    def steps(model, one):
        for _ in range(60):
            one.zero_grad()
            loss(model).backward()
            one.step()

    steps(model, one)
    assert loss(model).item() < before / 2
    other = copy.deepcopy(model)
    again = optimizer(other, {"table.weight"}, CONFIG)
    again.load_state_dict(copy.deepcopy(one.state_dict()))
    steps(model, one)
    steps(other, again)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
