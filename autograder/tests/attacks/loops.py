"""Endless loops and other ways never to come back.

Each costs its own exercise, or nothing where no exercise is in the cell.
"""

from autograder.tests.attacks.desk import Desk, attack
from autograder.verdict import CRASHED, GRADED, MEMORY, TAMPERED, TIMEOUT


@attack(TIMEOUT, double=0)
def loop_in_an_answer(desk: Desk) -> None:
    """An answer never returns: its exercise is lost, the others are not."""
    desk.answer("double", """
        def double(numbers):
            while True:
                pass
        """)  # fmt: skip


@attack(TIMEOUT, double=2)
def loop_on_many_numbers(desk: Desk) -> None:
    """An answer never returns for a long list: the checks that it passed before keep their points."""
    desk.answer("double", """
        def double(numbers):
            while len(numbers) > 10:
                pass
            return [2 * number for number in numbers]
        """)  # fmt: skip


@attack(TIMEOUT)
def loop_in_a_cell(desk: Desk) -> None:
    """A cell for trying things out never ends: the cells below it are graded all the same."""
    desk.try_out("while True:\n    pass")


@attack(TIMEOUT, double=0)
def loop_in_the_cell_of_an_answer(desk: Desk) -> None:
    """The cell that defines an answer never ends: that exercise is not defined, the others are."""
    desk.cell("double").source += "\n\nwhile True:\n    pass"


@attack(TIMEOUT)
def loop_that_catches_everything(desk: Desk) -> None:
    """A loop catches KeyboardInterrupt and all else: an interrupt does not stop it, the end of its time does."""
    desk.try_out("""
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass
        """)  # fmt: skip


@attack(TIMEOUT)
def loop_that_ignores_signals(desk: Desk) -> None:
    """Every signal that can be ignored is: the one that cannot ends it."""
    desk.try_out("""
        import signal
        for number in signal.valid_signals():
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            pass
        """)  # fmt: skip


@attack(TIMEOUT, softmax=0)
def loop_in_c_code(desk: Desk) -> None:
    """A loop inside one call of a C function never looks at signals: it is stopped all the same."""
    desk.answer("softmax", """
        import itertools

        def softmax(scores):
            return sum(itertools.repeat(0))
        """)  # fmt: skip


@attack(TIMEOUT, Counter=0)
def regular_expression_without_end(desk: Desk) -> None:
    """A regular expression backtracks for years, holding the interpreter's lock: only its exercise is lost."""
    desk.answer("Counter", """
        import re

        class Counter:
            def __init__(self, start=0):
                re.match(r"(a+)+$", "a" * 60 + "b")
        """)  # fmt: skip


@attack((TIMEOUT, MEMORY), Counter=0)
def number_without_end(desk: Desk) -> None:
    """A power tower is one operation that Python cannot interrupt: only its exercise is lost."""
    desk.answer("Counter", """
        class Counter:
            def __init__(self, start=0):
                self.value = 9 ** 9 ** 9
        """)  # fmt: skip


@attack(TIMEOUT, generate=0)
def sleep_for_ever(desk: Desk) -> None:
    """An answer sleeps for a week: wall time counts, not only the processor's."""
    desk.answer("generate", """
        import time

        def generate(probabilities, length, generator):
            time.sleep(604800)
        """)  # fmt: skip


@attack(TIMEOUT)
def stop_oneself(desk: Desk) -> None:
    """The process stops itself with SIGSTOP in a cell: it does not wait to be woken for ever."""
    desk.try_out("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)")


@attack(TIMEOUT, generate=0)
def deadlock(desk: Desk) -> None:
    """An answer takes a lock twice: only its exercise is lost."""
    desk.answer("generate", """
        import threading
        lock = threading.Lock()

        def generate(probabilities, length, generator):
            with lock, lock:
                return []
        """)  # fmt: skip


@attack(TIMEOUT)
def exit_handler_without_end(desk: Desk) -> None:
    """A handler for the end of the process never ends, and an exit asks for it: time does."""
    desk.try_out("""
        import atexit, os, sys

        @atexit.register
        def never():
            while True:
                pass

        atexit._run_exitfuncs()
        """)  # fmt: skip


@attack(GRADED, shows="the last cell ran")
def exit_handler_at_the_end(desk: Desk) -> None:
    """A handler for the end of the process sleeps for a week: the grader does not wait for it."""
    desk.try_out("""
        import atexit, time
        atexit.register(time.sleep, 604800)
        print("the last", "cell ran")
        """)  # fmt: skip


@attack((TIMEOUT, CRASHED), double=0, Counter=0, softmax=0, Scale=0, generate=0)
def one_loop_after_the_other(desk: Desk) -> None:
    """Every answer is an endless loop: after some new starts the rest is given up, and the next student is graded."""
    for name in ("double", "Counter", "softmax", "Scale", "generate"):
        desk.answer(name, f"def {name}(*values):\n    while True:\n        pass")


@attack(TIMEOUT)
def many_slow_cells(desk: Desk) -> None:
    """Two cells take too long, one after the other: each is left out, and the exercises below them are graded."""
    for _ in range(2):
        desk.try_out("import time\ntime.sleep(100)")


@attack(GRADED, double=0)
def endless_generator(desk: Desk) -> None:
    """An answer returns a generator without end: no check waits for its last number."""
    desk.answer("double", """
        import itertools

        def double(numbers):
            return itertools.count()
        """)  # fmt: skip


@attack((GRADED, TIMEOUT), double=0)
def endless_list(desk: Desk) -> None:
    """An answer returns a list whose iterator has no end: nobody waits for it."""
    desk.answer("double", """
        class Endless(list):
            def __iter__(self):
                while True:
                    yield 6

        def double(numbers):
            return Endless()
        """)  # fmt: skip


@attack((TIMEOUT, GRADED), Counter=0)
def interrupted_and_back(desk: Desk) -> None:
    """An answer swallows KeyboardInterrupt and returns a right value late: what is late earns nothing."""
    desk.answer("Counter", """
        import time

        class Counter:
            def __init__(self, start=0):
                end = time.monotonic() + 20
                while time.monotonic() < end:
                    try:
                        time.sleep(20)
                    except KeyboardInterrupt:
                        pass
                self.value = start

            def next(self, step=1):
                self.value += step
                return self.value
        """)  # fmt: skip


@attack((TIMEOUT, TAMPERED), generate=0)
def callback_in_a_loop(desk: Desk) -> None:
    """An answer calls the check's function back without end: the check's time is over, and the judge lives."""
    desk.answer("generate", """
        def generate(probabilities, length, generator):
            while True:
                probabilities([1, 2, 3])
        """)  # fmt: skip


@attack(TIMEOUT, double=0)
def clocks_that_stand_still(desk: Desk) -> None:
    """All clocks of Python are stopped before a loop: the time that counts is the judge's."""
    desk.answer("double", """
        import time
        for name in ("time", "monotonic", "perf_counter", "process_time"):
            setattr(time, name, lambda: 0.0)

        def double(numbers):
            while True:
                pass
        """)  # fmt: skip
