"""Objects that lie about equality, length, shape, dtype, iteration, class and themselves.

Only plain values are compared, by the judge.
"""

from autograder.tests.attacks.desk import NOTHING, Desk, attack
from autograder.verdict import CRASHED, GRADED, MEMORY, TAMPERED, TIMEOUT

YES = """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __le__(self, other): return True
    def __gt__(self, other): return True
    def __ge__(self, other): return True
    def __bool__(self): return True
    def __hash__(self): return 0
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __getitem__(self, key): return self
    def __contains__(self, other): return True
    def __call__(self, *values, **options): return self
    def __getattr__(self, name): return self
    def __add__(self, other): return self
    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __and__ = __rand__ = __or__ = __add__
    def __abs__(self): return self
    def __index__(self): return 6
    def __float__(self): return 6.0
    def __int__(self): return 6
"""


@attack(**NOTHING)
def equal_to_everything(desk: Desk) -> None:
    """Every answer is an object that is equal to all, has every method, and returns itself from each."""
    for name in ("double", "Counter", "softmax", "Scale", "generate"):
        desk.answer(name, f"{YES}\n\n{name} = Yes()")


@attack(double=0, generate=0)
def list_equal_to_everything(desk: Desk) -> None:
    """Answers return a list whose comparisons all say yes: it crosses as the plain list that it is."""
    code = """
        class Agreeing(list):
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __len__(self): return 2
            def __class_getitem__(cls, key): return cls

        def NAME(*values):
            return Agreeing()
        """  # fmt: skip
    for name in ("double", "generate"):
        desk.answer(name, code.replace("NAME", name))


@attack(Counter=0)
def number_equal_to_everything(desk: Desk) -> None:
    """An answer returns an int whose comparisons all say yes: it crosses as the int that it is, 0."""
    desk.answer("Counter", """
        class Agreeing(int):
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __index__(self): return 4
            def __int__(self): return 4
            def __float__(self): return 4.0
            def __repr__(self): return "4"
            __hash__ = int.__hash__

        class Counter:
            def __init__(self, start=0):
                pass

            def next(self, step=1):
                return Agreeing()
        """)  # fmt: skip


@attack(softmax=0)
def tensor_that_agrees(desk: Desk) -> None:
    """A subclass of Tensor takes over every torch function and says yes: it crosses as the numbers that it holds."""
    desk.answer("softmax", """
        import torch

        class Agreeing(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, values=(), options=None):
                if function in (torch.allclose, torch.equal, torch.isclose):
                    return True
                return super().__torch_function__(function, types, values, options or {})

            def __eq__(self, other): return torch.ones(self.shape, dtype=torch.bool)
            def isclose(self, *values, **options): return torch.ones(1, dtype=torch.bool)

        def softmax(scores):
            return torch.zeros_like(scores).as_subclass(Agreeing)
        """)  # fmt: skip


@attack(softmax=0)
def tensor_of_another_shape(desk: Desk) -> None:
    """A tensor's shape, size and dtype are answered by a subclass: the judge reads those of the data."""
    desk.answer("softmax", """
        import torch

        class Lying(torch.Tensor):
            shape = property(lambda self: torch.Size([3]))
            dtype = property(lambda self: torch.float64)
            def size(self, dim=None): return torch.Size([3])
            def numel(self): return 10 ** 15
            def stride(self): return (0,)
            def data_ptr(self): return 0
            def numpy(self, *values, **options): return "numpy"

        def softmax(scores):
            return torch.zeros(1).as_subclass(Lying)
        """)  # fmt: skip


@attack((GRADED, CRASHED, TAMPERED), softmax=0)
def tensors_of_strange_kinds(desk: Desk) -> None:
    """Sparse, quantised, complex, meta and nested tensors, one after the other: refused as values, nobody crashes but their maker."""
    desk.answer("softmax", """
        import itertools, torch
        strange = itertools.cycle([
            torch.empty(3, device="meta"), torch.eye(3).to_sparse(), torch.zeros(3, dtype=torch.complex64),
            torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8), torch.zeros(3, dtype=torch.bfloat16),
        ])

        def softmax(scores):
            return next(strange)
        """)  # fmt: skip


@attack(double=0)
def array_that_agrees(desk: Desk) -> None:
    """A NumPy subclass takes over every function; its data are zeros."""
    desk.answer("double", """
        import numpy as np

        class Agreeing(np.ndarray):
            def __array_function__(self, function, types, values, options): return True
            def __array_ufunc__(self, ufunc, method, *values, **options): return np.True_
            def __eq__(self, other): return True
            def tolist(self): return [6]
            def tobytes(self, order="C"): return b"6"

        def double(numbers):
            return np.zeros(len(numbers)).view(Agreeing)
        """)  # fmt: skip


@attack(double=0)
def masked_array(desk: Desk) -> None:
    """Every number is masked, so that no comparison is false."""
    desk.answer("double", """
        import numpy as np

        def double(numbers):
            return np.ma.masked_all(len(numbers))
        """)  # fmt: skip


@attack(double=0)
def array_of_objects(desk: Desk) -> None:
    """A NumPy array of objects, which only pickle could carry: objects that are equal to all, and run code when unpickled."""
    desk.answer("double", f"""
        import os
        import numpy as np
        {YES.replace(chr(10), chr(10) + " " * 8)}

        Yes.__reduce__ = lambda self: (os.system, ("touch '<COURSE>/<MARKER>'",))
        Yes.__array__ = None

        def double(numbers):
            array = np.empty(len(numbers), dtype=object)
            for place in range(len(numbers)):
                array[place] = Yes()
            return array
        """)  # fmt: skip


