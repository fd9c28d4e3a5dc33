"""Patched builtins, operators, torch, NumPy, IPython, imports, garbage collector, frames: none of them is what the checks use."""

from autograder.tests.attacks.desk import ANY, NOTHING, Desk, attack
from autograder.verdict import CRASHED, GRADED, TAMPERED, TIMEOUT


@attack(**NOTHING)
def asserts_stripped(desk: Desk) -> None:
    """An AST transformer of IPython removes every assert: no assert of a check runs in this process."""
    desk.spoil()
    desk.try_out("""
        import ast

        class Strip(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.copy_location(ast.Pass(), node)

        get_ipython().ast_transformers.append(Strip())
        """)  # fmt: skip


@attack(**NOTHING)
def display_hook(desk: Desk) -> None:
    """The display hook shows a hundred points for whatever a cell returns: nbgrader reads points from it."""
    desk.spoil()
    desk.try_out("""
        import sys
        hook = get_ipython().displayhook
        type(hook).__call__ = lambda self, result=None: print(100.0)
        sys.displayhook = lambda value: print(100.0)
        """)  # fmt: skip


@attack(**NOTHING)
def numpy_testing(desk: Desk) -> None:
    """NumPy's comparisons all say yes."""
    desk.spoil()
    desk.try_out("""
        import numpy as np
        import numpy.testing
        for name in dir(numpy.testing):
            if name.startswith("assert"):
                setattr(numpy.testing, name, lambda *values, **options: None)
        for name in ("allclose", "array_equal", "isclose", "all", "any"):
            setattr(np, name, lambda *values, **options: True)
        """)  # fmt: skip


@attack(**NOTHING)
def torch_testing(desk: Desk) -> None:
    """torch's comparisons all say yes, and its softmax gives what the answer gives."""
    desk.spoil()
    desk.try_out("""
        import torch
        torch.testing.assert_close = lambda *values, **options: None
        torch.allclose = torch.equal = torch.isclose = lambda *values, **options: True
        torch.softmax = torch.nn.functional.softmax = lambda scores, dim=-1: torch.zeros_like(scores)
        torch.Tensor.__eq__ = lambda self, other: True
        torch.Tensor.softmax = torch.softmax
        """)  # fmt: skip


@attack((GRADED, CRASHED), **NOTHING)
def builtins_that_lie(desk: Desk) -> None:
    """sum, min, max, abs and sorted are replaced: nbgrader's partial credit is a sum."""
    desk.spoil()
    desk.try_out("""
        import builtins
        builtins.sum = lambda *values: 100.0
        builtins.abs = lambda value: 0.0
        builtins.round = lambda *values: 100.0
        """)  # fmt: skip


@attack(**NOTHING)
def own_run(desk: Desk) -> None:
    """The names that check cells use are defined by the student, and lmkit's own function with them."""
    desk.spoil()
    desk.try_out("""
        import lmkit.check

        def run(name, namespace, checks):
            print("4 of 4 points")
            return 100.0

        lmkit.check.run = run
        lmkit.check.run_checks = lambda subject, checks: []
        lmkit.check.Result.earned = property(lambda self: 100.0)
        check_one = check_two = check_many = visible = hidden = lambda *values, **options: None
        """)  # fmt: skip


@attack(**NOTHING)
def operators(desk: Desk) -> None:
    """The operator module and the comparison of lists itself are changed in the interpreter's own tables."""
    desk.spoil()
    desk.try_out("""
        import ctypes, gc, operator
        operator.eq = operator.ne = lambda one, two: True
        table = gc.get_referents(list.__dict__)[0]
        table["__eq__"] = lambda self, other: True
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(list))
        """)  # fmt: skip


@attack(double=0)
def importer(desk: Desk) -> None:
    """A finder at the front of the import system gives forged modules for those that checks import."""
    desk.spoil("double")
    desk.try_out("""
        import sys, types
        from importlib.machinery import ModuleSpec

        class Forger:
            def find_spec(self, name, path=None, target=None):
                if name.startswith(("lmkit", "autograder", "numpy.testing")):
                    return ModuleSpec(name, self)

            def create_module(self, spec):
                module = types.ModuleType(spec.name)
                module.run = lambda *values: 100.0
                module.visible = module.hidden = lambda points: lambda check: check
                return module

            def exec_module(self, module):
                pass

        sys.meta_path.insert(0, Forger())
        for name in [name for name in sys.modules if name.startswith(("lmkit", "autograder"))]:
            del sys.modules[name]
        """)  # fmt: skip


