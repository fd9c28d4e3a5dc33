"""A student's process may send anything: the checks' side gets plain values or an error of a small set, in bounded time and memory."""

import ast
import contextlib
import json
import os
import socket
import time
from collections import Counter, OrderedDict, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import autograder.bridge
from autograder.bridge.decode import _DECODERS
from autograder.bridge.encode import Encoder
from autograder.bridge.handle import Handle
from autograder.bridge.near import Broken, Near, TimeUp
from autograder.tests.bridged import LIMIT, Liar, frame
from lmkit.subject import SubjectGone

pytestmark = pytest.mark.slow  # a minute of properties: for who changes the grader, not for who writes a chapter

SETTINGS = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, range, slice, Fraction, type(...), np.generic, np.dtype, Handle)
PLAIN += (torch.Tensor, torch.Generator, torch.dtype, torch.device, np.random.Generator)
HANDLE = '{"t":"handle","i":1,"n":"function","r":"<f>","s":["__call__","__len__","__iter__","__next__","__getitem__"]}'


def is_plain(value) -> bool:
    if isinstance(value, dict):
        known = type(value) in (dict, OrderedDict, Counter, defaultdict)
        return known and all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset) or (isinstance(value, np.ndarray) and value.dtype == object):
        return all(map(is_plain, value))
    plain_type = value in (int, float, bool, str, list, dict, set, tuple, bytes, complex, object) if isinstance(value, type) else False
    return plain_type or isinstance(value, (*PLAIN, np.ndarray)) or type(value).__name__ == "Random" or value is answer


def answer(*arguments, **named):
    """The check's callable that is given away."""
    return 1


