"""The walls around a student's process: bubblewrap's namespaces, the limits of the kernel, and a watch on memory.

Bubblewrap makes an empty room: no network, no process but its own, a file system of the interpreter, the toolkit and its
data, all read-only, and a small /tmp. The student's process is forked elsewhere (nursery.py), where torch is imported
already, and enters the room through its namespaces before it runs a line of the student's.
"""

import contextlib
import ctypes
import importlib.util
import json
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from autograder.errors import CourseError
from autograder.verdict import Limits
from lmkit.cache import cache_dir

_FIRST_UID = 61_000  # as root, every room has a user of its own: the kernel does not limit the processes of root
_CLONE = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_SOL_SOCKET, _BUFFERS, _LAST_FAMILY = 1, (7, 8), 16  # SO_SNDBUF and SO_RCVBUF; families up to netlink's
_MS_REMOUNT, _MS_NOSUID, _MS_NODEV, _FILES = 32, 2, 4, 20_000  # files that /tmp may hold: each takes memory of the kernel's
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_REFUSED = (  # system calls that no exercise needs: memory that no limit counts, other processes, new namespaces, the kernel's keys
    "memfd_create memfd_secret shmget msgget semget mq_open ptrace process_vm_readv process_vm_writev pidfd_getfd pidfd_open unshare setns "
    "mount umount2 pivot_root move_mount open_tree fsopen fsmount fspick mount_setattr chroot keyctl add_key request_key bpf "
    "perf_event_open userfaultfd io_uring_setup io_setup sched_setaffinity sched_setscheduler sched_setattr "
    "name_to_handle_at open_by_handle_at"
)
# The first process of a room. It ends when our end of its pipe closes, also where we were killed; the kernel then ends all others. As
# number 1 nothing in the room can stop or kill it, and children that nobody waits for vanish. (Bubblewrap's own --die-with-parent
# leaves a child that waits for ever, where the parent dies before that child was told to begin.)
_FIRST = "trap '' CHLD; echo ready; exec /bin/cat > /dev/null"
_INSTALL = "install it (Debian and Ubuntu: apt install bubblewrap), or grade people whom you trust with --no-sandbox"


def require() -> None:
    """Raise CourseError where no sandbox can be made here; the sentence says what to do."""
    if platform.system() != "Linux":
        raise CourseError("the sandbox needs Linux; grade in a Linux machine or container, or people whom you trust with --no-sandbox")
    if shutil.which("bwrap") is None:
        raise CourseError(f"bubblewrap (the program bwrap) is missing, without which submissions would run unguarded; {_INSTALL}")
    found = subprocess.run(["bwrap", "--version"], capture_output=True, text=True, check=False).stdout
    version = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if version < (0, 8):
        raise CourseError(f"bubblewrap 0.8 or newer is needed, and this is {found.strip() or 'none that answers'}; {_INSTALL}")
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        raise CourseError("the library libseccomp is missing; install it (Debian and Ubuntu: apt install libseccomp2)") from None
    try:
        Room(Limits()).close()
    except RoomError as error:
        advice = "user namespaces may be forbidden here (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces, or AppArmor)"
        raise CourseError(f"bubblewrap cannot make a sandbox ({error}); {advice}") from None


def is_here() -> bool:
    """Whether a sandbox can be made here. Only for code that is our own: strangers' code is never run without one unasked."""
    try:
        require()
    except CourseError:
        return False
    return True


class RoomError(Exception):
    """Bubblewrap did not start; the message is what it said."""


def readable(hide: tuple[str, ...]) -> list[str]:
    """What a room shows of this machine, as bubblewrap's options: all read-only, at the same paths as here."""
    import lmkit

    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            options += ["--ro-bind", str(path), str(path)]
    for path in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/fonts"):
        options += ["--ro-bind-try", path, path]
    wanted = {Path(path) for path in (sys.base_prefix, sys.prefix, Path(lmkit.__file__).parent, cache_dir())}
    wanted |= {path.resolve() for path in wanted}  # programs are found by either name, where one is a link
    for path in sorted(path for path in wanted if path.exists() and not path.is_relative_to("/usr")):
        for above in reversed(path.parents[:-1]):  # else only the user who made them could look into them
            options += ["--perms", "0755", "--dir", str(above)]
        options += ["--ro-bind", str(path), str(path)]
    return options + [option for name in hide for option in _hidden(name)]