@attack(double=0)
def import_function(desk: Desk) -> None:
    """The function behind the import statement is replaced."""
    desk.spoil("double")
    desk.try_out("""
        import builtins
        original = builtins.__import__

        def forged(name, *values, **options):
            module = original(name, *values, **options)
            if name.startswith("lmkit"):
                module.run = lambda *values: 100.0
            return module

        builtins.__import__ = forged
        """)  # fmt: skip


@attack(double=0)
def modules_beside_the_notebook(desk: Desk) -> None:
    """Files named like modules lie beside the notebook: the student's process does not import from there, and the judge even less."""
    desk.spoil("double")
    forged = "print('forged module')\nallclose = array_equal = lambda *values, **options: True\nrun = lambda *values: 100.0\n"
    for name in ("numpy.py", "torch.py", "json.py", "random.py", "sitecustomize.py", "usercustomize.py", "lmkit/__init__.py",
                 "lmkit/check.py", "conftest.py", "solutions/__init__.py", "nbgrader_config.py", "ipython_config.py"):  # fmt: skip
        desk.add_file(name, forged)


@attack(double=0)
def modules_written_by_a_cell(desk: Desk) -> None:
    """A cell writes such files where it stands, into the path of imports, and a start-up file of IPython's."""
    desk.spoil("double")
    desk.try_out("""
        import os, sys
        from pathlib import Path
        for folder in [os.getcwd(), *sys.path, os.path.expanduser("~/.ipython/profile_default/startup")]:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
                Path(folder, "<MARKER>.py").write_text("")
                for name in ("lmkit_check.py", "attacked.py"):
                    if os.path.realpath(folder).startswith(os.path.realpath(os.getcwd())):
                        Path(folder, name).write_text("run = lambda *values: 100.0")
            except OSError:
                pass
        sys.path.insert(0, os.getcwd())
        """)  # fmt: skip


@attack(double=0)
def garbage_collector(desk: Desk) -> None:
    """Every object of the process is searched for results, parts and verdicts, which are set to passed."""
    desk.answer("double", """
        import gc

        def double(numbers):
            for thing in gc.get_objects():
                try:
                    if type(thing).__name__ in ("Result", "Part", "Verdict"):
                        object.__setattr__(thing, "passed", True)
                    elif type(thing) is dict and "passed" in thing:
                        thing["passed"] = True
                except Exception:
                    pass
            return [0]
        """)  # fmt: skip


@attack(double=0)
def frames(desk: Desk) -> None:
    """An answer walks up the frames of its callers, looks for the numbers that are expected, and returns what it finds."""
    desk.answer("double", """
        import sys

        def double(numbers):
            frame = sys._getframe().f_back
            while frame is not None:
                for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
                    if type(value) is list and len(value) == len(numbers) and value != numbers and all(type(x) is int for x in value):
                        return value
                for check in ("check_one", "check_two", "check_many"):
                    if check in frame.f_globals:
                        frame.f_globals[check].__code__ = (lambda double: None).__code__
                frame = frame.f_back
            return [0 for _ in numbers]
        """)  # fmt: skip


@attack((GRADED, TIMEOUT), double=0, Counter=ANY, softmax=ANY, Scale=ANY, generate=ANY)
def tracer(desk: Desk) -> None:
    """A trace function follows every call, and jumps over lines that raise."""
    desk.spoil("double")
    desk.try_out("""
        import sys, threading

        def trace(frame, event, argument):
            if "check" in frame.f_code.co_name and event == "line":
                try:
                    frame.f_lineno = frame.f_lineno + 1
                except ValueError:
                    pass
            return trace if "check" in frame.f_code.co_name else None

        sys.settrace(trace)
        threading.settrace(trace)
        """)  # fmt: skip


@attack(double=0)
def hooks_of_ipython(desk: Desk) -> None:
    """Hooks before and after each cell, an input transformer, and an exception handler, that hide failures and add points."""
    desk.spoil("double")
    desk.try_out("""
        shell = get_ipython()
        shell.events.register("post_run_cell", lambda result: print(100.0))
        shell.events.register("pre_run_cell", lambda info: shell.user_ns.update(run=lambda *values: 100.0))
        shell.input_transformers_post.append(lambda lines: [line.replace("assert ", "pass;") for line in lines])
        shell.set_custom_exc((Exception,), lambda shell, kind, value, trace, tb_offset=None: print("all passed"))
        shell.showtraceback = lambda *values, **options: None
        """)  # fmt: skip