def outcome(*replies: bytes):
    """What a check gets that calls a student's function which answers so, and then ends its process."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for size in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            theirs.setsockopt(socket.SOL_SOCKET, size, 1 << 22)
        near = Near(ours, 1 << 20)
        theirs.sendall(frame(f'{{"op":"result","v":{HANDLE},"lengths":[]}}') + b"".join(replies))
        theirs.shutdown(socket.SHUT_WR)
        with near.time_limit(10):
            function = near.lookup("f")
            try:
                return function([1, {2: 3}], np.zeros(2), call=answer)
            except (SubjectGone, Exception) as error:
                return error


def is_expected(got) -> bool:
    if isinstance(got, BaseException):
        return isinstance(got, SubjectGone) or any(kind.__module__ == "builtins" for kind in type(got).__mro__[:2])
    return is_plain(got)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([1 << 40, -1, 1 << 64, "object", "eval"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("tvkbsdfin"), inner, max_size=3),
    max_leaves=4,
)
tags = st.sampled_from([*_DECODERS, "handle", "mine", "callback", "public", "eval", ""])
fields = {name: json_values for name in "vkbsdfinrgpq"}
tagged = st.recursive(
    st.fixed_dictionaries({"t": tags}, optional=fields),
    lambda inner: st.fixed_dictionaries({"t": tags}, optional=fields | {name: st.lists(inner, max_size=3) for name in "vk"}),
    max_leaves=4,
)
messages = st.fixed_dictionaries(
    {"op": st.sampled_from(["result", "callback", "error", "return", "run", ""]) | json_values, "lengths": st.just([]) | st.just([8, 8])},
    optional={name: json_values | tagged for name in ("v", "i", "a", "k", "changed", "kind", "kinds", "text", "calls", "near", "cell")},
)


@SETTINGS
@given(st.binary(max_size=200))
def test_random_bytes_break_nothing(data):
    assert isinstance(outcome(data), SubjectGone)


@SETTINGS
@given(st.binary(max_size=60), st.binary(max_size=20))
def test_random_text_in_a_frame_breaks_nothing(text, data):
    assert isinstance(outcome(frame(text, data)), Broken)


@SETTINGS
@given(st.lists(messages, min_size=1, max_size=3))
def test_random_messages_give_plain_values_or_an_error_of_the_small_set(replies):
    got = outcome(*[frame(json.dumps(reply), bytes(sum(reply["lengths"]))) for reply in replies])
    assert is_expected(got), got


def honest() -> tuple[dict, list[bytes]]:
    """A message with every kind of value in it."""
    encoder = Encoder(lambda value: json.loads(HANDLE))
    generator = torch.Generator().manual_seed(1)
    values = [
        {(1, "a"): defaultdict(int, {2: 3})},
        Counter("ab"),
        {1.5, b"x"},
        frozenset({1}),
        1j,
        range(3),
        slice(1),
        bytearray(b"y"),
        ...,
    ]
    values += [np.arange(4).reshape(2, 2), np.float32(1), np.array(["ab"]), np.array([None], object), np.random.default_rng(1), generator]
    values += [
        torch.rand(2, 3),
        torch.nn.Parameter(torch.rand(2)),
        torch.ones(2, dtype=torch.bool),
        torch.float16,
        int,
        Fraction(1, 2),
        len,
    ]
    message = {"op": "result", "v": encoder.encode(values), "changed": encoder.encode([[1, [[9], np.ones(2)]]])}
    return message | {"lengths": [len(blob) for blob in encoder.blobs]}, encoder.blobs


def places(value, at=()):
    yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


@SETTINGS
@given(st.data())
def test_an_honest_message_with_a_few_parts_replaced_gives_plain_values_or_an_error(data):
    message, blobs = honest()
    everywhere = [place for place in places(message) if place]
    for place in data.draw(st.lists(st.sampled_from(everywhere), min_size=1, max_size=3)):
        part = message
        with contextlib.suppress(KeyError, IndexError, TypeError):
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = data.draw(json_values | tagged)
    got = outcome(frame(json.dumps(message), b"".join(blobs)))
    assert is_expected(got), got


def test_the_honest_message_itself_is_read():
    message, blobs = honest()
    assert is_plain(outcome(frame(json.dumps(message), b"".join(blobs))))


def result(value: str, data: bytes = b"", lengths: str | None = None, more: str = "") -> bytes:
    lengths = lengths if lengths is not None else f"[{len(data)}]" if data else "[]"
    return frame(f'{{"op":"result","v":{value},"lengths":{lengths}{more}}}', data)


def array(shape: str, dtype: str = '"int8"', tag: str = "array") -> str:
    return f'{{"t":"{tag}","d":{dtype},"s":{shape},"b":0}}'


@pytest.mark.parametrize(
    "reply",
    [
        result('{"t":"array","d":"int8","s":[1],"b":0}'),
        result('[{"t":"bytes","b":0},{"t":"bytes","b":0}]', b"x"),
        result(array("[2]"), b"x"),
        result(array("[0,1099511627776,1099511627776]"), b"", "[0]"),
        result(array("[0,1099511627776]", tag="tensor"), b"", "[0]"),
        result(array("[-1,-1]"), b"x"),
        result(array("[1.0]"), b"x"),
        result(array("[true]"), b"x"),
        result(array('"\\u0001"'), b"x"),
        result(array("[{}]".format(",".join(["1"] * 33))), b"x"),
        result(array("[1]", '"object"'), bytes(8)),
        result(array("[1]", '"O"'), bytes(8)),
        result(array("[1]", '"U1,O"'), bytes(8)),
        result(array("[1]", '["int8"]'), b"x"),
        result(array("[1]", '"__class__"', "tensor"), b"x"),
        result('{"t":"dtype","v":"load"}'),
        result('{"t":"dtype","v":"ops"}'),
        result('{"t":"device","v":"cuda"}'),
        result('{"t":"type","v":"eval"}'),
        result('{"t":"type","v":"type"}'),
        result('{"t":"public","v":"os.system"}'),
        result('{"t":"callback","i":0,"n":"f"}'),
        result('{"t":"mine","i":-1}'),
        result('{"t":"mine","i":7}'),
        result('{"t":"handle","i":-1,"n":"a","r":"","s":[]}'),
        result('{"t":"handle","i":4611686018427387904,"n":"a","r":"","s":[]}'),
        result('{"t":"handle","i":7,"n":"a\\u0000b","r":"","s":[]}'),
        result('{"t":"handle","i":7,"n":"\\ud800","r":"","s":[]}'),
        result('{"t":"handle","i":7,"n":"a","r":1,"s":[]}'),
        result('{"t":"set","v":[[]]}'),
        result('{"t":"dict","k":[1,2],"v":[1]}'),
        result('{"t":"dict","k":{"1":2},"v":[1]}'),
        result('{"t":"defaultdict","f":5,"k":[],"v":[]}'),
        result('{"t":"range","v":[0,1000000000000,1]}'),
        result('{"t":"range","v":[0,1,0]}'),
        result('{"t":"fraction","v":[1,0]}'),
        result('{"t":"named","n":"a","f":["__class__"],"v":[1]}'),
        result('{"t":"named","n":"a","f":["x"],"v":[]}'),
        result('{"t":"generator","k":"numpy","v":{"t":"dict","k":["bit_generator"],"v":["MT19937"]}}'),
        result('{"t":"generator","k":"torch","b":0}', (624).to_bytes(8, "little") + b"\x70\x02\0\0\1\0\0\0\x70\x02" + bytes(5038)),
        result("[" * 500 + "]" * 500),
        result("[" * 200_000),
        result('{"t":"tuple","v":[' * 150 + "]}" * 150),
        result("1", lengths="[1]"),
        result("1", lengths="[-1,1]"),
        result("1", lengths='"ab"'),
        result("1", lengths="[true]"),
        result("9" * 5000),
        result("1", more=',"changed":5'),
        result("1", more=',"changed":[[1]]'),
        result("1", more=',"changed":[[[],1]]'),
        frame("[]"),
        frame('{"op":["result"],"lengths":[]}'),
        frame('{"op":"nonsense","lengths":[]}'),
        frame('{"op":"callback","i":99,"a":[],"k":{"t":"dict","k":[],"v":[]},"lengths":[]}'),
        frame('{"op":"callback","i":0,"a":{"t":"tuple","v":[]},"k":[],"lengths":[]}'),
        frame('{"op":"error","lengths":[]}'),
        frame('{"op":"error","kind":1,"kinds":[],"text":"","calls":[],"lengths":[]}'),
        frame('{"op":"error","kind":"a\\u0000","kinds":[],"text":"","calls":[],"lengths":[]}'),
        b"\xff" * 12,
        frame("{}")[:4] + (1 << 60).to_bytes(8, "big"),
    ],
    ids=lambda reply: repr(reply[12:70]),
)
def test_a_damaged_message_ends_the_conversation_as_broken(reply):
    assert isinstance(outcome(reply), Broken)


def error(**fields) -> bytes:
    return frame(json.dumps({"op": "error", "kind": "E", "kinds": ["ValueError"], "text": "t", "calls": [], "lengths": []} | fields))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"kinds": ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException"]}, RuntimeError),
        ({"kinds": ["SubjectGone", 5, ["x"], None]}, RuntimeError),
        ({"kinds": ["eval", "ExceptionGroup"]}, RuntimeError),
        ({"kinds": ["UnicodeDecodeError"]}, UnicodeDecodeError),
        ({"near": 99}, ValueError),
        ({"near": [1]}, ValueError),
        ({"calls": [["f", 1 << 200, "x"], ["f", "1", 1], 5, ["f", 3, "y" * 10_000]]}, ValueError),
    ],
)
def test_an_error_with_odd_fields_is_an_error_of_the_small_set(fields, kind):
    got = outcome(error(**fields))
    assert isinstance(got, kind)
    assert str(got) == "t"
    assert all(line < 1 << 31 and len(source) <= 200 for _, line, source in got.answer_calls)


def test_texts_and_names_are_cut():
    got = outcome(error(text="x" * 200_000, kind="K" * 1000))
    assert len(str(got)) == 4000
    assert len(type(got).__name__) == 80
    got = outcome(
        result(json.dumps({"t": "handle", "i": 5, "n": "n" * 1000, "r": "r" * 100_000, "s": ["__del__", "__eq__"], "q": "q" * 999}))
    )
    assert (len(repr(got)), len(type(got).__name__), len(got.__name__)) == (200, 80, 80)
    assert "__eq__" not in vars(type(got))
    assert "__del__" not in vars(type(got))


def test_ten_megabytes_of_text_are_read_and_cut():
    with Liar(result(HANDLE), error(text="x" * 10_000_000)) as near, near.time_limit(30), pytest.raises(ValueError, match=r"^x{4000}$"):
        near.lookup("f")()


def test_an_error_to_a_lookup_or_a_cell_ends_no_judge():
    with Liar(error()) as near, near.time_limit(10):
        assert "E: t" in near.run_cell("x = 1")["text"]
    with Liar(error()) as near, near.time_limit(10), pytest.raises(Broken):
        near.lookup("f")
    with Liar(frame('{"op":"result","v":null,"cell":[1],"lengths":[]}')) as near, near.time_limit(10):
        assert near.run_cell("x = 1") == {}


# time

CALLBACK = frame('{"op":"callback","i":0,"a":[],"k":{"t":"dict","k":[],"v":[]},"lengths":[]}')


@pytest.mark.parametrize(
    "parts",
    [[], [result("1")[:20]], [bytes([byte]) for byte in result(json.dumps("x" * 500))], [CALLBACK] * 100_000],
    ids=["silence", "half a message", "a byte now and then", "a storm of callbacks"],
)
def test_replies_that_never_end_are_given_up_at_the_deadline(parts):
    with Liar(result(HANDLE), parts, pause=0.02 if len(parts) > 99 and parts[0] != CALLBACK else 0.0) as near:
        function, start = near.lookup("f"), time.monotonic()
        with near.time_limit(0.5), pytest.raises(TimeUp):
            function(answer)
        assert 0.4 < time.monotonic() - start < 1.0


def test_a_side_that_never_reads_is_given_up_at_the_deadline():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        near, start = Near(ours, LIMIT), time.monotonic()
        with near.time_limit(0.5), pytest.raises(TimeUp):
            near.run_cell("#" * 10_000_000)
        assert time.monotonic() - start < 1.5


def test_a_reply_after_the_deadline_is_not_read_as_the_next_ones():
    with Liar(result(HANDLE), [b"", result("1"), result("2")], pause=0.3) as near:
        function = near.lookup("f")
        with near.time_limit(0.1), pytest.raises(TimeUp):
            function()
        time.sleep(0.5)
        with pytest.raises(TimeUp):
            function()


def colliding_tuples(count: int) -> list[list[int]]:
    """Pairs of whole numbers whose tuples all have one hash: the hash of a tuple is no secret and can be solved for its last item."""
    one, two, five, full = 11400714785074694791, 14029467366897019727, 2870177450012600261, 1 << 64
    wanted = 12345 * pow(one, -1, full) % full
    wanted = (wanted >> 31) | (wanted << 33) % full
    found, first = [], 0
    while len(found) < count:
        first += 1
        total = (five + first * two) % full
        total = ((total << 31) % full | (total >> 33)) * one % full
        last = (wanted - total) * pow(two, -1, full) % full
        last -= full if last >= full // 2 else 0
        if abs(last) < (1 << 61) - 1 and last != -1:
            found.append([first, last])
    return found


def test_the_colliding_tuples_collide():
    assert len({hash(tuple(pair)) for pair in colliding_tuples(100)}) == 1


@pytest.mark.parametrize("container", ['{"t":"set","v":%s}', '{"t":"dict","k":%s,"v":[]}', '{"t":"frozenset","v":%s}'])
@pytest.mark.parametrize("kind", ["tuples", "whole numbers"])
def test_keys_made_to_share_a_hash_are_refused_at_once(container, kind):
    if kind == "tuples":
        keys = [{"t": "tuple", "v": pair} for pair in colliding_tuples(8_000)]
    else:
        keys = [i * ((1 << 61) - 1) for i in range(20_000)]
    with Liar(result(HANDLE), result(container % json.dumps(keys))) as near, near.time_limit(20):
        function, start = near.lookup("f"), time.monotonic()
        with pytest.raises(Broken, match="share one hash"):
            function()
        assert time.monotonic() - start < 2.0


def test_honest_keys_that_share_hashes_are_read():
    value = [{"t": "tuple", "v": [-1 - (i >> bit & 1) for bit in range(6)]} for i in range(64)]
    assert len({tuple(one["v"]) for one in value}) == 64 == len(outcome(result(f'{{"t":"set","v":{json.dumps(value)}}}')))


# memory

MOST = 4 << 20  # bytes of JSON in these tests; a real message may have four times as many


def many(item: str, data: bool = False) -> tuple[str, int]:
    count = MOST // (len(item) + (8 if data or "%" in item else 1)) - 10
    return "[" + ",".join(item % i if "%" in item else item for i in range(count)) + "]", count if data else 0


def peak(message: bytes, seconds: float = 30) -> tuple[int, str]:
    """Bytes of memory that reading this message takes at most, measured in a process of its own; and what came of it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            torch.set_num_threads(1)
            with Liar(result(HANDLE), message, limit=4 * MOST) as near, near.time_limit(seconds):
                function = near.lookup("f")
                Path("/proc/self/clear_refs").write_text("5")
                before = _memory("VmRSS")
                try:
                    kept = function()
                    said = type(kept).__name__
                except BaseException as error:
                    said = f"{type(error).__name__}: {error}"
                os.write(writing, f"{_memory('VmHWM') - before} {said:.200}".encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as told:
        size, _, said = told.read().partition(" ")
    os.waitpid(child, 0)
    return int(size), said


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    ("item", "data"),
    [
        ("[]", False),
        ('{"":0}', False),
        ('{"t":"set","v":[]}', False),
        ('{"t":"named","n":"a%d","f":["x"],"v":[1]}', False),
        ('{"t":"tensor","d":"int8","s":[0],"b":%d}', True),
        ('{"t":"handle","i":%d,"n":"a","r":"","s":[]}', False),
        ('{"t":"handle","i":%d,"n":"a%d","r":"","s":[]}', False),
    ],
)
def test_reading_takes_at_most_forty_times_the_memory_of_its_text(item, data):
    item = item.replace("%d", "%(i)d") if item.count("%d") == 2 else item
    if "%(i)d" in item:
        text = "[" + ",".join(item % {"i": i} for i in range(MOST // (len(item) + 8))) + "]"
        blobs = 0
    else:
        text, blobs = many(item, data)
    size, said = peak(result(text, lengths="[{}]".format(",".join(["0"] * blobs))))
    assert size < 40 * MOST, f"{size >> 20} MiB ({said})"


@pytest.mark.parametrize("tag", ['"bytearray"', '"bytes"', '"tensor","d":"uint8","s":[%d]', '"array","d":"uint8","s":[%d]'])
def test_one_piece_of_bytes_cannot_be_taken_many_times(tag):
    size = 8 << 20
    value = '{{"t":{},"b":0}}'.format(tag.replace("%d", str(size)))
    used, said = peak(result("[" + ",".join([value] * 1000) + "]", bytes(size)))
    assert used < 6 * size, f"{used >> 20} MiB ({said})"
    assert said.startswith("Broken")


def test_an_announced_length_takes_no_memory_before_it_arrives():
    announced = (4 << 20).to_bytes(4, "big") + (12 << 20).to_bytes(8, "big")
    used, said = peak(announced[:12], seconds=0.5)
    assert used < 8 << 20, f"{used >> 20} MiB ({said})"


def test_callables_called_without_end_leave_nothing_behind():
    storm = [CALLBACK * 200] * 50
    with Liar(result(HANDLE), [*storm, result("1")]) as near, near.time_limit(30):
        assert near.lookup("f")(lambda: [np.zeros(10)] * 3) == 1
        assert len(near._given) < 100


def test_errors_raised_without_end_leave_nothing_behind():
    def fails():
        raise ValueError

    with Liar(result(HANDLE), [*[CALLBACK * 200] * 10, result("1")]) as near, near.time_limit(30):
        assert near.lookup("f")(fails) == 1
        assert len(near._errors) <= 100


# what it is made of

FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__", "pickle", "cPickle", "dill", "marshal", "shelve", "cloudpickle", "importlib"}
FORBIDDEN_CALLS = {"load", "loads", "fromstring", "literal_eval", "namedtuple", "Unpickler"}  # json.loads is the one that is allowed


@pytest.mark.parametrize("path", sorted(Path(autograder.bridge.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_the_bridge_has_nothing_that_turns_data_into_code(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = [alias.name.split(".")[0] for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        names += [node.module.split(".")[0]] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [node.id] if isinstance(node, ast.Name) else []
        assert not FORBIDDEN_NAMES & set(names), f"line {node.lineno} uses {names}"
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_CALLS:
            assert ast.unparse(node) == "json.loads", f"line {node.lineno} uses {ast.unparse(node)}"


def test_what_reads_knows_no_way_to_a_class_by_name():
    for name in ("decode", "near", "handle", "errors"):
        source = (Path(autograder.bridge.__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        names = {alias.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert not {"public", "find", "make"} & names, "only the far side may look up what a message names"
