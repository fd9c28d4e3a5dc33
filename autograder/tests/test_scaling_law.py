"""Properties of chapter 12's solutions for any numbers: fits, budgets, prompts, answers, and the rate of a client."""

import json
import random
import string

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from solutions.scaling import (
    RateLimitedClient,
    cache_memory,
    count_parameters,
    few_shot_prompt,
    fit_power_law,
    flops,
    optimal_allocation,
    parse_answer,
    predict_losses,
    training_memory,
)

pytestmark = pytest.mark.usefixtures("one_thread")
few = settings(max_examples=25, deadline=None)
shapes = st.tuples(*(st.integers(1, most) for most in (50, 4, 40)), st.integers(0, 3), *(st.integers(1, 3) for _ in range(2)))
words = st.text(string.ascii_letters + string.digits + "+#. ", min_size=1, max_size=8).map(str.strip).filter(bool)


@few
@given(shapes, st.booleans())
def test_the_number_of_parameters_is_the_librarys(shape, tied):
    V, D, M, layers, G, per_group = shape
    H = G * per_group
    ends = {"bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": tied}
    sizes = {"vocab_size": V, "hidden_size": 2 * D * H, "intermediate_size": M, "num_hidden_layers": layers}
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=H, num_key_value_heads=G, **ends))
    assert count_parameters(V, 2 * D * H, M, layers, H, G, tied) == model.num_parameters()


def test_a_token_of_a_short_text_costs_two_operations_for_each_number_in_a_matrix():
    C, M, layers, H, G = 512, 1365, 12, 8, 2
    matrices = count_parameters(1000, C, M, layers, H, G, False) - 1000 * C - (2 * layers + 1) * C  # without embeddings and norms
    assert flops(1000, C, M, layers, H, G, 1) == 2 * matrices + 4 * layers * C


@few
@given(st.integers(1, 10**12), st.sampled_from(["float32", "bfloat16", "mixed"]))
def test_training_all_of_a_model_takes_16_or_8_bytes_a_parameter(parameters, kind):
    assert sum(training_memory(parameters, parameters, kind).values()) == parameters * (8 if kind == "bfloat16" else 16)


@few
@given(st.integers(1, 8), st.integers(1, 100), st.integers(1, 100))
def test_caches_add_up_over_texts_and_tokens(B, T, more):
    assert cache_memory(B, T, 64, 3, 8, 2, 2) + cache_memory(B, more, 64, 3, 8, 2, 2) == cache_memory(B, T + more, 64, 3, 8, 2, 2)
    assert cache_memory(B, T, 64, 3, 8, 8, 2) == 4 * B * cache_memory(1, T, 64, 3, 8, 2, 2)


@few
@given(st.floats(0, 5), st.floats(0.1, 10), st.floats(0.03, 1.9), st.floats(-3, 12))
def test_a_curve_without_errors_comes_back_whatever_the_unit(E, A, alpha, start):
    x = 10 ** (start + np.array([0.0, 0.7, 1.1, 2.0, 3.0]))
    unit = x[0]
    loss = E + A * (x / unit) ** -alpha
    for given_floor in (None, E):
        got = fit_power_law(x, loss, given_floor)
        assert got[0] == pytest.approx(E, abs=1e-3)
        assert got[1] * unit ** -got[2] == pytest.approx(A, rel=1e-2)
        assert got[2] == pytest.approx(alpha, rel=1e-2)


@few
@given(st.floats(0.5, 4), st.floats(10, 100), st.floats(0.15, 0.6), st.randoms())
def test_a_loss_that_follows_the_curve_of_its_text_is_predicted(E, A, alpha, random):
    runs = [
        {"share": share, "parameters": N, "loss": E + 0.1 * share + A / N ** (alpha + share / 100)}
        for share in (1, 2, 4, 8, 16)
        for N in (4e4, 7e4, 1e5, 2e5, 3e5, 6e5)
    ]
    random.shuffle(runs)
    known, held_out = ([run for run in runs if (run["parameters"] == 6e5) is wanted] for wanted in (False, True))
    got = predict_losses(known, [{name: run[name] for name in ("share", "parameters")} for run in held_out])
    assert np.allclose(got, [run["loss"] for run in held_out], atol=0.01 * A / 6e5**alpha + 1e-3)


@few
@given(*(st.floats(0.5, 1000) for _ in range(2)), *(st.floats(0.1, 1) for _ in range(2)), st.floats(10, 27))
def test_no_other_size_is_better_for_the_same_budget(A, B, alpha, beta, digits):
    budget = 10**digits
    N, D = optimal_allocation(budget, A, B, alpha, beta)
    spent = 6 * N * D
    assert spent == pytest.approx(budget)
    for factor in (0.5, 0.99, 1.01, 2):
        assert A / N**alpha + B / D**beta <= A / (factor * N) ** alpha + B / (D / factor) ** beta


@few
@given(st.text(max_size=20), st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=4), words, st.integers(10, 120))
def test_a_prompt_fits_ends_with_its_question_and_has_as_many_examples_as_can_be(instruction, examples, question, longest):
    try:
        prompt = few_shot_prompt(instruction, examples, question, len, longest)
    except ValueError:
        assert len(few_shot_prompt(instruction, [], question, len, 10**6)) > longest
        return
    kept = prompt.count("\nA: ")
    assert len(prompt) <= longest
    assert prompt == few_shot_prompt(instruction, examples[len(examples) - kept :], question, len, 10**6)
    if kept < len(examples):
        assert len(few_shot_prompt(instruction, examples[len(examples) - kept - 1 :], question, len, 10**6)) > longest


@few
@given(st.lists(words, min_size=1, max_size=5, unique_by=str.lower), st.data())
def test_a_choice_alone_on_its_line_is_the_answer(choices, data):
    choice = data.draw(st.sampled_from(choices))
    longest = [one for one in choices if one.lower() in choice.lower()]
    for text in (choice, f" {choice.upper()}\n\nQ: {choices[0]}", f"\n{choice}"):
        assert parse_answer(text, choices) == choice or len(longest) > 1
    assert parse_answer(f"x{choice}x", [choice]) is None or not (choice[0] + choice[-1]).isalnum()


@few
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from(["ok", "500", "429", "timeout"]), st.floats(0, 40)), max_size=30),
    st.integers(0, 99),
)
def test_no_sixty_seconds_hold_more_tries_than_allowed(per_minute, script, seed):
    now, begun, script = 0.0, [], list(script)

    def later(request, key):
        nonlocal now
        begun.append(now)
        fault, travel = script.pop(0) if script else ("ok", 0.5)
        now += travel
        if fault == "timeout":
            raise TimeoutError
        return (200, {}, json.dumps(request)) if fault == "ok" else (int(fault), {"Retry-After": "3"}, "")

    def sleep(seconds):
        nonlocal now
        assert seconds >= 0
        now += seconds

    settings = {"sleep": sleep, "clock": lambda: now, "log": lambda text: None, "tries": 40, "per_minute": per_minute}
    client = RateLimitedClient(later, "key", random.Random(seed), **settings)
    for number in range(4):
        assert client.ask({"number": number}) == {"number": number}
    assert all(late - early > 60 - 1e-6 for early, late in zip(begun, begun[per_minute:], strict=False))
