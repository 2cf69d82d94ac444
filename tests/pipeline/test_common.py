from __future__ import annotations

import errno

import pytest

import common
from agecascade.errors import ArchiveError


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch):
    monkeypatch.setattr("sys.argv", ["stage.py"])


def failing(error: BaseException):
    def main():
        raise error

    return main


def test_what_a_user_can_act_on_is_one_line():
    with pytest.raises(SystemExit) as caught:
        common.run(failing(ArchiveError("AgeDB.zip is missing")))
    assert caught.value.code == "error: AgeDB.zip is missing"


def test_a_full_disk_is_one_line_that_says_what_to_do():
    with pytest.raises(SystemExit) as caught:
        common.run(failing(OSError(errno.ENOSPC, "No space left on device", "data/x")))
    assert caught.value.code.startswith("error: no space left on the disk (data/x); make room and run the stage again")


def test_an_interruption_is_one_line_and_the_status_of_the_shell(capsys):
    with pytest.raises(SystemExit) as caught:
        common.run(failing(KeyboardInterrupt()))
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted; run it again, it continues with what is finished\n"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_place_that_takes_nothing_is_one_line_that_names_it(number):
    with pytest.raises(SystemExit) as caught:
        common.run(failing(OSError(number, "why", "models/target")))
    assert "models/target" in caught.value.code
    assert caught.value.code.startswith("error: ")
    assert "run the stage again" in caught.value.code
    assert "\n" not in caught.value.code


def test_a_full_disk_as_numpy_says_it_is_one_line():
    with pytest.raises(SystemExit) as caught:
        common.run(failing(OSError("1000000 requested and 38384 written")))
    assert caught.value.code.startswith("error: no space left on the disk")


def test_other_errors_keep_their_traceback():
    with pytest.raises(OSError, match="bad"):
        common.run(failing(OSError(errno.EBADF, "bad")))
