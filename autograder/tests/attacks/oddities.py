"""Honest oddities: submissions that look strange and are right.

Each keeps full marks.
"""

from autograder.tests.attacks.course import FULL
from autograder.tests.attacks.desk import Desk, attack

DOUBLE = "\n\n\ndef double(numbers):\n    WORK\n    return [2 * number for number in numbers]"


def double(work: str) -> str:
    """A right answer that does some other work as well."""
    return DOUBLE.replace("WORK", "\n    ".join(work.splitlines())).lstrip()


@attack()
def warnings_in_answers(desk: Desk) -> None:
    """A right answer warns on standard error."""
    desk.answer("double", "import warnings\n\n\n" + double("warnings.warn('slow', stacklevel=1)\nwarnings.warn('old', DeprecationWarning)"))


@attack()
def warnings_as_errors(desk: Desk) -> None:
    """A cell turns warnings into errors: that holds for the student's code, not for the checks."""
    desk.try_out("import warnings\nwarnings.simplefilter('error')")


@attack(shows="hello")
def prints(desk: Desk) -> None:
    """Answers print to both streams, with Python and past it."""
    desk.answer("double", "import os, sys\n\n\n" + double("print('hello')\nprint('oh', file=sys.stderr)\nos.write(2, b'past')"))
    desk.try_out("print('hel' + 'lo')")


@attack()
def logging(desk: Desk) -> None:
    """A right answer logs at every level, with a handler of its own."""
    desk.answer("double", "import logging\nlogging.basicConfig(level=0)\n\n\n" + double("logging.debug('a')\nlogging.error('b')"))


@attack()
def slow_but_right(desk: Desk) -> None:
    """An answer takes a second a call: slow is not wrong."""
    desk.answer("double", "import time\n\n\n" + double("time.sleep(1)"))


@attack()
def helper_cells(desk: Desk) -> None:
    """Answers use functions and constants of cells that the student added above."""
    desk.try_out("FACTOR = 2\n\n\ndef times(number):\n    return FACTOR * number")
    desk.answer("double", "def double(numbers):\n    return [times(number) for number in numbers]")


@attack()
def helper_below(desk: Desk) -> None:
    """The helper stands in a cell between the answer and its checks."""
    desk.answer("double", "def double(numbers):\n    return [times(number) for number in numbers]")
    desk.try_out("def times(number):\n    return 2 * number", after="double")


@attack()
def other_imports(desk: Desk) -> None:
    """Answers import what nobody asked for, under other names and with stars."""
    desk.try_out("from math import *\nimport collections as c, torch.nn.functional as F, numpy as numbers_in_python")


@attack()
def failed_import(desk: Desk) -> None:
    """A cell imports a package that is not installed: an error in that cell only."""
    desk.try_out("import a_package_that_nobody_has")


@attack()
def error_in_a_cell(desk: Desk) -> None:
    """A cell for trying things out raises: the cells below are run."""
    desk.try_out("1 / 0")
    desk.try_out("undefined_name")


@attack()
def syntax_error_in_a_cell(desk: Desk) -> None:
    """A cell for trying things out is not Python."""
    desk.try_out("def (:\n    a note to myself")


@attack(double=0)
def syntax_error_in_an_answer(desk: Desk) -> None:
    """One answer is not Python: it earns nothing, the others theirs."""
    desk.answer("double", "def double(numbers)\n    return [2 * number for number in numbers]")


@attack()
def magics(desk: Desk) -> None:
    """Magics of IPython: plots inline, timings, the shell, a whole cell timed."""
    desk.try_out("%matplotlib inline\n%timeit -n1 -r1 sum(range(10))\n!echo shell\nfiles = !ls\n%who\n%env EDITOR=vi")
    desk.try_out("%%time\nsum(range(10))")
    desk.try_out("%load_ext autoreload\n%autoreload 2")
    desk.try_out("sum?")


@attack()
def answer_in_a_magic_cell(desk: Desk) -> None:
    """The cell of an answer is timed."""
    desk.answer("double", "%%time\n" + double("pass"))


