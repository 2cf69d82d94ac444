"""What a killed process had begun to write is removed by the next writer of the same output, and by no one while it lives."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import safetensors.torch
import torch

from agecascade.io import files
from agecascade.io.files import as_os_error, temporary_folder, write_json, write_table, written_beside
from agecascade.io.user_output import UserOutput
from devices import device

WRITER = """
import sys, time
from agecascade.io.files import temporary_folder, written_beside
with written_beside(sys.argv[1]) as temporary, temporary_folder(sys.argv[2]) as folder:
    if sys.argv[3] == "folder":
        temporary.mkdir()
        temporary = temporary / "part"
    temporary.write_text("half")
    (folder / "part").write_text("half")
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_swept", set())
    monkeypatch.setattr(files, "_SETTLED", -1.0)


def begin(path: Path, prefix: str = "agecascade-test-none-", kind: str = "file") -> subprocess.Popen[str]:
    """A process in the middle of writing."""
    command = [sys.executable, "-c", WRITER, str(path), prefix, kind]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_leftovers_of_a_killed_process_are_removed_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "manifest" / "fgnet.parquet"
    kill(begin(path))
    assert len(names(path.parent)) == 2  # the half-written file and its lock
    write_table(path, pa.table({"a": [1]}))
    assert names(path.parent) == ["fgnet.parquet"]


def test_leftovers_beside_a_persons_output_are_removed_as_well(tmp_path: Path) -> None:
    kill(begin(tmp_path / "ages.csv"))
    UserOutput(tmp_path / "ages.csv").write(iter([]))
    assert names(tmp_path) == ["ages.csv"]


@pytest.mark.parametrize("name", ["..", "folder/..", "."])
def test_a_path_that_is_a_parent_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    with pytest.raises(ValueError, match="no path of a file or folder of its own"), written_beside(name):
        pass
    assert names(tmp_path) == ["folder"]


def test_a_half_written_folder_is_removed_as_well(tmp_path: Path) -> None:
    kill(begin(tmp_path / "data", kind="folder"))
    with written_beside(tmp_path / "data") as folder:
        folder.mkdir()
    assert names(tmp_path) == ["data"]


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "mae.json"
    process = begin(path)
    begun = names(tmp_path)
    write_json(path, {})
    assert names(tmp_path) == sorted([*begun, "mae.json"])
    process.communicate("")
    assert process.returncode == 0
    assert names(tmp_path) == ["mae.json"]
    assert path.read_text() == "half"


def test_leftovers_without_a_lock_and_files_of_other_names(tmp_path: Path) -> None:
    for name in (".mae.0123abcd.json", ".mae.json", ".mae.0123abcd.csv", ".maes.0123abcd.json", "mae.0123abcd.json", ".mae.012345.json"):
        (tmp_path / name).write_text("x")
    write_json(tmp_path / "mae.json", {})
    assert ".mae.0123abcd.json" not in names(tmp_path)  # an earlier version's
    assert len(names(tmp_path)) == 6


def test_temporary_folders_of_killed_processes_go_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "agecascade-mine").mkdir()
    kill(begin(tmp_path / "out" / "x", "agecascade-"))
    living = begin(tmp_path / "out" / "y", "agecascade-")
    assert len(list(tmp_path.glob("agecascade-*"))) == 3
    with temporary_folder("agecascade-") as folder:
        assert len(list(tmp_path.glob("agecascade-*"))) == 3  # one removed, one made
    assert not folder.exists()
    living.communicate("")
    assert names(tmp_path) == ["agecascade-mine", "out"]


def test_a_disk_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(files.FileLock, "acquire", refuse)
    write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == ["a.json"]


def test_errors_of_the_system_that_libraries_hide(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), as_os_error(tmp_path / "absent" / "x"):
        safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "absent" / "x")
    with pytest.raises(OSError, match="No space left"), as_os_error(tmp_path), device(tmp_path, "full").open("wb") as file:
        torch.save({"a": torch.zeros(100_000)}, file)
    with pytest.raises(RuntimeError, match="other"), as_os_error(tmp_path):
        raise RuntimeError("other")


def test_an_error_of_the_system_names_the_output(tmp_path: Path) -> None:
    (tmp_path / "devices").mkdir()
    full = device(tmp_path / "devices", "full")

    def write() -> None:
        with written_beside(tmp_path / "x.parquet") as temporary:
            temporary.symlink_to(full)
            pyarrow.parquet.write_table(pa.table({"a": list(range(100_000))}), temporary)

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(tmp_path / "x.parquet")
    assert names(tmp_path) == ["devices"]


def test_a_link_to_a_folder_makes_room_for_a_folder_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "mine").write_text("x")
    (tmp_path / "raw").symlink_to("big")
    with written_beside(tmp_path / "raw") as folder:
        folder.mkdir()
    assert (tmp_path / "big" / "mine").read_text() == "x"
    assert not (tmp_path / "raw").is_symlink()


def test_files_have_the_usual_rights(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        write_json(tmp_path / "a.json", 1)
        assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644
    finally:
        os.umask(previous)


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "ä" * 125 + ".csv", "a" * 255, "a" * 246 + ".csv.gz"])
def test_every_name_that_a_file_can_have_can_be_written(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        UserOutput(tmp_path / name).write(iter([]))
        with written_beside(tmp_path / name) as temporary:
            temporary.write_text("a")
    assert names(tmp_path) == [name]


def test_leftovers_of_a_long_name_are_removed_as_well(tmp_path: Path) -> None:
    kill(begin(tmp_path / ("a" * 251 + ".csv")))
    assert len(names(tmp_path)) == 2
    UserOutput(tmp_path / ("a" * 251 + ".csv")).write(iter([]))
    assert len(names(tmp_path)) == 1
