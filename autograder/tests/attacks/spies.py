"""Reading what is not the student's: the course, other students, the environment, processes, memory.

A spy prints what it finds.

Whatever it prints is searched for the planted secrets and for "wall fell"; that it printed "tried all" shows that it did run.
"""

from autograder.tests.attacks.desk import Desk, attack
from autograder.verdict import CRASHED, GRADED, MEMORY

TRIED = "tried all"


@attack(shows=TRIED)
def course_folder(desk: Desk) -> None:
    """The course directory is read by its path: source, release, gradebook, other students, verdicts."""
    desk.spy("""
        peek("<BYSTANDER>")
        for folder, _, names in os.walk("<COURSE>"):
            for name in names:
                peek(os.path.join(folder, name))
        """)  # fmt: skip


@attack(shows=TRIED)
def paths_upwards(desk: Desk) -> None:
    """The same by relative paths, from where the notebook runs upwards."""
    desk.spy("""
        for steps in range(8):
            for name in ("gradebook.db", "source/<CHAPTER>/exercises.ipynb", "exercises.ipynb", "autograder/checks/attacked.py",
                         "solutions/attacked.py", "submitted"):
                peek("../" * steps + name)
        """)  # fmt: skip


@attack(shows=TRIED, double=0)
def repository(desk: Desk) -> None:
    """The reference solutions and the checks are imported, and their answer is handed in as one's own."""
    desk.spy("""
        sys.path[:0] = ["<REPOSITORY>", "<REPOSITORY>/autograder/checks", "<REPOSITORY>/solutions"]
        for name in ("solutions.attacked", "autograder.checks.attacked", "checks.attacked", "attacked", "autograder", "solutions"):
            try:
                module = __import__(name, fromlist=["*"])
                tell(repr(vars(module)) + Path(module.__file__).read_text())
            except Exception as error:
                print(type(error).__name__)
        peek("<REPOSITORY>/solutions/attacked.py")
        peek("<REPOSITORY>/autograder/checks/attacked.py")
        """)  # fmt: skip
    desk.answer("double", """
        from solutions.attacked import double
        """)  # fmt: skip


@attack(shows=TRIED)
def repository_of_the_course(desk: Desk) -> None:
    """The real course's checks and solutions cannot be imported either."""
    desk.spy("""
        for name in ("solutions", "autograder", "autograder.checks", "solutions.ngrams"):
            try:
                __import__(name)
                print("wall", "fell:", name)
            except ImportError:
                pass
        """)  # fmt: skip


@attack(shows=TRIED, double=0)
def gradebook(desk: Desk) -> None:
    """The gradebook is opened with SQLite, where the hidden checks and everyone's points stand."""
    desk.spoil("double")
    desk.spy("""
        import glob, sqlite3
        for path in ["<COURSE>/gradebook.db", *glob.glob("/**/gradebook.db", recursive=False), "gradebook.db", "../../../gradebook.db"]:
            try:
                book = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
                tell(book.execute("select source from source_cell").fetchall())
            except sqlite3.Error as error:
                print(error)
        """)  # fmt: skip


@attack(shows=TRIED)
def environment(desk: Desk) -> None:
    """The environment of this process and of every other that can be seen."""
    desk.spy("""
        import glob
        tell(dict(os.environ))
        for path in glob.glob("/proc/*/environ"):
            peek(path)
        print(sorted(os.environ))
        """)  # fmt: skip


@attack(shows=TRIED)
def process_table(desk: Desk) -> None:
    """The process table: command lines, working folders, open files of every process; no path of the course may stand in it."""
    desk.spy("""
        import glob
        for folder in glob.glob("/proc/[0-9]*"):
            peek(f"{folder}/cmdline")
            for link in [f"{folder}/cwd", f"{folder}/root", f"{folder}/exe", *glob.glob(f"{folder}/fd/*")]:
                try:
                    if "<COURSE>" in os.readlink(link):
                        print("wall", "fell:", link)
                    for name in os.listdir(link):
                        if name in ("gradebook.db", "submitted", "solutions"):
                            print("wall", "fell:", link)
                except OSError:
                    pass
        """)  # fmt: skip