@attack(shows="<Figure")
def plots(desk: Desk) -> None:
    """A plot is drawn and shown."""
    desk.try_out("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()")


@attack()
def windows_line_ends(desk: Desk) -> None:
    """Every line, of the file and of the cells, ends as on Windows."""
    for cell in desk.notebook.cells:
        cell.source = cell.source.replace("\n", "\r\n")
    desk.hand_in(desk.text.replace("\n", "\r\n"))


@attack()
def old_macintosh_line_ends(desk: Desk) -> None:
    """Lines of an answer end with a carriage return only."""
    desk.cell("double").source = desk.cell("double").source.replace("\n", "\r")


@attack()
def byte_order_mark(desk: Desk) -> None:
    """The file begins with a byte-order mark."""
    desk.hand_in(b"\xef\xbb\xbf" + desk.text.encode())


@attack()
def byte_order_mark_in_a_cell(desk: Desk) -> None:
    """A cell begins with a byte-order mark, and spaces are no-break spaces: what pasting from a web page brings."""
    desk.note("\ufeffPasted\u00a0text")
    desk.cell("double").source = "\ufeff" + desk.cell("double").source


@attack()
def renamed_file(desk: Desk) -> None:
    """The file is called as a browser names a second download."""
    desk.hand_in(name="exercises (1).ipynb")


@attack()
def renamed_with_accents(desk: Desk) -> None:
    """The file has the student's name, accents and spaces in it."""
    desk.hand_in(name="Übung 1 – Zoë O'Neil.ipynb")


@attack()
def capital_letters(desk: Desk) -> None:
    """The file's name is in capital letters."""
    desk.hand_in(name="EXERCISES.IPYNB")


@attack()
def checkpoint_beside(desk: Desk) -> None:
    """Jupyter's hidden copies lie beside the notebook."""
    desk.hand_in()
    desk.add_file(".ipynb_checkpoints/exercises-checkpoint.ipynb", "{}")
    desk.add_file(".DS_Store", "")


@attack()
def one_line_of_json(desk: Desk) -> None:
    """The file is one line, with its keys in another order, and sources are lists of lines."""
    desk.hand_in(desk.text.replace("\n", " "))


@attack()
def numpy_scalars(desk: Desk) -> None:
    """Numbers come back as NumPy's, as they do when an answer uses NumPy."""
    desk.answer("double", "import numpy as np\n\n\ndef double(numbers):\n    return list(2 * np.array(numbers))")
    desk.answer("Counter", """
        import numpy as np

        class Counter:
            def __init__(self, start=0):
                self.value = np.int64(start)

            def next(self, step=1):
                self.value = self.value + step
                return self.value
        """)  # fmt: skip


@attack()
def threads_that_end(desk: Desk) -> None:
    """An answer uses a pool of threads, and joins it."""
    desk.answer("double", """
        from concurrent.futures import ThreadPoolExecutor

        def double(numbers):
            with ThreadPoolExecutor(2) as pool:
                return list(pool.map(lambda number: 2 * number, numbers))
        """)  # fmt: skip


@attack()
def processes_that_end(desk: Desk) -> None:
    """A cell runs another program and waits for it."""
    desk.try_out("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(1)'], check=False)")


@attack()
def settings_of_torch(desk: Desk) -> None:
    """Threads, seeds, printing, default types and gradients of torch are set."""
    desk.try_out("""
        import random
        import numpy as np, torch
        torch.set_num_threads(1)
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        torch.set_printoptions(precision=2)
        torch.use_deterministic_algorithms(True)
        torch.autograd.set_detect_anomaly(True)
        """)  # fmt: skip


@attack()
def gradients_off(desk: Desk) -> None:
    """Gradients are switched off for the whole notebook: no check of this chapter needs them."""
    desk.try_out("import torch\ntorch.set_grad_enabled(False)")