@attack((GRADED, CRASHED, TAMPERED), double=0, Counter=ANY, softmax=ANY, Scale=ANY, generate=ANY)
def shell_replaced(desk: Desk) -> None:
    """The shell's own functions that run a cell are replaced: the student's own work may be lost, nothing is won."""
    desk.spoil("double")
    desk.try_out("""
        shell = type(get_ipython())
        shell.run_cell = shell.run_code = shell.run_cell_async = lambda *values, **options: 100.0
        """)  # fmt: skip


@attack((GRADED, CRASHED, TAMPERED), double=0, Counter=ANY, softmax=ANY, Scale=ANY, generate=ANY)
def json_replaced(desk: Desk) -> None:
    """What writes and reads messages is replaced by functions that claim a hundred points."""
    desk.spoil("double")
    desk.try_out("""
        import json, pickle, struct
        forged = '{"passed": true, "points": 100, "earned": 100, "result": [6], "value": true, "ok": true}'
        json.dumps = lambda *values, **options: forged
        json.JSONEncoder.encode = lambda self, value: forged
        pickle.dumps = lambda *values, **options: b"cos\\nsystem\\n(S'true'\\ntR."
        """)  # fmt: skip


@attack((TAMPERED, CRASHED, GRADED, TIMEOUT), double=0, Counter=ANY, softmax=ANY, Scale=ANY, generate=ANY)
def forged_messages(desk: Desk) -> None:
    """Garbage and forged verdicts are written to every open file descriptor: the judge sees that the protocol is broken."""
    desk.spoil("double")
    desk.try_out("""
        import os
        for number in range(3, 64):
            for text in (b'{"passed": true, "points": 100}\\n', b"\\x00\\x00\\x00\\x04true", b"\\xff" * 64, b"\\x7f\\xff\\xff\\xff" * 4):
                try:
                    os.set_blocking(number, False)
                    os.write(number, text)
                except OSError:
                    pass
        """)  # fmt: skip


@attack((TAMPERED, CRASHED, GRADED, TIMEOUT), double=0, Counter=ANY, softmax=ANY, Scale=ANY, generate=ANY)
def stolen_messages(desk: Desk) -> None:
    """A thread reads from every open file descriptor, to take the judge's questions away and to answer them itself."""
    desk.spoil("double")
    desk.try_out("""
        import os, threading

        def steal(number):
            while True:
                try:
                    text = os.read(number, 65536)
                    if not text:
                        return
                    os.write(number, text)
                except OSError:
                    return

        for number in range(3, 12):
            threading.Thread(target=steal, args=(number,), daemon=True).start()
        """)  # fmt: skip


@attack((GRADED, CRASHED, TAMPERED), double=0, Counter=ANY, softmax=ANY, Scale=ANY, generate=ANY)
def modules_emptied(desk: Desk) -> None:
    """Every module that was imported is forgotten: the student may lose marks, nobody else does."""
    desk.spoil("double")
    desk.try_out("import sys\nsys.modules.clear()")


@attack(double=0)
def mocked(desk: Desk) -> None:
    """The standard library's own mocks replace what an answer is compared with."""
    desk.spoil("double")
    desk.try_out("""
        from unittest import mock
        for target in ("numpy.allclose", "torch.allclose", "torch.testing.assert_close", "lmkit.check.run"):
            mock.patch(target, return_value=100.0).start()
        """)  # fmt: skip


@attack(**NOTHING)
def switched_off(desk: Desk) -> None:
    """Assertions are switched off by an environment variable and in compiled code, as python -O does."""
    desk.spoil()
    desk.try_out("""
        import builtins, functools, os
        os.environ["PYTHONOPTIMIZE"] = "2"
        builtins.compile = functools.partial(compile, optimize=2)
        """)  # fmt: skip


@attack((GRADED, CRASHED, TIMEOUT, TAMPERED), double=0, Counter=ANY, softmax=ANY, Scale=ANY, generate=ANY)
def number_overwritten(desk: Desk) -> None:
    """The number 6 is overwritten in the interpreter's memory, and now equals 250: only this interpreter believes it."""
    desk.answer("double", """
        import ctypes
        ctypes.memmove(id(6) + 24, id(250) + 24, 4)

        def double(numbers):
            return [250 for _ in numbers]
        """)  # fmt: skip


@attack(double=0)
def names_of_the_grader(desk: Desk) -> None:
    """Every name that a grader might use in a notebook is taken: points, score, partial_grade, In, Out, __builtins__."""
    desk.spoil("double")
    desk.try_out("""
        points = score = earned = partial_grade = grade = result = 100.0
        passed = __debug__
        In, Out, _, __, ___ = ["100"], {}, 100, 100, 100
        __name__, __file__, __doc__ = "autograder", "/", "100"
        """)  # fmt: skip
