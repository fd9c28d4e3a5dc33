"""Floods of memory, disk, output, files and messages.

Each costs its own exercise at most.
"""

from autograder.tests.attacks.desk import Desk, attack
from autograder.verdict import CRASHED, GRADED, MALFORMED, MEMORY, TAMPERED, TIMEOUT


@attack((MEMORY, CRASHED), double=0)
def memory_in_an_answer(desk: Desk) -> None:
    """An answer allocates without end and writes to every page: its exercise is lost, the others are not."""
    desk.answer("double", """
        def double(numbers):
            hoard = []
            while True:
                hoard.append(bytearray(16 << 20))
        """)  # fmt: skip


@attack((MEMORY, CRASHED, GRADED))
def memory_in_a_cell(desk: Desk) -> None:
    """A cell makes a list without end: it meets MemoryError or is left out, and the exercises are graded."""
    desk.try_out("""
        hoard = []
        while True:
            hoard.append([0] * 1_000_000)
        """)  # fmt: skip


@attack((MEMORY, CRASHED, GRADED), softmax=0)
def tensor_of_eight_gigabytes(desk: Desk) -> None:
    """One tensor is larger than all memory allowed, and filled: no retry without limit, no harm to others."""
    desk.answer("softmax", """
        import torch

        def softmax(scores):
            keep = []
            while True:
                keep.append(torch.ones(1 << 24))
        """)  # fmt: skip


@attack((MEMORY, CRASHED, GRADED), double=0)
def memory_error_is_caught(desk: Desk) -> None:
    """An answer catches MemoryError and asks again: it gets no more than any other."""
    desk.answer("double", """
        hoard = []

        def double(numbers):
            size = 1 << 28
            while size > 1 << 12:
                try:
                    hoard.append(bytearray(size))
                except MemoryError:
                    size //= 2
            return [0 for _ in numbers]
        """)  # fmt: skip


@attack((MEMORY, CRASHED, TIMEOUT))
def memory_in_children(desk: Desk) -> None:
    """The memory is taken by many children, each under the limit: it is their sum that counts."""
    desk.try_out("""
        import os, time
        for _ in range(12):
            if os.fork() == 0:
                hoard = bytearray(100 << 20)
                for place in range(0, len(hoard), 4096):
                    hoard[place] = 1
                time.sleep(60)
                os._exit(0)
        time.sleep(60)
        """)  # fmt: skip


@attack((GRADED, MEMORY), shows="the disk is full")
def disk(desk: Desk) -> None:
    """A cell writes to the disk until nothing fits: it meets a limit, and the exercises are graded."""
    desk.try_out("""
        import os
        try:
            with open("/tmp/flood", "wb") as file:
                for _ in range(400):
                    file.write(b"x" * (1 << 20))
        except OSError:
            os.unlink("/tmp/flood")
            print("the disk", "is full")
        """)  # fmt: skip


@attack((GRADED, MEMORY))
def disk_left_full(desk: Desk) -> None:
    """A cell leaves every folder that it can write to full: the exercises need no disk."""
    desk.try_out("""
        import os
        for folder in ("/tmp", "/dev/shm", "/var/tmp", os.getcwd(), os.path.expanduser("~")):
            try:
                with open(os.path.join(folder, "flood"), "wb", buffering=0) as file:
                    for _ in range(200):
                        file.write(b"x" * (1 << 20))
            except OSError:
                pass
        """)  # fmt: skip


@attack((GRADED, MEMORY), shows="a sparse file")
def sparse_file(desk: Desk) -> None:
    """A file of a terabyte that holds nothing: nothing that the grader does later reads it."""
    desk.try_out("""
        try:
            with open("/tmp/sparse", "wb") as file:
                file.truncate(1 << 40)
            print("a sparse", "file")
        except OSError:
            print("not even a sparse", "file")
            print("a sparse", "file")
        """)  # fmt: skip


@attack((GRADED, TIMEOUT, MEMORY))
def many_files(desk: Desk) -> None:
    """A cell makes empty files until no more can be made: they live and die in the sandbox."""
    desk.try_out("""
        import time
        end = time.monotonic() + 2
        number = 0
        try:
            while time.monotonic() < end:
                open(f"/tmp/flood-{number}", "w").close()
                number += 1
        except OSError:
            pass
        """)  # fmt: skip


@attack(GRADED, shows="line 1")
def two_megabytes_of_output(desk: Desk) -> None:
    """A cell prints two megabytes: the page shows the beginning, and the exercises keep their marks."""
    desk.try_out("for number in range(40_000):\n    print('line', number, 'x' * 40)")


@attack(TIMEOUT)
def output_without_end(desk: Desk) -> None:
    """A cell prints without end: what is kept of it is bounded, and its time ends it."""
    desk.try_out("while True:\n    print('x' * 1000)")


@attack(TIMEOUT)
def output_past_python(desk: Desk) -> None:
    """A cell writes to file descriptors 1 and 2 without end: a pipe that nobody reads must not stop the judge."""
    desk.try_out("""
        import os
        while True:
            os.write(1, b"x" * 65536)
            os.write(2, b"y" * 65536)
        """)  # fmt: skip