def _hidden(name: str) -> list[str]:
    """Options that leave nothing of a module of lmkit, an empty file, or of a whole package such as gensim, an empty folder."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [option for folder in spec.submodule_search_locations for option in ("--tmpfs", folder, "--remount-ro", folder)]
    path = Path(spec.origin).resolve()
    files = (path, *path.parent.glob(f"__pycache__/{path.stem}.*"))
    return [option for file in files for option in ("--ro-bind", "/dev/null", str(file))]


class Room:
    """A sandbox with nobody in it yet. `number` makes its user its own; `hide` names modules and packages that it does not hold."""

    def __init__(self, limits: Limits, number: int = 0, hide: tuple[str, ...] = ()):
        self._limits, self._pidfd, self.first = limits, -1, 0  # first: the number of the room's first process
        self.uid = _FIRST_UID + number if os.getuid() == 0 else None
        status = os.memfd_create("status")  # no pipe: bubblewrap would end at one that nobody reads, and leave its child waiting for ever
        self._process = subprocess.Popen(
            self._command(status, hide), pass_fds=[status], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}
        )
        ready = self._process.stdout.readline() == b"ready\n"
        with open(status, encoding="utf-8") as told, contextlib.suppress(ValueError, KeyError):
            told.seek(0)
            self.first = json.loads(told.readline() or "{}")["child-pid"]
        if not self.first or not ready:
            self._process.kill()
            said = self._process.communicate()[1].decode(errors="replace").strip()
            raise RoomError(said.splitlines()[-1] if said else "it said nothing")
        self._pidfd = os.pidfd_open(self.first)

    def _command(self, status: int, hide: tuple[str, ...]) -> list[str]:
        alone = [f"--unshare-{name}" for name in ("ipc", "pid", "net", "uts", "cgroup-try")]
        user = [] if os.getuid() == 0 else ["--unshare-user", "--uid", "65534", "--gid", "65534"]
        small = ["--size", str(self._limits.disk), "--perms", "1777", "--tmpfs"]
        return [
            *(shutil.which("bwrap") or "bwrap", *alone, *user, "--as-pid-1", "--new-session", "--hostname", "sandbox", "--clearenv"),
            *("--proc", "/proc", "--dev", "/dev", "--dev-bind", "/dev/null", "/dev/zero", *small, "/tmp", *small, "/dev/shm"),
            *readable(hide),
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--json-status-fd", str(status)),
            *("/bin/sh", "-c", _FIRST),
        ]

    @property
    def pidfd(self) -> int:
        """A file descriptor of the room's first process: `enter` takes its namespaces from it."""
        return self._pidfd

    def kill(self) -> None:
        """End every process in the room: the kernel ends them all with the first."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """End every process in the room; returns when they are gone."""
        if self._pidfd >= 0:
            self.kill()
            os.close(self._pidfd)
            self._pidfd = -1
        self._process.kill()
        self._process.communicate()


def enter(pidfd: int, uid: int | None) -> int | None:
    """Go into a room. Returns the process number of the one who went, to the caller; None to the one inside, a new process."""
    libc = ctypes.CDLL(None, use_errno=True)
    namespaces = sum(_CLONE.values()) - (_CLONE["user"] if uid is not None else 0)
    if libc.setns(pidfd, namespaces):
        raise OSError(ctypes.get_errno(), "the sandbox's namespaces cannot be entered")
    if child := os.fork():
        return child
    os.setsid()
    os.chdir("/tmp")
    return None


def confine(limits: Limits, uid: int | None, cpu: int | None, sandboxed: bool) -> None:
    """Bind this process, and all that come from it, to the limits; give up every right for good."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    limit_memory(limits.memory)
    _limit("RLIMIT_FSIZE", limits.disk)
    _limit("RLIMIT_NOFILE", 128)
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_MEMLOCK", 0)
    _limit("RLIMIT_CPU", int(limits.seconds) + 60)
    if not sandboxed:
        return
    _limit("RLIMIT_NPROC", limits.processes)
    _limit_files(limits)
    _limit("RLIMIT_MSGQUEUE", 0)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    if uid is None:
        for capability in range(64):
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        if libc.capset(header, nothing):
            raise OSError(ctypes.get_errno(), "rights cannot be given up")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "rights cannot be given up")
    _refuse_calls()


def limit_memory(more: int) -> None:
    """Let this process have so many bytes beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    _limit("RLIMIT_AS", pages * resource.getpagesize() + more)


def _limit_files(limits: Limits) -> None:
    """Let /tmp and /dev/shm hold so many files, where this process may say so; else the kernel's own limit holds."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={limits.disk},nr_inodes={_FILES}".encode()
    for path in (b"/tmp", b"/dev/shm"):
        libc.mount(b"tmpfs", path, b"tmpfs", _MS_REMOUNT | _MS_NOSUID | _MS_NODEV, options)


def _limit(name: str, value: int) -> None:
    kind = getattr(resource, name)
    most = resource.getrlimit(kind)[1]
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(kind, (value, value))


def _refuse_calls() -> None:
    import errno

    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in _REFUSED.split():
        with contextlib.suppress(RuntimeError, OSError, ValueError):  # a name that this kernel or library does not know
            rules.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
    new_user = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE["user"], _CLONE["user"])
    rules.add_rule(pyseccomp.ERRNO(errno.EPERM), "clone", new_user)
    refused = pyseccomp.ERRNO(errno.EPERM)
    shared = _MAP_SHARED | _MAP_ANONYMOUS  # memory that goes on when it is unmapped, and that no process is charged for
    rules.add_rule(refused, "mmap", pyseccomp.Arg(3, pyseccomp.MASKED_EQ, shared, shared))
    rules.add_rule(refused, "socket", pyseccomp.Arg(0, pyseccomp.GT, _LAST_FAMILY))
    for option in _BUFFERS:
        rules.add_rule(refused, "setsockopt", pyseccomp.Arg(1, pyseccomp.EQ, _SOL_SOCKET), pyseccomp.Arg(2, pyseccomp.EQ, option))
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags lie in memory; libraries go on with clone
    rules.load()


def memory_of(roots: list[int]) -> dict[int, int]:
    """Process number -> bytes of memory of its own, for these processes and all that came from them."""
    found = {}
    for pid in family(roots):
        with contextlib.suppress(OSError, ValueError):  # it ended meanwhile
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
            found[pid] = 1024 * sum(int(size) for size in re.findall(r"^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB", status, re.MULTILINE))
    return found


def family(roots: list[int]) -> list[int]:
    """The numbers of these processes and of all that came from them, those in rooms too."""
    found, waiting = {}, list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found[pid] = True
        with contextlib.suppress(OSError, ValueError):  # it ended meanwhile
            for task in os.listdir(f"/proc/{pid}/task"):
                waiting += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return list(found)


def end_descendants() -> None:
    """End all processes that came from this one: stopped first, so that none of them starts another meanwhile."""
    stopped: set[int] = set()
    while found := {*family([os.getpid()])} - stopped - {os.getpid()}:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= found
    for pid in stopped:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
