"""What a check can do with a student's object that stays on the other side, and what it finds changed afterwards."""

import collections
import copy
import functools
import gc
import pickle
import random
import threading
import time
import weakref

import numpy as np
import pytest
import torch

from autograder.bridge.codec import Unsendable
from autograder.bridge.handle import Handle
from autograder.tests.bridged import define, in_process, in_thread
from lmkit.check import answer_calls, hidden, run_checks
from lmkit.subject import SubjectGone, find, gradients, make, public, public_name

pytestmark = pytest.mark.slow  # a minute of properties: for who changes the grader, not for who writes a chapter

SOURCE = """
import threading
import numpy as np


class Box:
    kind = "box"

    def __init__(self, *items):
        self.items, self.inner = list(items), None

    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __getitem__(self, key): return self.items[key]
    def __setitem__(self, key, value): self.items[key] = value
    def __contains__(self, item): return item in self.items
    def __float__(self): return float(sum(self.items))
    def __array__(self, dtype=None, copy=None): return np.array(self.items)
    def add(self, item, *, twice=False): self.items += [item] * (1 + twice); return self
    def keep(self, values): self.kept = values; return self
    def spoil(self): self.kept.append("later")


def same(one, other): return one is other
def give(value): return value
def call(function, *arguments): return function(*arguments)
def fail(kind, text): raise kind(text)
def numbers(n):
    for i in range(n):
        yield i
def in_thread(function):
    got = []
    threads = [threading.Thread(target=lambda i=i: got.append(function(i))) for i in range(5)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return sorted(got)
def shy(function):
    try:
        return function()
    except ValueError:
        return "mended"
def later(function):
    def call():
        try:
            function()
        except RuntimeError as error:
            told.append(str(error))
    threading.Timer(0.1, call).start()
told = []
"""


@pytest.fixture
def near():
    with in_thread(SOURCE) as near:
        yield near


@pytest.fixture
def box(near):
    return near.lookup("Box")(1, 2, 3)


def test_a_proxy_does_what_the_object_can(box):
    assert (len(box), list(box), box[0], box[1:], 2 in box, 7 in box, float(box)) == (3, [1, 2, 3], 1, [2, 3], True, False, 6.0)
    assert np.asarray(box).tolist() == [1, 2, 3]
    box[0] = 9
    box.new = {"a": (1,)}
    assert (box[0], box.new, box.items, box.kind) == (9, {"a": (1,)}, [9, 2, 3], "box")
    assert box.add(4, twice=True).items == [9, 2, 3, 4, 4]
    with pytest.raises(IndexError):
        box[10]
    assert not hasattr(box, "nothing")


def test_a_proxy_says_its_class_and_claims_to_be_nothing_else(near, box):
    assert type(box).__name__ == "Box"
    assert near.lookup("same").__name__ == "same"
    assert not isinstance(box, list)
    assert box != [1, 2, 3]
    assert not callable(box)
    assert callable(near.lookup("same"))
    assert repr(box).startswith("<__main__.Box object")
    assert {"len": functools.lru_cache(len)(box)} == {"len": 3}, "a proxy is hashable"


def test_one_object_has_one_proxy(near, box):
    assert near.lookup("give")(box) is box
    assert box.add(1) is box
    assert near.lookup("Box") is near.lookup("Box")
    assert near.lookup("same")(box, box) is True
    box.inner = near.lookup("give")
    assert box.inner is near.lookup("give")


def test_an_object_is_forgotten_with_its_proxy(near):
    box = near.lookup("Box")(1)
    there = weakref.ref(near.far._objects[box.__number__][0])
    del box
    gc.collect()
    near.lookup("give")
    gc.collect()
    assert there() is None
    before = len(near.far._objects)
    for item in near.lookup("give")([1]) + [near.lookup("Box")(i).add(2) for i in range(50)]:
        del item
    near.lookup("same")
    assert len(near.far._objects) <= before + 3


def test_a_proxy_that_comes_back_to_life_is_not_forgotten(near, box):
    outer = near.lookup("Box")(box)
    del box
    gc.collect()
    again = outer.items[0]
    near.lookup("give")
    assert list(again) == [1, 2, 3]


def test_copies_are_made_over_there_and_pickles_are_not(box):
    deep = copy.deepcopy(box)
    deep.add(4)
    assert (type(deep).__name__, len(deep), len(box)) == ("Box", 4, 3)
    assert copy.copy(box).items == [1, 2, 3]
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(box)


def test_generators_are_walked_through_and_end(near):
    assert list(near.lookup("numbers")(3)) == [0, 1, 2]
    iterator = iter(near.lookup("numbers")(1))
    assert next(iterator) == 0
    with pytest.raises(StopIteration):
        next(iterator)


def test_callables_are_called_back_also_with_proxies_and_within_each_other(near, box):
    call = near.lookup("call")
    assert call(lambda x: x + 1, 1) == 2
    assert call(lambda one: one.add(4).items, box) == [1, 2, 3, 4]
    assert call(lambda x: call(lambda y: call(lambda z: z + 1, y) + 1, x) + 1, 0) == 3
    function = lambda x: x  # noqa: E731
    assert near.lookup("give")(function) is function
    loop = lambda: call(loop)  # noqa: E731
    with pytest.raises(RecursionError):
        loop()


