"""The comparison with plain nbgrader: first that its room holds, and only then attacks in it."""

import json
import subprocess
import sys

import pytest

from autograder.tests.attacks.corpus import choose
from autograder.tests.attacks.course import FULL
from autograder.tests.attacks.plain import classify, room, run_plain
from autograder.tests.walls import needs_walls

PROBE = """
import json, os, socket, sys, time
from autograder.tests.attacks.plain import confine

confine()
seen = {"user": os.getuid(), "processes": len([name for name in os.listdir("/proc") if name.isdigit()]), "forks": 0, "writes": []}
children = []
try:
    for _ in range(500):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        children.append(child)
except OSError:
    pass
seen["forks"] = len(children)
try:
    bytearray(6 << 30)
    seen["memory"] = True
except MemoryError:
    seen["memory"] = False
for folder in ("/", "/usr", "/etc", "/dev", "/root", "/home", "/var", "/run", sys.prefix, os.getcwd(), *sys.argv[1:]):
    try:
        with open(os.path.join(folder, "probe"), "w") as file:
            seen["writes"].append(folder)
    except OSError:
        pass
try:
    with open("/dev/shm/probe", "wb") as file:
        for _ in range(2000):
            file.write(bytes(1 << 20))
    seen["disk"] = True
except OSError:
    seen["disk"] = False
seen["interfaces"] = [name for _, name in socket.if_nameindex() if name != "lo"]
seen["capabilities"] = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff"))
print(json.dumps(seen))
"""


@pytest.mark.slow
@needs_walls
def test_the_room_holds(tmp_path):
    program = room([sys.executable, "-c", PROBE, str(tmp_path)], [tmp_path])
    done = subprocess.run(program, capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert 0 < seen["forks"] < 100
    assert seen["user"] != 0
    assert seen["capabilities"].strip("0") == ""
    assert seen["processes"] < 6
    assert not seen["memory"]
    assert not seen["disk"]
    assert seen["interfaces"] == []
    assert set(seen["writes"]) <= {"/tmp"}
    assert not (tmp_path / "probe").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_walls
def test_plain_nbgrader_is_compared():
    chosen = [choose(name)[0] for name in ("helper_cells", "asserts_stripped", "copied_answer")]
    outcomes = {one.attack.name: one for one in run_plain(chosen)}
    assert outcomes["helper_cells"].status == "graded"
    assert outcomes["asserts_stripped"].status == "earned too much"
    assert outcomes["copied_answer"].status == "batch aborted"


RIGHT = {"before": FULL, "after": FULL, "attacker": FULL, "shown": "", "said": "words"}


@pytest.mark.parametrize(
    ("name", "seen", "status"),
    [
        ("prints", {}, "graded"),
        ("prints", {"attacker": None}, "ungraded"),
        ("prints", {"attacker": FULL | {"double": 2.0}}, "earned too little"),
        ("edited_check", {}, "earned too much"),
        ("edited_check", {"attacker": FULL | {"double": 0.0}}, "graded"),
        ("nothing_at_all", {}, "earned too much"),
        ("nothing_at_all", {"attacker": None}, "ungraded"),
        ("environment", {"shown": "open-sesame-environment-0123456789abcdef"}, "secret found"),
        ("environment", {"shown": "wall fell: /etc"}, "secret found"),
        ("prints", {"before": FULL | {"double": 0.0}}, "bystander harmed"),
        ("prints", {"after": None}, "batch aborted"),
    ],
)
def test_what_plain_nbgrader_made_of_it_is_named(name, seen, status):
    assert classify(choose(name)[0], RIGHT | seen)[0] == status


def test_a_room_gives_up_all_rights_but_to_become_another_user():
    command = room(["true"])
    assert command[command.index("--cap-drop") + 1] == "ALL"
    assert "--bind" not in command