@attack(shows=TRIED)
def roots_of_other_processes(desk: Desk) -> None:
    """Other processes' root and working folders, which lead out of a sandbox where they can be opened."""
    desk.spy("""
        import glob
        for door in [*glob.glob("/proc/[0-9]*/root"), *glob.glob("/proc/[0-9]*/cwd"), *glob.glob("/proc/[0-9]*/fd/*")]:
            for path in ("<COURSE>/gradebook.db", "<BYSTANDER>", "<TEMPORARY>", "<SHARED>"):
                peek(door + path)
                peek(door + "/../../../../../.." + path)
        """)  # fmt: skip


@attack((GRADED, CRASHED, MEMORY), shows=TRIED)
def memory_of_ones_own_process(desk: Desk) -> None:
    """The process reads all of its own memory: it was forked from one that knew neither checks nor other students."""
    desk.spy("""
        memory = None
        try:
            memory = open("/proc/self/mem", "rb", 0)
        except OSError as error:
            print(type(error).__name__)
        if memory is not None:
            for line in Path("/proc/self/maps").read_text().splitlines():
                start, end = (int(number, 16) for number in line.split()[0].split("-"))
                if line.split()[1].startswith("rw") and end - start < 1 << 27:
                    try:
                        memory.seek(start)
                        tell(memory.read(end - start))
                    except (OSError, OverflowError, ValueError):
                        pass
        """)  # fmt: skip


@attack(shows=TRIED)
def memory_of_other_processes(desk: Desk) -> None:
    """The memory of the parent and of all others: by /proc, by ptrace, and by the call that copies between processes."""
    desk.spy("""
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
        for process in {os.getppid(), 1, 2, 3, *(int(name) for name in os.listdir("/proc") if name.isdigit())} - {os.getpid()}:
            try:
                with open(f"/proc/{process}/mem", "rb", 0) as memory:
                    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
                        start, end = (int(number, 16) for number in line.split()[0].split("-"))
                        if line.split()[1].startswith("rw"):
                            memory.seek(start)
                            tell(memory.read(min(end - start, 1 << 24)))
            except (OSError, OverflowError, ValueError) as error:
                print(type(error).__name__)
            if library.ptrace(16, process, 0, 0) == 0:
                print("wall", "fell:", process)
                library.ptrace(17, process, 0, 0)
        """)  # fmt: skip


@attack(shows=TRIED)
def objects_of_the_process(desk: Desk) -> None:
    """All Python objects, modules and the sources that Python remembers are searched for checks and secrets."""
    desk.spy("""
        import gc, linecache
        for thing in gc.get_objects():
            try:
                if isinstance(thing, (dict, list, tuple, set)):
                    for value in (thing.values() if isinstance(thing, dict) else thing):
                        if isinstance(value, (str, bytes)) and len(value) < 10_000_000:
                            if hits := re.findall("open-" "sesame-[a-z]+-[0-9a-f]{16}", value if isinstance(value, str) else ""):
                                print(*hits)
            except Exception:
                pass
        for name, entry in linecache.cache.items():
            tell("".join(entry[2]) if len(entry) > 2 else "")
        print([name for name in sys.modules if name.startswith(("solutions", "autograder"))])
        """)  # fmt: skip


@attack(shows=TRIED)
def open_files_inherited(desk: Desk) -> None:
    """Open file descriptors that were inherited: files are read, folders are listed and left upwards."""
    desk.spy("""
        for number in range(3, 256):
            try:
                where = os.readlink(f"/proc/self/fd/{number}")
                if where.startswith("/"):
                    tell(os.pread(number, 1 << 24, 0))
            except OSError:
                pass
            for path in ("gradebook.db", "../gradebook.db", "../../gradebook.db", "<COURSE>/gradebook.db".lstrip("/")):
                try:
                    tell(os.read(os.open(path, os.O_RDONLY, dir_fd=number), 1 << 24))
                except OSError:
                    pass
        """)  # fmt: skip