@attack()
def await_at_the_top(desk: Desk) -> None:
    """A cell awaits, as notebooks allow."""
    desk.try_out("import asyncio\nawait asyncio.sleep(0.01)\nprint('awaited')")


@attack()
def modern_python(desk: Desk) -> None:
    """Data classes, slots, caches, annotations from the future, type aliases, unicode names, tabs."""
    desk.answer("Counter", """
        from __future__ import annotations
        from dataclasses import dataclass

        @dataclass(slots=True)
        class Counter:
            größe: int = 0

            def next(self, step: Unknown = 1) -> Unknown:
                self.größe += step
                return self.größe
        """)  # fmt: skip
    desk.answer("double", "import functools\n\n\n@functools.cache\ndef twice(n):\n\treturn 2 * n\n\n\n"
                          "def double(numbers: 'list[float]') -> 'list[float]':\n\treturn [*map(twice, numbers)]")  # fmt: skip


@attack()
def answers_of_other_kinds(desk: Desk) -> None:
    """A lambda, a partial, an instance that can be called, a nested function and a subclass, where functions and classes were asked for."""
    desk.answer("double", "double = lambda numbers: [number + number for number in numbers]")
    desk.answer("softmax", "import functools, torch\nsoftmax = functools.partial(torch.softmax, dim=-1)")
    desk.cell("Counter").source += "\n\n\nBase = Counter\n\n\nclass Counter(Base):\n    __slots__ = ()\n"
    desk.answer("generate", """
        class Generator:
            def __call__(self, probabilities, length, generator):
                tokens = []
                for _ in range(length):
                    following = probabilities(tokens)
                    tokens.append(int(generator.choice(len(following), p=following)))
                return tokens

        generate = Generator()
        """)  # fmt: skip


@attack()
def defined_twice(desk: Desk) -> None:
    """The first try stands above in the same cell, and is wrong: the last definition counts."""
    desk.cell("double").source = "def double(numbers):\n    return []\n\n\n" + desk.cell("double").source


@attack()
def defined_again_below(desk: Desk) -> None:
    """A cell below the checks defines the name again, for something else."""
    desk.try_out("double = 3", after="generate")


@attack()
def first_try_in_a_cell_above(desk: Desk) -> None:
    """A cell of the student's own above has the first, wrong try."""
    desk.try_out("def double(numbers):\n    return []")


@attack()
def names_of_checks_used(desk: Desk) -> None:
    """The student uses names that the check cells use too: run, check_two, np."""
    desk.try_out("run = 5\ncheck_two = 'mine'\nhidden = visible = None\nnp = 'no package'")


@attack()
def tries_of_the_checks(desk: Desk) -> None:
    """The student copied the visible checks into a cell of their own, and called them there."""
    source = desk.cell("double", "visible").source
    desk.try_out(source.replace("check_two", "my_check"), after="double")


@attack()
def empty_cells(desk: Desk) -> None:
    """Empty cells, cells of blanks, and a raw cell, everywhere."""
    for name in FULL:
        desk.try_out("", after=name)
        desk.note(" \n\t\n ")
    desk.notebook.cells.append({"cell_type": "raw", "metadata": {}, "source": "raw", "id": "raw-cell"})


@attack()
def long_lines(desk: Desk) -> None:
    """An answer stands on one line of a hundred thousand characters."""
    desk.answer("double", f"double = lambda numbers, table=({'2, ' * 33_000}): [table[-1] * number for number in numbers]")


@attack()
def files_written_and_read(desk: Desk) -> None:
    """An answer keeps its numbers in a file, in the working folder and in a temporary one."""
    desk.answer("double", """
        import json, tempfile
        from pathlib import Path

        def double(numbers):
            Path("numbers.json").write_text(json.dumps(numbers))
            with tempfile.TemporaryFile("w+") as file:
                file.write(Path("numbers.json").read_text())
                file.seek(0)
                return [2 * number for number in json.load(file)]
        """)  # fmt: skip


@attack()
def no_written_answer(desk: Desk) -> None:
    """The written answer is empty, the code is right."""
    desk.cell("why").source = ""