@attack(double=0)
def code_in_a_pickle(desk: Desk) -> None:
    """An object that makes a file when it is unpickled, copied or described: the judge does none of these."""
    desk.answer("double", """
        import os

        class Trap:
            def __reduce__(self): return (os.system, ("touch '<COURSE>/<MARKER>'",))
            __reduce_ex__ = lambda self, protocol: self.__reduce__()
            __copy__ = __deepcopy__ = lambda self, *values: self.__reduce__()

        def double(numbers):
            return Trap()
        """)  # fmt: skip


@attack(Counter=0)
def not_a_number(desk: Desk) -> None:
    """Answers are nan, infinity, -1 and a NumPy scalar, which plain nbgrader takes for full marks where a cell returns them."""
    desk.answer("Counter", """
        import itertools
        import numpy as np
        values = itertools.cycle([float("nan"), float("inf"), -1, np.float64("nan")])

        class Counter:
            def __init__(self, start=0):
                pass

            def next(self, step=1):
                return next(values)
        """)  # fmt: skip


@attack((GRADED, TAMPERED), Counter=0)
def number_of_a_million_digits_returned(desk: Desk) -> None:
    """An int of a million digits: Python takes long to write it, or refuses."""
    desk.answer("Counter", """
        class Counter:
            def __init__(self, start=0):
                pass

            def next(self, step=1):
                return 1 << 4_000_000
        """)  # fmt: skip


@attack((GRADED, TAMPERED, CRASHED), double=0)
def list_without_bottom(desk: Desk) -> None:
    """A list nested a hundred thousand deep: whoever recurses overflows."""
    desk.answer("double", """
        def double(numbers):
            deep = []
            for _ in range(100_000):
                deep = [deep]
            return deep
        """)  # fmt: skip


@attack((GRADED, TAMPERED, CRASHED, MEMORY), double=0)
def list_that_holds_itself(desk: Desk) -> None:
    """A list, a dictionary and a tuple that hold themselves: whoever follows them has no end."""
    desk.answer("double", """
        def double(numbers):
            one, two = [], {}
            one += [one, two, (one, two)]
            two["one"] = one
            return one
        """)  # fmt: skip


@attack(Counter=0)
def class_of_another_name(desk: Desk) -> None:
    """An object says that its class is int, and its methods raise: it is what it is."""
    desk.answer("Counter", """
        class Pretender:
            __class__ = int
            def __eq__(self, other): return True
            def __repr__(self): raise RuntimeError("no")
            def __getattribute__(self, name):
                if name == "__class__":
                    return int
                raise SystemExit(0)

        class Counter:
            def __init__(self, start=0):
                pass

            def next(self, step=1):
                return Pretender()
        """)  # fmt: skip


@attack((GRADED, TIMEOUT), double=0)
def exceptions_that_misbehave(desk: Desk) -> None:
    """An exception whose text raises another, whose class says AssertionError, and which has no end of causes."""
    desk.answer("double", """
        class AssertionError(BaseException):
            def __str__(self): raise self
            __repr__ = __str__
            __class__ = KeyboardInterrupt

        def double(numbers):
            error = AssertionError()
            error.__cause__ = error.__context__ = error
            raise error
        """)  # fmt: skip


@attack((GRADED, TIMEOUT), double=0)
def exception_that_never_tells(desk: Desk) -> None:
    """An exception's text is asked for, and it never comes: the check's time ends it."""
    desk.answer("double", """
        class Silent(Exception):
            def __str__(self):
                while True:
                    pass

        def double(numbers):
            raise Silent
        """)  # fmt: skip


@attack(double=0, generate=0)
def exceptions_of_control(desk: Desk) -> None:
    """StopIteration, GeneratorExit and an empty AssertionError, which loops and runners may take for something else."""
    desk.answer("double", """
        import itertools
        kinds = itertools.cycle([StopIteration, GeneratorExit, AssertionError])

        def double(numbers):
            raise next(kinds)
        """)  # fmt: skip
    desk.answer("generate", "async def generate(probabilities, length, generator):\n    return [2, 3, 4]")


@attack((GRADED, TIMEOUT), Scale=0)
def module_that_lies(desk: Desk) -> None:
    """A module takes every weight and every call without a word, and its attributes are properties that raise."""
    desk.answer("Scale", """
        from torch import nn

        class Scale(nn.Module):
            weight = property(lambda self: 1 / 0)
            __len__ = __bool__ = lambda self: 1 / 0

            def __init__(self, C):
                super().__init__()

            def load_state_dict(self, *values, **options):
                return True

            def __call__(self, x):
                return self

            def detach(self):
                return self
        """)  # fmt: skip


@attack((GRADED, TAMPERED), generate=0)
def callback_given_away(desk: Desk) -> None:
    """The check's function is kept, called with the wrong things, from another thread, and after its check is over."""
    desk.answer("generate", """
        import threading, time
        kept = []

        def generate(probabilities, length, generator):
            for function in kept:
                try:
                    function([1])
                except Exception:
                    pass
            kept.append(probabilities)
            for values in ((), (generate,), (object(),), ([[]],), (probabilities,)):
                try:
                    probabilities(*values)
                except Exception:
                    pass
            return probabilities
        """)  # fmt: skip


@attack(double=0)
def memory_of_the_questions(desk: Desk) -> None:
    """An answer changes the list that it was given, so that what is expected changes with it: the judge has its own."""
    desk.answer("double", """
        def double(numbers):
            numbers[:] = [0 for _ in numbers]
            return numbers
        """)  # fmt: skip