def test_threads_of_the_student_may_call_back(near):
    assert near.lookup("in_thread")(lambda i: 10 * i) == [0, 10, 20, 30, 40]


def test_a_callable_is_not_called_when_its_check_is_over(near):
    near.lookup("later")(lambda: 1)
    time.sleep(0.3)
    assert list(near.lookup("told")) == ["the function was called when its check was over"]
    assert near.lookup("give")(5) == 5, "the line must still be in order"


@pytest.mark.parametrize(
    "kind", [ValueError, KeyError, IndexError, StopIteration, ZeroDivisionError, UnicodeError, ConnectionError, OSError]
)
def test_an_exception_comes_back_as_its_kind_with_its_text(near, kind):
    with pytest.raises(kind) as caught:
        near.lookup("fail")(kind, "what happened")
    assert str(caught.value) == str(kind("what happened"))
    assert type(caught.value).__name__ == kind.__name__
    assert [call[0] for call in answer_calls(caught.value)] == ["fail"]


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_an_exception_that_would_end_the_check_is_an_ordinary_one_here(near, kind):
    with pytest.raises(RuntimeError) as caught:
        near.lookup("fail")(public(f"builtins.{kind}"), "3")
    assert (type(caught.value).__name__, str(caught.value)) == (kind, "3")


class Special(ConnectionError):
    pass


def test_an_exception_of_the_checks_own_comes_back_as_itself(near):
    error = Special("mine")

    def function():
        raise error

    with pytest.raises(Special) as caught:
        near.lookup("call")(function)
    assert caught.value is error
    assert near.lookup("shy")(lambda: int("x")) == "mended", "the student's code may catch it by its built-in kind"


def test_an_error_in_the_checks_own_callable_names_the_students_line_both_ways():
    @hidden(points=1)
    def check_call(call):
        call(lambda x: [][x], 3)

    direct = run_checks(define(SOURCE)["call"], [check_call])
    with in_thread(SOURCE) as near:
        across = run_checks(near.lookup("call"), [check_call])
    assert direct == across
    assert direct[0].message.startswith("call stopped with IndexError"), direct[0].message


def test_a_process_that_ended_is_gone_for_good():
    with in_process("import os\ndef leave(): os._exit(0)") as near:
        leave = near.lookup("leave")
        for _ in range(2):
            with pytest.raises(SubjectGone):
                leave()


# what changes over there


def change_all(values, rng):
    values["list"][0].append(5)
    values["list"].reverse()
    values["default"]["new"]
    values["set"].add(9)
    values["array"][0, 0] = 7
    values["tensor"].mul_(2)
    values["bytes"][:] = b"longer"
    values["counter"].update("aab")
    del values["gone"]
    values["tuple"][1].clear()
    rng.random()


def everything():
    values = {"list": [[1], [2]], "default": collections.defaultdict(list), "set": {1}, "array": np.zeros((2, 2)), "gone": 1}
    values |= {"tensor": torch.ones(2), "bytes": bytearray(b"ab"), "counter": collections.Counter(), "tuple": (1, [2])}
    return values, np.random.default_rng(3)


def test_what_a_call_changes_is_changed_here_in_the_same_objects():
    direct, crossed = everything(), everything()
    parts = dict(crossed[0])
    change_all(*direct)
    with in_thread(change_all=change_all) as near:
        near.lookup("change_all")(*crossed)
    assert repr(direct[0]) == repr(crossed[0])
    assert direct[1].random() == crossed[1].random()
    assert all(crossed[0][name] is parts[name] for name in ("list", "default", "set", "array", "tensor", "bytes", "counter"))


def test_a_change_is_seen_though_the_call_fails(near):
    def spoil(values):
        values.append(1)
        raise ValueError("too late")

    values: list = []
    with in_thread(spoil=spoil) as other, pytest.raises(ValueError, match="too late"):
        other.lookup("spoil")(values)
    assert values == [1]


def test_what_an_object_kept_and_changed_later_is_changed_here(near, box):
    values = ["first"]
    box.keep(values)
    for i in range(12):
        box.add(i)
    box.spoil()
    assert values == ["first", "later"]


def test_what_a_callable_returned_and_the_student_changed_is_changed_here():
    table = {"a": [1]}

    def spoil(get):
        get()["a"].append(2)

    with in_thread(spoil=spoil) as near:
        near.lookup("spoil")(lambda: table)
    assert table == {"a": [1, 2]}


def test_the_next_check_is_not_touched_by_what_the_last_one_gave(near, box):
    values = ["first"]
    box.keep(values)
    near.new_check()
    box.spoil()
    assert values == ["first"]


def test_large_values_are_watched_during_their_call_only(near, box):
    values = list(range(5000))
    box.keep(values)
    box.spoil()
    assert len(values) == 5000
    with in_thread(spoil=lambda values: values.append(1)) as other:
        other.lookup("spoil")(values)
    assert len(values) == 5001


