"""The training loop: what it minimises, when it stops, what it records, and what it says when something is wrong."""

import inspect
import math
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lmkit import train as training
from lmkit.errors import LmkitError
from lmkit.train import Budget, History, TrainConfig, rate_factor, train


def line(seed: int = 0) -> tuple[nn.Module, list]:
    """A linear model with dropout of nothing, and eight batches of y = 3 x1 - 2 x2 + 1."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.0))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    inputs = torch.randn(8, 16, 2, generator=generator)
    return model, [(x, x @ torch.tensor([[3.0], [-2.0]]) + 1) for x in inputs]


def squared(model, batch):
    x, y = batch
    return F.mse_loss(model(x), y)


def test_learns():
    model, batches = line()
    history = train(model, batches, squared, Budget(steps=300), TrainConfig(learning_rate=0.1, weight_decay=0.0))
    assert model[0].weight.flatten().tolist() == pytest.approx([3, -2], abs=0.05)
    assert model[0].bias.item() == pytest.approx(1, abs=0.05)
    assert history.step == list(range(1, 301))
    assert len(history.loss) == len(history.lr) == len(history.seconds) == len(history.gradient_norm) == 300
    assert history.loss[0] > 1
    assert history.loss[-1] < 0.01
    assert history.seconds == sorted(history.seconds)
    assert history.evals == []
    assert repr(history).startswith("History(300 steps in ")
    assert repr(History()) == "History(no step)"


def test_same_as_the_loop_written_out():
    """Two groups of decay, clipping, warm-up and cosine: every parameter equals that of a loop spelled out here."""
    config = TrainConfig(learning_rate=0.05, weight_decay=0.1, clip=0.5, warmup=0.2, betas=(0.8, 0.95))
    model, batches = line()
    history = train(model, batches, squared, Budget(steps=20), config)

    other, _ = line()
    weight, bias = other.parameters()
    optimizer = torch.optim.AdamW([{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}], betas=(0.8, 0.95))
    for i in range(20):
        spent = i / 20
        rate = max(spent / 0.2, 0.01) if spent < 0.2 else 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (spent - 0.2) / 0.8))
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * rate
        optimizer.zero_grad()
        loss = squared(other, batches[i % 8])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([weight, bias], 0.5)
        optimizer.step()
        assert history.loss[i] == pytest.approx(loss.item(), rel=1e-6)
        assert history.lr[i] == pytest.approx(0.05 * rate)
        assert history.gradient_norm[i] == pytest.approx(norm.item(), rel=1e-6)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_clipping_bounds_the_step():
    moved = []
    for clip in (None, 0.01):
        model, batches = line()
        before = model[0].weight.detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        history = train(model, batches, squared, Budget(steps=1), TrainConfig(clip=clip, warmup=0), optimizer=optimizer)
        moved.append((model[0].weight - before).norm().item())
        assert history.gradient_norm[0] > 1  # the norm before clipping
    assert moved[0] > 0.1
    assert 0 < moved[1] <= 0.0101


def test_schedule():
    config = TrainConfig(warmup=0.1, final_rate=0.2)
    rates = [rate_factor(i / 1000, config) for i in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[50] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(1) == max(rates)
    assert rates[550] == pytest.approx(0.6)  # half-way down
    assert rates[1000] == pytest.approx(0.2) == min(rates[100:])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rate_factor(0, TrainConfig(warmup=0)) == 1
    assert rate_factor(0.75, TrainConfig(warmup=1)) == 0.75


def test_budget_in_seconds(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    model, batches = line()

    def slow_loss(model, batch):
        clock[0] += 0.25
        return squared(model, batch)

    def slow_evaluation(model):
        clock[0] += 100.0
        return 0.0

    config = TrainConfig(warmup=0.5, evaluations=2)
    history = train(model, batches, slow_loss, Budget(seconds=2), config, evaluate=slow_evaluation)
    assert history.seconds == pytest.approx([0.25 * i for i in range(1, 9)])  # evaluation is not counted
    assert history.evals == [(0, 0.0), (4, 0.0), (8, 0.0)]
    assert history.lr[:5] == pytest.approx([1e-3 * rate for rate in (0.01, 0.25, 0.5, 0.75, 1)])


def test_seconds_of_the_real_clock():
    model, batches = line()
    started = time.perf_counter()
    history = train(model, batches, squared, Budget(seconds=0.2))
    assert 0.2 <= history.seconds[-1] <= time.perf_counter() - started
    assert history.seconds[-2] < 0.2


@pytest.mark.parametrize(("steps", "evaluations"), [(100, 10), (7, 3), (3, 10), (1, 1), (1000, 7)])
def test_evaluations(steps, evaluations):
    model, batches = line()
    asked = []

    def evaluate(model):
        asked.append((model.training, torch.is_grad_enabled()))
        return torch.tensor(1.5)

    history = train(model, batches, squared, Budget(steps=steps), TrainConfig(evaluations=evaluations), evaluate=evaluate)
    at = [done for done, _ in history.evals]
    assert (at[0], at[-1]) == (0, steps)
    assert len(at) == 1 + min(steps, evaluations)
    assert at == sorted(set(at))
    assert all(type(value) is float for _, value in history.evals)
    assert set(asked) == {(False, False)}
    assert "last evaluation 1.5" in repr(history)


@pytest.mark.parametrize("fails", [False, True])
def test_modes_and_rates_are_restored(fails):
    model, batches = line()
    model.train()
    model[1].eval()  # one module frozen by its owner
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    seen = []

    def loss_fn(model, batch):
        seen.append([module.training for module in model.modules()])
        if fails and len(seen) == 3:
            raise KeyboardInterrupt
        return squared(model, batch)

    try:
        train(model, batches, loss_fn, Budget(steps=5), optimizer=optimizer, evaluate=lambda model: 0.0)
    except KeyboardInterrupt:
        assert fails
    assert [module.training for module in model.modules()] == [True, True, False]
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert all(all(modes) for modes in seen)  # dropout is on at every step
    assert torch.is_grad_enabled()


def test_peaks_of_a_given_optimizer():
    model, batches = line()
    weight, bias = model.parameters()
    optimizer = torch.optim.SGD([{"params": [weight], "lr": 0.1}, {"params": [bias], "lr": 0.0}])
    start = bias.item()
    history = train(model, batches, squared, Budget(steps=5), TrainConfig(warmup=0, learning_rate=9.0), optimizer=optimizer)
    assert history.lr[0] == pytest.approx(0.1)
    assert bias.item() == start


def test_parameters_without_gradient_stay():
    model, batches = line()
    model[0].bias.requires_grad_(False)
    start = model[0].bias.item()
    train(model, batches, squared, Budget(steps=5))
    assert model[0].bias.item() == start


def test_generators_and_loaders():
    model, batches = line()

    def endless():
        while True:
            yield from batches

    lists = train(model, batches, squared, Budget(steps=20)).loss
    model, _ = line()
    assert train(model, endless(), squared, Budget(steps=20)).loss == lists
    model, _ = line()
    dataset = torch.utils.data.TensorDataset(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))
    loader = torch.utils.data.DataLoader(dataset, batch_size=16)
    assert train(model, loader, squared, Budget(steps=20)).loss == pytest.approx(lists, rel=1e-6)


def test_global_random_state_is_left_alone():
    model, batches = line()
    before = torch.get_rng_state()
    train(model, batches, squared, Budget(steps=3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("loss_fn", "message"),
    [
        (lambda m, b: squared(m, b) * math.nan, "the loss is nan at step 1: try a lower learning rate"),
        (lambda m, b: squared(m, b) / 0, "the loss is inf at step 1"),
        (lambda m, b: m(b[0]), r"loss_fn returned a tensor of shape \(16, 1\), expected a tensor of one element"),
        (lambda m, b: squared(m, b).item(), "loss_fn returned a float"),
        (lambda m, b: None, "loss_fn returned a NoneType"),
        (lambda m, b: squared(m, b).detach(), "does not depend on the model's parameters"),
        (lambda m, b: (m(b[0]) * 0).abs().sqrt().mean(), "the gradient is not finite at step 1, though the loss is 0"),
    ],
)
def test_bad_losses(loss_fn, message):
    model, batches = line()
    start = [p.clone() for p in model.parameters()]
    with pytest.raises(LmkitError, match=message):
        train(model, batches, loss_fn, Budget(steps=3))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), start, strict=True))


def test_divergence_names_its_step():
    model, batches = line()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    with pytest.raises(LmkitError, match=r"at step \d+") as caught:
        train(model, batches, squared, Budget(steps=1000), TrainConfig(clip=None, warmup=0), optimizer=optimizer)
    assert "step 1:" not in str(caught.value)


def test_batches_that_run_out():
    model, batches = line()
    with pytest.raises(LmkitError, match="ran out before the budget did"):
        train(model, iter(batches), squared, Budget(steps=9))
    assert len(train(model, iter(batches), squared, Budget(steps=8)).step) == 8
    with pytest.raises(LmkitError, match="batches is empty"):
        train(model, [], squared, Budget(steps=1))


def test_nothing_to_train():
    with pytest.raises(LmkitError, match="no parameter of the model asks for a gradient"):
        train(nn.ReLU(), [1], squared, Budget(steps=1))


@pytest.mark.parametrize("wrong", [{}, {"steps": 1, "seconds": 1.0}, {"steps": 0}, {"steps": 1.5}, {"seconds": 0.0}, {"seconds": math.inf}])
def test_budgets_that_make_no_sense(wrong):
    with pytest.raises(LmkitError, match="budget"):
        Budget(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0}, {"final_rate": -1}, {"warmup": 1.1}, {"weight_decay": -1}, {"clip": 0}, {"evaluations": 0}]
)
def test_configurations_that_make_no_sense(wrong):
    with pytest.raises(LmkitError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_no_options_are_passed_along():
    for _, function in inspect.getmembers(training, inspect.isfunction):
        kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds
