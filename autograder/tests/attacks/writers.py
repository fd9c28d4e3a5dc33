"""Writing to what is not the student's.

Writers only add files of one name, and open what they must not change without changing it.

Where a wall falls, the runner finds the files, or the digests of the course differ, or the cell says "wall fell".
"""

from autograder.tests.attacks.desk import Desk, attack
from autograder.verdict import GRADED, TIMEOUT

TRIED = "tried all"


@attack(shows=TRIED, double=0)
def gradebook_rewritten(desk: Desk) -> None:
    """The gradebook is opened with SQLite, and all points are set to a thousand."""
    desk.spoil("double")
    desk.spy("""
        import sqlite3
        for path in ("<COURSE>/gradebook.db", "../../../gradebook.db"):
            try:
                book = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
                book.execute("update grade set manual_score = 1000, auto_score = 1000")
                book.commit()
                print("wall", "fell:", path)
            except sqlite3.Error as error:
                print(error)
        """)  # fmt: skip


@attack(shows=TRIED)
def other_submissions(desk: Desk) -> None:
    """Another student's notebook is emptied, renamed and deleted."""
    desk.spy("""
        for act in (lambda: open("<BYSTANDER>", "w").close(), lambda: os.rename("<BYSTANDER>", "<BYSTANDER>.<MARKER>"),
                    lambda: os.unlink("<BYSTANDER>"), lambda: os.chmod("<BYSTANDER>", 0)):
            try:
                act()
                print("wall", "fell:", "<BYSTANDER>")
            except OSError as error:
                print(error.strerror)
        """)  # fmt: skip


@attack(shows=TRIED)
def folders_of_the_course(desk: Desk) -> None:
    """A file is added to every folder of the course and of the repository: verdicts, feedback, release, checks."""
    desk.spy("""
        for top in ("<REPOSITORY>", "<COURSE>"):
            for folder in ("", "verdicts", "feedback", "autograded", "submitted", "release", "source", "solutions", "autograder/checks"):
                try:
                    Path(top, folder, "<MARKER>").write_text("")
                    print("wall", "fell:", folder)
                except OSError as error:
                    print(error.strerror)
        """)  # fmt: skip


@attack(shows=TRIED)
def interpreter(desk: Desk) -> None:
    """A file is added beside every module of the interpreter, its programs and its libraries; modules are opened for writing."""
    desk.spy("""
        import numpy, sysconfig, torch
        folders = {*sysconfig.get_paths().values(), *sys.path, sys.prefix, sys.base_prefix, os.path.dirname(torch.__file__),
                   os.path.dirname(numpy.__file__), os.path.dirname(sys.executable), "/usr/lib", "/usr/bin", "/usr/local/bin"}
        for folder in folders:
            try:
                if folder and os.path.realpath(folder) != os.getcwd():
                    Path(folder, "<MARKER>").write_text("")
                    print("wall", "fell:", folder)
            except OSError:
                pass
        for path in (torch.__file__, numpy.__file__, os.__file__, sys.executable):
            try:
                os.close(os.open(path, os.O_RDWR))
                print("wall", "fell:", path)
            except OSError:
                pass
        """)  # fmt: skip


@attack(shows=TRIED)
def folders_of_the_system(desk: Desk) -> None:
    """A file is added to the system's folders and to the home folders. What is private to the sandbox dies with it."""
    desk.spy("""
        for folder in ("/", "/etc", "/root", "/home", "/var", "/var/tmp", "/opt", "/srv", "/run", "/boot", "/etc/cron.d", "/dev",
                       "/tmp", "/dev/shm", os.path.expanduser("~"), os.path.dirname("<TEMPORARY>"), "/work"):
            try:
                Path(folder, "<MARKER>").write_text("")
            except OSError:
                pass
        for path in ("<TEMPORARY>", "<SHARED>"):
            try:
                open(path, "r+").close()
                print("wall", "fell:", path)
            except OSError:
                pass
        """)  # fmt: skip


