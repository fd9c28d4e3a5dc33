"""Children, threads, orphans, signals, exits and crashes.

A process that ends costs its exercise at most.
"""

from autograder.tests.attacks.desk import ANY, WHATEVER, Desk, attack
from autograder.verdict import CRASHED, GRADED, MEMORY, TAMPERED, TIMEOUT


@attack((MEMORY, GRADED, TIMEOUT, CRASHED))
def fork_bomb(desk: Desk) -> None:
    """Every process of a cell starts two more, without end: the number of processes is bounded, and none outlives the sandbox."""
    desk.try_out("""
        import os
        while True:
            try:
                os.fork()
            except OSError:
                os._exit(1)
        """)  # fmt: skip


@attack((MEMORY, GRADED, TIMEOUT, CRASHED))
def fork_bomb_of_the_shell(desk: Desk) -> None:
    """The classic of the shell, from a cell magic."""
    desk.try_out("%%bash\nbomb() { bomb | bomb & }\nbomb\nwait")


@attack((MEMORY, TIMEOUT, CRASHED, GRADED, TAMPERED), double=ANY)
def fork_bomb_in_an_answer(desk: Desk) -> None:
    """The same from within a check: only that exercise is lost."""
    desk.answer("double", """
        import os, time

        def double(numbers):
            while True:
                try:
                    if os.fork() == 0:
                        time.sleep(600)
                except OSError:
                    pass
        """)  # fmt: skip


@attack(GRADED)
def threads_without_number(desk: Desk) -> None:
    """A cell starts ten thousand threads that sleep: it meets a limit, an exception like any other."""
    desk.try_out("""
        import threading, time
        for _ in range(10_000):
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        """)  # fmt: skip


@attack(GRADED)
def thread_that_is_no_daemon(desk: Desk) -> None:
    """A thread runs for ever and would keep the process alive: the grader does not wait for it."""
    desk.try_out("""
        import threading, time

        def work():
            while True:
                time.sleep(0.01)

        threading.Thread(target=work).start()
        """)  # fmt: skip


@attack(GRADED, shows="left an orphan")
def orphan(desk: Desk) -> None:
    """A daemon in a session of its own is left behind, holding every pipe open: it ends with the sandbox, and nobody waits for it."""
    desk.try_out("""
        import os, signal, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
                time.sleep(3600)
            os._exit(0)
        os.wait()
        print("left an", "orphan")
        """)  # fmt: skip


@attack(GRADED)
def orphan_that_prints(desk: Desk) -> None:
    """A child prints for ever, also while later cells and checks run: it takes no marks from them."""
    desk.try_out("""
        import os, time
        if os.fork() == 0:
            while True:
                os.write(1, b"still here\\n" * 100)
                time.sleep(0.001)
        """)  # fmt: skip


@attack((GRADED, TAMPERED, CRASHED, TIMEOUT), **WHATEVER)
def answer_in_two_processes(desk: Desk) -> None:
    """An answer forks, and both processes return into the grader's own code: two replies to one question confuse no one else."""
    desk.answer("double", """
        import os

        def double(numbers):
            os.fork()
            return [2 * number for number in numbers]
        """)  # fmt: skip


@attack(CRASHED, double=0)
def exit_at_once(desk: Desk) -> None:
    """An answer ends the process without a word: its exercise is lost."""
    desk.answer("double", """
        import os

        def double(numbers):
            os._exit(0)
        """)  # fmt: skip


@attack(CRASHED)
def exit_in_a_cell(desk: Desk) -> None:
    """A cell ends the process with status 0: the cell is left out, the exercises are graded."""
    desk.try_out("import os\nos._exit(0)")


@attack(GRADED, double=0)
def exit_politely(desk: Desk) -> None:
    """An answer calls sys.exit: an exception like any other, it costs its checks."""
    desk.answer("double", """
        import sys

        def double(numbers):
            sys.exit("100 points")
        """)  # fmt: skip


@attack(GRADED)
def exit_politely_in_a_cell(desk: Desk) -> None:
    """A cell calls exit(), another quit(), as in a terminal: the cells below run."""
    desk.try_out("exit()")
    desk.try_out("quit()")
    desk.try_out("raise SystemExit(3)")


@attack(GRADED, double=0)
def interrupt_from_inside(desk: Desk) -> None:
    """An answer raises KeyboardInterrupt: it does not stop the grader."""
    desk.answer("double", """
        def double(numbers):
            raise KeyboardInterrupt
        """)  # fmt: skip


@attack((CRASHED, GRADED), Counter=0)
def interrupt_by_signal(desk: Desk) -> None:
    """An answer sends SIGINT to its whole process group: the grader is in another one."""
    desk.answer("Counter", """
        import os, signal

        class Counter:
            def __init__(self, start=0):
                os.killpg(0, signal.SIGINT)
        """)  # fmt: skip


@attack(CRASHED, softmax=0)
def segmentation_fault(desk: Desk) -> None:
    """An answer reads address 0: the process dies, its exercise is lost."""
    desk.answer("softmax", """
        import ctypes

        def softmax(scores):
            return ctypes.string_at(0)
        """)  # fmt: skip


@attack(CRASHED)
def abort(desk: Desk) -> None:
    """A cell aborts the process: no core file of it stays, the exercises are graded."""
    desk.try_out("import os\nos.abort()")


