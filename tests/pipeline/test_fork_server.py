"""Stages of one `dvc` are forked from a process that has the libraries loaded, and are as if they had started by themselves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from places import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="there are no fork servers without pidfd_open")

# what runs stages in place of `dvc`: command after command, each with the name of its stage
DVC = """
import os, subprocess, sys
for command in sys.argv[1:]:
    stage = subprocess.run(["sh", "-c", "sh pipeline/run " + command], env={**os.environ, "DVC_STAGE": command})
    print(command, "ended with", stage.returncode, flush=True)
"""
# a stage that tells what it is given and which libraries it found loaded
STAGE = """
import json, os, random, sys
loaded = "numpy" in sys.modules
import numpy
print(json.dumps({"argv": sys.argv, "name": __name__, "stage": os.environ["DVC_STAGE"], "folder": os.getcwd(), "loaded": loaded,
                  "first": sys.path[0], "numbers": [random.random(), numpy.random.random()]}))
"""
WAIT = "import time\nprint('begun', flush=True)\ntime.sleep(60)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository of stages `says`, `clean` and others, whose server loads NumPy alone and soon."""
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    (pipeline / "run").write_text((ROOT / "pipeline" / "run").read_text())
    program = (ROOT / "pipeline" / "fork_server.py").read_text()
    program, changes = re.subn(r"LIBRARIES = \([^)]*\)", 'LIBRARIES = ("numpy", "no_such_library")', program)
    program = program.replace('"torch", "torch._dynamo"', "")
    assert changes == 1
    (pipeline / "fork_server.py").write_text(program)
    (pipeline / "waits.py").write_text(WAIT)
    (pipeline / "fails.py").write_text("import sys\nsys.exit('error: this one')\n")
    (pipeline / "dies.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    (pipeline / "pause.py").write_text(  # until the server is there
        "import pathlib, time\nwhile not list(pathlib.Path('.agecascade').glob('*.socket')): time.sleep(0.02)\ntime.sleep(1)\n"
    )
    for name in ("says", "clean"):
        (pipeline / f"{name}.py").write_text(STAGE)
    return tmp_path


def dvc(folder: Path, *commands: str, **environment: str) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen([sys.executable, "-c", DVC, *commands], cwd=folder, env={**os.environ, "PATH": path, **environment}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip


def told(folder: Path, *commands: str, **environment: str) -> tuple[list[dict], str]:
    """What the stages say of themselves, and all that is printed."""
    output, errors = dvc(folder, *commands, **environment).communicate(timeout=60)
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")], output + errors


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def sockets(folder: Path) -> list[Path]:
    return list((folder / ".agecascade").glob("*.socket"))


def test_the_second_stage_finds_the_libraries_loaded_and_is_told_what_the_first_is(folder: Path) -> None:
    (first, second, third), _ = told(folder, "says one 'two words'", "says one 'two words'", "clean x")
    assert (first["loaded"], second["loaded"], third["loaded"]) == (False, True, True)
    for key in ("argv", "name", "folder", "first", "stage"):
        assert first[key] == second[key]
    assert second["argv"] == ["pipeline/says.py", "one", "two words"]
    assert third["stage"] == "clean x"
    assert first["first"] == str(folder / "pipeline")


def test_unseeded_random_numbers_are_not_those_of_another_stage(folder: Path) -> None:
    (_, second, third), _ = told(folder, "says", "says", "says")
    assert not set(second["numbers"]) & set(third["numbers"])


def test_the_server_ends_with_its_dvc(folder: Path) -> None:
    told(folder, "pause", "says")
    until(lambda: not sockets(folder) and not of(folder))


def of(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def test_no_server_is_started_for_a_light_stage_nor_where_none_is_wanted(folder: Path) -> None:
    (first, second), _ = told(folder, "clean x", "clean y")
    assert (first["loaded"], second["loaded"], sockets(folder)) == (False, False, [])
    (first, second), _ = told(folder, "says", "says", AGECASCADE_FORK="0")
    assert (first["loaded"], second["loaded"], sockets(folder)) == (False, False, [])


def test_a_status_a_message_and_a_death_are_passed_on(folder: Path) -> None:
    stages, printed = told(folder, "pause", "fails", "dies", "says")
    assert "fails ended with 1" in printed
    assert "error: this one" in printed
    assert re.search(r"dies ended with (-9|137)", printed)
    assert stages[0]["loaded"]


def test_a_stage_ends_as_python_does(folder: Path) -> None:
    """Its threads and its exit functions are waited for, its trace is printed, and what it has printed last is not lost."""
    (folder / "pipeline" / "ends.py").write_text(
        "import atexit, sys, threading, time\natexit.register(lambda: print('at the exit', end=''))\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('a thread'))).start()\n"
        "{'raises': lambda: 1 / 0, 'status': lambda: sys.exit(3), 'none': sys.exit}[sys.argv[1]]()\n"
    )
    _, printed = told(folder, "pause", "ends raises", "ends status", "ends none")
    assert re.findall(r"ends (\w+) ended with (\d+)", printed) == [("raises", "1"), ("status", "3"), ("none", "0")]
    assert printed.count("a thread\nat the exit") == 3
    assert "ZeroDivisionError" in printed


def test_where_the_server_was_killed_stages_start_by_themselves(folder: Path) -> None:
    (folder / "pipeline" / "kills.py").write_text("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n")
    (first, second), _ = told(folder, "pause", "kills", "says", "pause", "says")
    assert (first["loaded"], second["loaded"]) == (False, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_ends_the_caller_ends_the_stage(number: signal.Signals, folder: Path) -> None:
    running = dvc(folder, "pause", "waits")
    assert running.stdout
    lines = iter(running.stdout.readline, "")
    assert next(line for line in lines if line == "begun\n")
    (caller,) = (process for process in of(folder) if "fork_server.py\0waits" in Path(f"/proc/{process}/cmdline").read_text())
    os.kill(caller, number)
    assert re.search(r"waits ended with (-|128\+)?\d+", next(lines))
    running.wait()
    until(lambda: not of(folder))
    running.stdout.close()


def test_ctrl_c_reaches_the_stage(folder: Path) -> None:
    running = dvc(folder, "pause", "waits")
    assert running.stdout
    assert next(line for line in iter(running.stdout.readline, "") if line == "begun\n")
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=20)
    assert errors.count("KeyboardInterrupt") >= 1
    until(lambda: not of(folder))
