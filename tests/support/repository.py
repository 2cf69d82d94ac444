"""A copy of the project under git and DVC, as a user has it, with a sample that takes a minute."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from ruamel.yaml import YAML

from places import ROOT


def shrunk(content: dict[str, Any]) -> dict[str, Any]:
    """The sample with a tenth of its pictures, one epoch a step, and nothing bounded by time."""
    for dataset in content["datasets"].values():
        dataset["draw"] = {"pictures": 80, "subjects": 8}
        dataset["folds"] = min(dataset["folds"], 2)
        dataset["clean"]["max_reject_rate"] = 0.6
    for step in [*content["cascade"].values(), *content["pretrain"].values()]:
        step["epochs"] = 1
    del content["regressors"]["autosklearn"], content["regressors"]["automl"]
    content["compare"]["methods"] = []
    return content


class Repository:
    """A copy of the tracked files under git and DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in files.stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith("metrics/") and name != "dvc.lock":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        self.edit(shrunk)
        self.run("git", "init", "-q")
        self.commit("a small sample")

    def edit(self, change: Any) -> None:
        yaml = YAML()
        content = yaml.load(self.folder / "params.yaml")
        yaml.dump(change(content) or content, self.folder / "params.yaml")

    def start(self, file: IO[str], *command: str) -> subprocess.Popen[str]:
        """A command in a group of processes of its own, which writes into a file: no pipe, for a queue's workers that stay hold it open."""
        outer = {"PYTHONPATH", "DVC_ROOT", "MLFLOW_TRACKING_URI", "AGECASCADE_MIRROR", "DVC_EXP_NAME"}
        environment = {key: value for key, value in os.environ.items() if key not in outer}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def run(self, *command: str, check: bool = True) -> str:
        """The output of a command, stdout and stderr together."""
        with TemporaryFile("w+", encoding="utf-8") as file:
            status = self.start(file, *command).wait()
            file.seek(0)
            output = file.read()
        assert not check or status == 0, f"{' '.join(command)}:\n{output[-4000:]}"
        assert check or status != 0, f"{' '.join(command)} should have failed:\n{output[-4000:]}"
        return output

    def end_workers(self) -> None:
        """Those of DVC's queue: one of two that start at once may never hear that it shall end (dvc-task, issue 73)."""
        for file in (self.folder / ".dvc" / "tmp" / "exps" / "celery").glob("dvc-exp-worker-*.json"):
            info = json.loads(file.read_text())
            if info["returncode"] is None:
                with suppress(ProcessLookupError):
                    os.kill(info["pid"], signal.SIGTERM)

    def commit(self, message: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        self.run("git", "add", "-A")
        self.run("git", *identity, "commit", "-qm", message)

    def metrics(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics" / "mae.json").read_text())