def test_random_generators_that_an_object_keeps_go_on_here(near):
    class Dice:
        def __init__(self, rng): self.rng = rng  # fmt: skip

        def roll(self): return self.rng.random()  # fmt: skip

    rng, other = random.Random(1), random.Random(1)
    with in_thread(Dice=Dice) as there:
        dice = there.lookup("Dice")(rng)
        assert [dice.roll(), dice.roll()] == [other.random(), other.random()]
    assert rng.random() == other.random()


# libraries


def test_a_librarys_function_crosses_as_itself(near):
    far = near.far
    given = {}
    with in_thread(keep=lambda **named: given.update(named)) as other:
        other.lookup("keep")(a=torch.tanh, b=torch.nn.functional.gelu, c=np.exp, d=max, e=torch.nn.GELU, f=collections.Counter)
    assert list(given.values()) == [torch.tanh, torch.nn.functional.gelu, np.exp, max, torch.nn.GELU, collections.Counter]
    assert not far._callbacks


@pytest.mark.parametrize("value", [len, torch.relu, torch.nn.Linear, np.tanh, np.random.default_rng, random.Random, copy.deepcopy])
def test_a_public_name_leads_back_to_the_thing(value):
    assert public(public_name(value)) is value


def test_what_is_the_checks_own_has_no_public_name():
    assert [public_name(one) for one in (lambda: 1, define, gradients, "".join, Handle, 5, torch.nn.ReLU())] == [None] * 7


@pytest.mark.parametrize("name", ["os.system", "subprocess.run", "autograder.grade", "torchx.y", ""])
def test_only_public_libraries_are_found(name):
    with pytest.raises(ValueError, match="none of the libraries"):
        public(name)


def test_library_objects_are_made_there_and_given_to_the_student(near):
    for subject in (near.lookup("call"), define(SOURCE)["call"]):
        layer = make(subject, "torch.nn.Linear", 4, 5)
        layer.load_state_dict(torch.nn.Linear(4, 5).state_dict())
        assert subject(layer, torch.zeros(2, 4)).shape == (2, 5)
        assert find(subject, "collections.Counter")("aab") == {"a": 2, "b": 1}
        make(subject, "torch.manual_seed", 1)
        one = subject(torch.rand, 3)
        make(subject, "torch.manual_seed", 1)
        assert torch.equal(one, subject(torch.rand, 3))


def test_a_module_made_here_is_refused_with_advice(near):
    with pytest.raises(Unsendable, match=r"lmkit\.subject\.make"):
        near.lookup("call")(torch.nn.Linear(2, 2), torch.zeros(2))
    with pytest.raises(Unsendable, match="plain values, handles and callables"):
        near.lookup("call")(threading.Lock())


def test_an_optimizer_over_there_trains_the_module_over_there():
    source = """
def train(model, optimizer, loss, x, y):
    losses = []
    for _ in range(20):
        losses.append(loss(model(x), y))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    return [float(one.detach()) for one in losses]
"""
    with in_process(source) as there:
        _train(there.lookup("train"))
    _train(define(source)["train"])


def _train(train):
    layer = make(train, "torch.nn.Linear", 1, 1)
    layer.load_state_dict({"weight": torch.zeros(1, 1), "bias": torch.zeros(1)})
    optimizer = make(train, "torch.optim.SGD", layer.parameters(), lr=0.1)
    losses = train(layer, optimizer, torch.nn.functional.mse_loss, torch.ones(4, 1), torch.ones(4, 1))
    assert losses[0] == 1
    assert losses[-1] < 0.01
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert float(layer.weight.detach()) == pytest.approx(0.5, abs=0.1)


def test_no_grad_around_a_call_holds_on_the_other_side():
    source = "import torch\nscale = torch.ones(1, requires_grad=True)\ndef f(x, g=None): return (g or (lambda y: y))(scale * x)"
    with in_process(source) as near:
        for f in (define(source)["f"], near.lookup("f")):
            with torch.no_grad():
                assert f(torch.ones(1)).numpy() == 1
                assert f(torch.ones(1), lambda y: torch.tensor([float(torch.is_grad_enabled())])) == 0
            assert f(torch.ones(1)).requires_grad
    quiet = "import torch\ndef f(g):\n    with torch.no_grad():\n        return g()"
    with in_process(quiet) as near:
        assert [f(torch.is_grad_enabled) for f in (define(quiet)["f"], near.lookup("f"))] == [False, False]
        assert [f(lambda: torch.is_grad_enabled()) for f in (define(quiet)["f"], near.lookup("f"))] == [False, False]


def test_what_transformers_models_return_keeps_its_attributes():
    source = (
        "from transformers.modeling_outputs import CausalLMOutput\nimport torch\n"
        "def f():\n    return CausalLMOutput(logits=torch.ones(2), loss=torch.ones(1))"
    )
    with in_process(source) as near:
        for f in (define(source)["f"], near.lookup("f")):
            assert f().logits.tolist() == [1, 1]
            assert f()["loss"] == 1
