"""What crosses the bridge arrives as it was."""

import collections
import copy
import json
import math
import random
import struct
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograder.bridge.codec import ProtocolError, Unsendable
from autograder.bridge.decode import Decoder
from autograder.bridge.encode import Encoder
from autograder.tests.bridged import in_thread

pytestmark = pytest.mark.slow  # a minute of properties: for who changes the grader, not for who writes a chapter

TORCH_TYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
TORCH_TYPES += [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128]
NUMPY_TYPES = [np.dtype(code) for code in "?bhilBHILefdFD"]
SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def refuse(value):
    raise Unsendable(type(value).__name__)


def unknown(value):
    raise ProtocolError("unknown tag")


def crossed(value):
    """The value after a trip in one direction, through the text that crosses."""
    encoder = Encoder(refuse)
    text = json.dumps(encoder.encode(value), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Decoder([memoryview(blob) for blob in encoder.blobs], unknown).decode(json.loads(text.decode("utf-8", "surrogatepass")))


def alike(one, other) -> bool:
    """Equal in type, value, order and bits: nan equals nan, and -0.0 does not equal 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, complex):
        return alike([one.real, one.imag], [other.real, other.imag])
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        default = getattr(one, "default_factory", None) is getattr(other, "default_factory", None)
        return default and alike(list(one), list(other)) and alike(list(one.values()), list(other.values()))
    if isinstance(one, torch.Tensor):
        same = (one.dtype, one.shape, one.requires_grad) == (other.dtype, other.shape, other.requires_grad)
        return same and _bytes(one) == _bytes(other)
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype and one.shape == other.shape and (one.tolist() == other.tolist() or one.tobytes() == other.tobytes())
        )
    return one.tobytes() == other.tobytes() if isinstance(one, np.generic) else one == other


def _bytes(tensor):
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""


keys = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
numbers = st.integers() | st.integers(min_value=10**50, max_value=10**300) | st.floats() | st.complex_numbers() | st.fractions()
leaves = st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=())) | st.binary()
leaves |= st.binary().map(bytearray) | st.builds(range, st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 9))
leaves |= st.builds(slice, st.none() | st.integers(), st.none() | st.integers(), st.none() | st.integers())
leaves |= st.sampled_from([..., int, float, str, list, dict, object, torch.float32, torch.bfloat16, torch.device("cpu"), np.dtype("int16")])
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.sets(keys)
        | st.frozensets(keys)
        | st.dictionaries(keys, inner)
        | st.dictionaries(keys, inner).map(collections.OrderedDict)
        | st.dictionaries(keys, st.integers()).map(collections.Counter)
        | st.dictionaries(keys, inner).map(lambda items: collections.defaultdict(list, items))
    ),
    max_leaves=20,
)


@SETTINGS
@given(values)
def test_plain_values_arrive_as_they_were(value):
    assert alike(crossed(value), value)


@SETTINGS
@given(hnp.arrays(st.sampled_from(NUMPY_TYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_numpy_arrays_and_scalars_arrive_as_they_were(array):
    assert alike(crossed(array), array)
    assert crossed(array).flags.writeable
    for scalar in array.reshape(-1)[:2]:
        assert alike(crossed(scalar), scalar)


@pytest.mark.parametrize("dtype", TORCH_TYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)], ids=str)
def test_tensors_arrive_as_they_were(dtype, shape):
    tensor = (100 * torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 50).to(dtype)
    turned = tensor.permute(tuple(reversed(range(tensor.dim()))))
    views = [tensor, turned, tensor[..., ::2] if shape else tensor, tensor.conj()]
    for view in views:
        assert alike(crossed(view), view.resolve_conj())
    if dtype.is_floating_point or dtype.is_complex:
        assert alike(crossed(tensor.requires_grad_()), tensor)


def test_nan_bits_of_arrays_survive():
    odd = np.frombuffer(b"\x01\x00\x00\x00\x00\x00\xf8\x7f", np.float64)
    assert crossed(odd).tobytes() == odd.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4)[:, ::2],
        np.arange(12.0).reshape(3, 4).T,
        np.broadcast_to(np.arange(3), (4, 3)),
        np.arange(3)[::-1],
        np.array(["a", "bcd", "é"]),
        np.array([b"a", b"bc"]),
        np.array([[1, "x"], [None, (2,)]], dtype=object),
        np.zeros((2, 0, 3), dtype=object),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_views_texts_and_objects_in_arrays_arrive_as_they_were(array):
    assert alike(crossed(array), array.copy())


def test_big_endian_and_read_only_arrays_arrive_native_and_writeable():
    array = np.arange(5, dtype=">i4")
    array.flags.writeable = False
    assert alike(crossed(array), np.arange(5, dtype="int32"))
    assert crossed(array).flags.writeable


def test_subclasses_of_numbers_and_text_arrive_as_what_they_hold():
    class Text(str):
        def __str__(self):
            return "a lie"

    assert crossed([Text("x"), np.str_("y"), np.float64(0.5)]) == ["x", "y", 0.5]
    assert [type(one) for one in crossed([Text("x"), np.str_("y"), np.float64(0.5)])] == [str, str, np.float64]


def test_parameters_arrive_as_parameters_frozen_or_not():
    for frozen in (True, False):
        weight = torch.nn.Parameter(torch.rand(2, 3), requires_grad=not frozen)
        got = crossed(weight)
        assert isinstance(got, torch.nn.Parameter)
        assert got.requires_grad is not frozen
        assert torch.equal(got, weight)


def test_a_named_tuple_keeps_its_names_and_equals_the_tuple():
    got = crossed(collections.namedtuple("Point", "x y")(1, [2]))
    assert (got.x, got.y, got, repr(got)) == (1, [2], (1, [2]), "Point(x=1, y=[2])")


def test_a_state_dict_arrives_in_order():
    state = torch.nn.Linear(3, 2).state_dict()
    got = crossed(state)
    assert list(got) == list(state)
    assert all(torch.equal(got[name], state[name]) for name in state)


def draw(generator):
    if isinstance(generator, torch.Generator):
        return torch.rand(3, generator=generator).tolist() + torch.randn(3, generator=generator).tolist()
    if isinstance(generator, random.Random):
        return [generator.random(), generator.gauss(0, 1)]
    return [*generator.random(3), *generator.integers(5, size=3, dtype=np.int32)]


@pytest.mark.parametrize("make", [lambda: np.random.default_rng(1), lambda: random.Random(1), lambda: torch.Generator().manual_seed(1)])
@pytest.mark.parametrize("drawn", [0, 1, 700])
def test_generators_go_on_equally_on_both_sides(make, drawn):
    generator, other = make(), make()
    for _ in range(drawn):
        draw(generator), draw(other)
    assert draw(crossed(generator)) == draw(other)
    with in_thread(draw=draw) as near:
        got = near.lookup("draw")(generator)
    expected = make()
    for _ in range(drawn):
        draw(expected)
    assert got == draw(expected)
    assert draw(generator) == draw(expected), "what was drawn over there must be drawn here, too"


@SETTINGS
@given(st.lists(values, max_size=3))
def test_values_come_back_from_the_other_side_as_they_were(echo, given_values):
    assert alike(echo(*given_values), tuple(given_values))


@pytest.fixture(scope="module")
def echo():
    with in_thread(echo=lambda *values: values) as near:
        near._deadline = math.inf
        yield near.lookup("echo")


@pytest.mark.parametrize(
    "value", [object(), np.random.default_rng, random.SystemRandom(), np.random.Generator(np.random.MT19937(1)), open, range(1 << 40)]
)
def test_what_cannot_cross_says_so(value):
    with pytest.raises(Unsendable):
        crossed([value])


def test_too_deep_too_large_and_endless_values_say_so(echo):
    deep: list = []
    deep.append(deep)
    with pytest.raises(Unsendable, match="levels deep"):
        echo(deep)
    with pytest.raises(Unsendable, match="64 MiB"):
        echo(bytes(65 << 20))
    with pytest.raises(Unsendable, match="4300 digits"):
        echo(1 << 20_000)
    assert echo(1) == (1,), "a refused value must not break the line"


def test_a_hundred_levels_of_dictionaries_cross():
    value: dict = {}
    for _ in range(95):
        value = {"a": value}
    assert crossed(value) == value


def test_a_decoded_value_shares_nothing_with_the_message():
    data = bytearray(np.arange(3).tobytes())
    array = Decoder([memoryview(data)], unknown).decode({"t": "array", "d": "int64", "s": [3], "b": 0})
    before = copy.deepcopy(array)
    data[:] = bytes(len(data))
    assert (array == before).all()


def test_booleans_are_no_other_bytes_than_zero_and_one():
    array = Decoder([b"\x02\x00"], unknown).decode({"t": "array", "d": "bool", "s": [2], "b": 0})
    tensor = Decoder([b"\x02\x00"], unknown).decode({"t": "tensor", "d": "bool", "s": [2], "b": 0})
    assert array.tobytes() == b"\x01\x00"
    assert tensor.view(torch.uint8).tolist() == [1, 0]


def test_fractions_stay_exact():
    assert crossed(Fraction(1, 3)) == Fraction(1, 3)