@attack(CRASHED, Scale=0)
def stack_overflow(desk: Desk) -> None:
    """A recursion without Python's limit overflows the C stack: the exercise is lost."""
    desk.answer("Scale", """
        import ctypes
        import sys
        from torch import nn

        class Scale(nn.Module):
            def __init__(self, C):
                super().__init__()
                sys.setrecursionlimit(10 ** 9)
                callback = ctypes.CFUNCTYPE(None)(lambda: callback())
                callback()
        """)  # fmt: skip


@attack(GRADED, generate=0)
def recursion(desk: Desk) -> None:
    """A recursion without end meets Python's limit: an exception like any other."""
    desk.answer("generate", """
        def generate(probabilities, length, generator):
            return generate(probabilities, length, generator)
        """)  # fmt: skip


@attack(CRASHED)
def kill_oneself(desk: Desk) -> None:
    """A cell kills its own process with SIGKILL: the exercises are graded."""
    desk.try_out("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")


@attack((CRASHED, GRADED, TIMEOUT))
def kill_everyone(desk: Desk) -> None:
    """A cell kills every process that it may: that is its own sandbox and nothing else."""
    desk.try_out("import os, signal\nos.kill(-1, signal.SIGKILL)")


@attack((CRASHED, GRADED, TIMEOUT))
def kill_the_parent(desk: Desk) -> None:
    """A cell kills its parent and process 1: no grader is behind these numbers."""
    desk.try_out("""
        import os, signal
        for process in (os.getppid(), 1, 2, 3):
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:
                pass
        """)  # fmt: skip


@attack((CRASHED, GRADED, TIMEOUT))
def stop_everyone(desk: Desk) -> None:
    """A cell stops every process that it may with SIGSTOP: time ends it."""
    desk.try_out("import os, signal\nos.kill(-1, signal.SIGSTOP)")


@attack((CRASHED, TAMPERED, GRADED), double=0)
def another_program(desk: Desk) -> None:
    """An answer replaces the process by another program: its exercise is lost."""
    desk.answer("double", """
        import os

        def double(numbers):
            os.execv("/bin/sh", ["sh", "-c", "echo '4 of 4 points'"])
        """)  # fmt: skip


@attack((TIMEOUT, CRASHED), double=0)
def another_program_that_sleeps(desk: Desk) -> None:
    """The same, and the program never ends."""
    desk.answer("double", """
        import os

        def double(numbers):
            os.execv("/bin/sleep", ["sleep", "1000"])
        """)  # fmt: skip


@attack(GRADED, shows="no one to ask")
def input_in_a_cell(desk: Desk) -> None:
    """A cell asks the keyboard: nobody is there, and it is told so at once."""
    desk.try_out("""
        try:
            input("your name? ")
        except Exception:
            print("no one", "to ask")
        """)  # fmt: skip


@attack((GRADED, TIMEOUT), double=0)
def input_in_an_answer(desk: Desk) -> None:
    """An answer asks the keyboard in every way there is: it gets no answer and waits for none."""
    desk.answer("double", """
        import getpass, os, sys

        def double(numbers):
            for ask in (input, getpass.getpass, sys.stdin.readline, lambda: os.read(0, 1)):
                try:
                    ask()
                except Exception:
                    pass
            return input()
        """)  # fmt: skip


@attack((GRADED, TIMEOUT, CRASHED))
def debugger(desk: Desk) -> None:
    """A cell stops in the debugger, as a forgotten breakpoint does: nobody types, and the exercises are graded."""
    desk.try_out("breakpoint()")


@attack(CRASHED, double=0, Counter=0, softmax=0, Scale=0, generate=0)
def exit_in_every_answer(desk: Desk) -> None:
    """Every answer ends the process: after some new starts the rest is given up."""
    for name in ("double", "Counter", "softmax", "Scale", "generate"):
        desk.answer(name, f"import os\n\n\ndef {name}(*values):\n    os._exit(1)")


@attack((CRASHED, TIMEOUT, TAMPERED), generate=0)
def exit_in_the_middle_of_a_callback(desk: Desk) -> None:
    """An answer asks the check's function, and another thread ends the process before the reply: the judge is not left waiting."""
    desk.answer("generate", """
        import os, threading

        def generate(probabilities, length, generator):
            threading.Timer(0.05, os._exit, (0,)).start()
            while True:
                probabilities([])
        """)  # fmt: skip


@attack((CRASHED, TAMPERED, TIMEOUT, GRADED), **WHATEVER)
def close_every_file(desk: Desk) -> None:
    """A cell closes all file descriptors, also the grader's own: the student may lose marks, nobody else does."""
    desk.try_out("import os\nos.closerange(0, 1024)")


@attack((GRADED, CRASHED, MEMORY))
def strictest_limits(desk: Desk) -> None:
    """A cell takes every limit of its own process down or up as far as it may: up it may not."""
    desk.try_out("""
        import resource
        for name in ("RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_CORE"):
            try:
                resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            except (OSError, ValueError):
                pass
        """)  # fmt: skip


@attack((GRADED, TIMEOUT), shows="alarm is set")
def alarm(desk: Desk) -> None:
    """A cell sets a handler and an alarm that goes off during a check: the right answer still counts."""
    desk.try_out("""
        import signal
        signal.signal(signal.SIGALRM, lambda number, frame: None)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        print("alarm", "is set")
        """)  # fmt: skip