@attack(shows=TRIED)
def settings_of_the_kernel(desk: Desk) -> None:
    """Settings of the operating system are opened for writing: the core pattern, the out-of-memory scores, control groups."""
    desk.spy("""
        import glob
        for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger", "/proc/1/oom_score_adj",
                     *glob.glob("/sys/fs/cgroup/*"), *glob.glob("/sys/kernel/*")):
            try:
                if os.path.isfile(path):
                    os.close(os.open(path, os.O_WRONLY))
                    print("wall", "fell:", path)
            except OSError:
                pass
        """)  # fmt: skip


@attack(shows=TRIED)
def another_user(desk: Desk) -> None:
    """The process asks to be root, another user, or in another group, and for new namespaces in which it would be root."""
    desk.spy("""
        import ctypes, subprocess
        library = ctypes.CDLL(None, use_errno=True)
        for act in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
            try:
                act()
                print("wall", "fell: another user")
            except OSError as error:
                print(error.strerror)
        if os.getuid() == 0 or os.geteuid() == 0:
            print("wall", "fell: root")
        capabilities = re.search(r"CapEff:\\s*(\\w+)", Path("/proc/self/status").read_text())
        if int(capabilities[1], 16):
            print("wall", "fell: capabilities", capabilities[1])
        for program in ("su", "sudo", "mount", "bwrap"):
            try:
                if subprocess.run([program, "--version"], capture_output=True, timeout=2).returncode == 0:
                    print(program, "is here")
            except (OSError, subprocess.TimeoutExpired):
                pass
        """)  # fmt: skip


@attack(shows=TRIED)
def mounts(desk: Desk) -> None:
    """File systems are mounted, made writable again and left by chroot; the old root is looked for."""
    desk.spy("""
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
        remount, bind = 32, 4096
        for folder in (b"/", b"/usr", b"/dev", b"/proc"):
            if library.mount(None, folder, None, remount | bind, None) == 0:
                print("wall", "fell:", folder)
        if library.mount(b"proc", b"/tmp", b"proc", 0, None) == 0:
            print("wall", "fell: mount")
        for act in (lambda: os.chroot("/tmp"), lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))):
            try:
                act()
                print("wall", "fell: mounts")
            except OSError as error:
                print(error.strerror)
        """)  # fmt: skip


@attack(shows=TRIED)
def links_out_of_the_sandbox(desk: Desk) -> None:
    """Links and files with names that lead upwards are left where the notebook ran: nobody outside follows them."""
    desk.spy("""
        for name in ("exercises.ipynb", "exercises.html", "link"):
            for target in ("<COURSE>/gradebook.db", "/etc/passwd", "../../../gradebook.db"):
                try:
                    os.symlink(target, name)
                except OSError:
                    pass
        """)  # fmt: skip


@attack((GRADED, TIMEOUT), shows=TRIED)
def own_notebook_while_it_runs(desk: Desk) -> None:
    """The notebook being graded is searched for, and written over with one that has a thousand points."""
    desk.spy("""
        import glob
        for path in glob.glob("*.ipynb") + glob.glob("/tmp/**/*.ipynb", recursive=True) + ["exercises.ipynb"]:
            try:
                Path(path).write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
            except OSError:
                pass
        """)  # fmt: skip


@attack(shows=TRIED)
def locks_on_everything(desk: Desk) -> None:
    """Files that the grader will want are locked: the gradebook, the notebook, the interpreter's own files."""
    desk.spy("""
        import fcntl
        kept = []
        for path in ("<COURSE>/gradebook.db", "<BYSTANDER>", sys.executable, os.__file__, "/dev/null"):
            try:
                kept.append(open(path, "rb"))
                fcntl.flock(kept[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                print(error.strerror)
        """)  # fmt: skip


@attack(shows=TRIED)
def other_processes(desk: Desk) -> None:
    """Other processes' priority, limits and memory scores are changed."""
    desk.spy("""
        import resource
        for process in (os.getppid(), 1):
            for act in (lambda: os.setpriority(os.PRIO_PROCESS, process, 19),
                        lambda: resource.prlimit(process, resource.RLIMIT_NOFILE, (8, 8)),
                        lambda: os.sched_setaffinity(process, {0})):
                try:
                    act()
                    print("changed", process)
                except (OSError, ValueError) as error:
                    print(error)
        """)  # fmt: skip