@attack(TIMEOUT, double=0)
def output_in_an_answer(desk: Desk) -> None:
    """An answer prints without end while a check calls it: only its exercise is lost."""
    desk.answer("double", """
        def double(numbers):
            while True:
                print("x" * 100_000)
        """)  # fmt: skip


@attack((GRADED, TIMEOUT, MEMORY))
def displays_without_number(desk: Desk) -> None:
    """A cell displays 20,000 objects: the number of outputs is bounded as their size is."""
    desk.try_out("from IPython.display import display\nfor number in range(20_000):\n    display(number)")


@attack((GRADED, TIMEOUT, MEMORY))
def one_output_of_a_hundred_megabytes(desk: Desk) -> None:
    """The last value of a cell is a text of a hundred megabytes: it is cut, not kept."""
    desk.try_out("'x' * 100_000_000")


@attack((GRADED, TIMEOUT, MEMORY))
def image_of_fifty_megabytes(desk: Desk) -> None:
    """A cell displays fifty megabytes as a picture: the page stays a page."""
    desk.try_out("from IPython.display import Image, display\ndisplay(Image(data=bytes(50_000_000), format='png'))")


@attack((GRADED, TAMPERED, MEMORY, CRASHED), double=0)
def result_of_two_hundred_megabytes(desk: Desk) -> None:
    """An answer returns two hundred megabytes: the judge refuses to read them."""
    desk.answer("double", """
        def double(numbers):
            return "x" * 200_000_000
        """)  # fmt: skip


@attack((GRADED, TAMPERED, MEMORY, CRASHED, TIMEOUT), double=0)
def result_of_a_million_lists(desk: Desk) -> None:
    """An answer returns a list that holds one list a hundred million times over: copies of it would fill the judge."""
    desk.answer("double", """
        def double(numbers):
            inner = [0] * 10_000
            return [inner] * 10_000
        """)  # fmt: skip


@attack((GRADED, TAMPERED, MEMORY, CRASHED), softmax=0)
def tensor_that_is_one_number(desk: Desk) -> None:
    """A tensor of a trillion elements that all are the same number takes no memory until someone copies it: nobody does."""
    desk.answer("softmax", """
        import torch

        def softmax(scores):
            return torch.zeros(1).expand(10 ** 12)
        """)  # fmt: skip


@attack((GRADED, TAMPERED, MEMORY, CRASHED), double=0)
def array_that_is_one_number(desk: Desk) -> None:
    """The same with a NumPy array of strides 0."""
    desk.answer("double", """
        import numpy as np

        def double(numbers):
            return np.broadcast_to(np.float64(6), (10 ** 12,))
        """)  # fmt: skip


@attack((GRADED, TAMPERED, CRASHED, TIMEOUT, MEMORY), generate=0)
def callback_with_a_flood(desk: Desk) -> None:
    """An answer calls the check's function with a list of a hundred megabytes: the judge does not read it."""
    desk.answer("generate", """
        def generate(probabilities, length, generator):
            probabilities(["x" * 100_000_000])
            return []
        """)  # fmt: skip


@attack((GRADED, TIMEOUT, MEMORY, TAMPERED), Counter=0)
def objects_without_number(desk: Desk) -> None:
    """Each call returns a new object that stays on the student's side: a table of handles must not grow without end."""
    desk.answer("Counter", """
        class Counter:
            def __init__(self, start=0):
                self.kept = []

            def next(self, step=1):
                return [object() for _ in range(200_000)]
        """)  # fmt: skip


@attack(GRADED, double=0)
def message_of_ten_megabytes(desk: Desk) -> None:
    """An exception's text has ten megabytes: the message that people read is short."""
    desk.answer("double", """
        def double(numbers):
            raise ValueError("x" * 10_000_000)
        """)  # fmt: skip


@attack(GRADED)
def source_of_almost_a_megabyte(desk: Desk) -> None:
    """A cell holds one line of 900,000 characters: long, but not too long."""
    desk.try_out(f"long = '{'x' * 900_000}'")


@attack((GRADED, TIMEOUT, CRASHED))
def open_files(desk: Desk) -> None:
    """A cell opens files until it may open no more, and keeps them: the exercises need none."""
    desk.try_out("""
        kept = []
        try:
            while len(kept) < 100_000:
                kept.append(open("/dev/null"))
        except OSError:
            pass
        """)  # fmt: skip


@attack(MALFORMED)
def source_of_two_megabytes(desk: Desk) -> None:
    """A cell holds two million characters: refused in a sentence."""
    desk.try_out(f"long = '{'x' * 2_000_000}'")


@attack(MALFORMED)
def cells_without_number(desk: Desk) -> None:
    """A notebook of ten thousand cells: refused in a sentence."""
    desk.notebook.cells += [{"cell_type": "markdown", "metadata": {}, "source": "", "id": f"cell-{i}"} for i in range(10_000)]