@attack(shows=TRIED, double=0)
def checks_by_their_function(desk: Desk) -> None:
    """The function that a check gives to an answer is asked for its code, its globals and its source."""
    desk.spy("caught = []")
    desk.answer("generate", """
        import inspect

        def generate(probabilities, length, generator):
            for name in ("__globals__", "__code__", "__closure__", "__self__", "__func__", "__wrapped__", "__dict__", "__doc__"):
                try:
                    caught.append(repr(getattr(probabilities, name)))
                except AttributeError:
                    pass
            try:
                caught.append(inspect.getsource(inspect.getmodule(probabilities)))
            except Exception:
                pass
            tokens = []
            for _ in range(length):
                following = probabilities(tokens)
                tokens.append(int(generator.choice(len(following), p=following)))
            return tokens
        """)  # fmt: skip
    desk.answer("double", """
        def double(numbers):
            raise ValueError(" ".join(caught)[-200:])
        """)  # fmt: skip
    desk.try_out("tell(caught)\nprint(len(caught), 'things')", after="why")


@attack(shows=TRIED)
def checks_by_their_traceback(desk: Desk) -> None:
    """An answer walks the frames above it and prints the lines of whatever called it."""
    desk.spy("""
        caught = []
        """)  # fmt: skip
    desk.answer("Counter", """
        import sys, traceback

        class Counter:
            def __init__(self, start=0):
                self.value = start
                frame = sys._getframe()
                while frame:
                    caught.append(repr(frame.f_locals)[:100_000] + repr(frame.f_code.co_consts))
                    frame = frame.f_back
                caught.extend(traceback.format_stack())

            def next(self, step=1):
                self.value += step
                return self.value
        """)  # fmt: skip
    desk.try_out("tell(caught)", after="why")


@attack(shows=TRIED)
def notebook_on_disk(desk: Desk) -> None:
    """Every notebook and every Python file below the root that can be reached in two seconds."""
    desk.spy("""
        import time
        end = time.monotonic() + 2
        tops = [os.path.join("/", name) for name in os.listdir("/") if name not in ("proc", "sys", "usr", "bin", "lib")]
        for top in (*tops, os.getcwd()):
            for folder, _, names in os.walk(top):
                if time.monotonic() > end:
                    break
                for name in names:
                    if name.endswith((".ipynb", ".db", ".txt", ".json")) or "attacked" in name:
                        peek(os.path.join(folder, name))
        """)  # fmt: skip


@attack(shows=TRIED)
def caches(desk: Desk) -> None:
    """The home folders, the shells' histories and the caches of every user, and what earlier students left in /tmp."""
    desk.spy("""
        import glob, tempfile
        peek("<TEMPORARY>")
        print(os.listdir(tempfile.gettempdir()))
        for pattern in ("~/.*", "/*/.*", "/*/*/.*", "/tmp/*", "/var/tmp/*", "~/.cache/*/*", "/tmp/*/*"):
            for path in glob.glob(os.path.expanduser(pattern)):
                if os.path.isfile(path):
                    peek(path)
        """)  # fmt: skip


@attack(shows=TRIED)
def shared_memory(desk: Desk) -> None:
    """Shared memory: files of /dev/shm, System V segments, message queues."""
    desk.spy("""
        import ctypes, glob
        peek("<SHARED>")
        for path in glob.glob("/dev/shm/*") + glob.glob("/dev/mqueue/*"):
            peek(path)
        for path in ("/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem"):
            try:
                print(len(Path(path).read_text().splitlines()))
            except OSError:
                pass
        """)  # fmt: skip


@attack(shows=TRIED)
def student_before(desk: Desk) -> None:
    """What the process before this one left: a mark in memory, a file, a module. The same cell leaves marks for the next."""
    desk.spy("""
        import builtins, tempfile, torch
        for thing in (builtins, sys, os, torch, re):
            if hasattr(thing, "left_by_a_student"):
                print("wall", "fell: a mark")
            thing.left_by_a_student = True
        for folder in {os.path.realpath(folder) for folder in ("/tmp", "/dev/shm", os.getcwd(), os.path.expanduser("~"))}:
            path = os.path.join(folder, "left-by-a-student")
            if os.path.exists(path):
                print("wall", "fell: a mark")
            try:
                open(path, "w").close()
            except OSError:
                pass
        """)  # fmt: skip


@attack(shows=TRIED)
def student_after(desk: Desk) -> None:
    """The same once more, by a student who is graded later: there must be no mark of the one before."""
    student_before(desk)
