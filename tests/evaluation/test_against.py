"""`agecascade tables --against`: in a small repository under git and DVC, whose stage draws predictions from params.yaml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from agecascade.errors import AgecascadeError, ModelError
from agecascade.evaluation.against import Version, against, differing_params, signed, stale_params
from agecascade.evaluation.significance import NotComparable
from agecascade.params import check
from places import sample_params

STAGE = """
import sys
from pathlib import Path
import numpy as np
import pandas as pd
from ruamel.yaml import YAML

params, step = YAML(typ="safe").load(Path("params.yaml")), sys.argv[1]
index = np.arange(200)
frame = pd.DataFrame({"sample_id": [f"p{i}" for i in index], "fold": (index // 4) % params["datasets"]["sample_fgnet"]["folds"]})
frame = frame.assign(label=30.0, label_sigma=np.nan)
noise = np.random.default_rng(int(1000 * params["lambda"]) + len(step)).normal(0, 0.5, 200)
frame["prediction"] = 30 + 3 + np.random.default_rng(0).gamma(2, 2, 200) - params["lambda"] + noise
folder = Path("data/predictions", step)
folder.mkdir(parents=True, exist_ok=True)
frame.to_parquet(folder / "dldl_v2-tinyagenet-s0.parquet")
"""
PIPELINE = {
    "stages": {
        "finetune": {
            "foreach": "${cascade}",
            "do": {
                "cmd": f"{sys.executable} stage.py ${{key}}",
                "deps": ["stage.py"],
                "params": ["lambda", "cascade.${key}"],
                "outs": ["data/predictions/${key}"],
            },
        }
    }
}


class Small:
    """The repository: its folder, and what a user does in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str) -> None:
        outer = {"DVC_ROOT", "DVC_EXP_NAME"}
        environment = {key: value for key, value in os.environ.items() if key not in outer} | {"DVC_NO_ANALYTICS": "1"}
        for part in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{part}_NAME": "test", f"GIT_{part}_EMAIL": "test@example.org"}
        result = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    def dvc(self, *command: str) -> None:
        self.run(sys.executable, "-m", "dvc", *command)

    def edit(self, **changes: Any) -> None:
        content = YAML(typ="safe", pure=True).load(self.folder / "params.yaml")
        for key, value in changes.items():
            *parents, last = key.split("__")
            block = content
            for parent in parents:
                block = block[parent]
            block[last] = value
        YAML(typ="safe", pure=True).dump(content, self.folder / "params.yaml")

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)


in_repository = pytest.mark.slow  # DVC takes seconds for each command


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Branch main: lambda 0.1. Experiment `third`: lambda 0.3. In the workspace: lambda 1."""
    small = Small(tmp_path_factory.mktemp("repository"))
    content = sample_params() | {"lambda": 0.1, "features": {}, "explain": {}, "regressors": {}}
    content["cascade"] = {"target": content["cascade"]["target"] | {"init": "scratch"}}
    content["cascade"]["again"] = dict(content["cascade"]["target"])
    YAML(typ="safe", pure=True).dump(content, small.folder / "params.yaml")
    YAML().dump(PIPELINE, small.folder / "dvc.yaml")
    (small.folder / "stage.py").write_text(STAGE)
    manifest = small.folder / "data" / "manifest" / "sample_fgnet.parquet"
    manifest.parent.mkdir(parents=True)
    pd.DataFrame({"sample_id": [f"p{i}" for i in range(200)], "subject": [f"s{i // 4}" for i in range(200)]}).to_parquet(manifest)
    (small.folder / ".gitignore").write_text("data/\n")
    small.run("git", "init", "-qb", "main")
    small.dvc("init", "-q")
    small.dvc("repro", "-q")
    small.commit("lambda 0.1")
    small.dvc("exp", "run", "-q", "-n", "third", "-S", "lambda=0.3")
    small.edit(**{"lambda": 1.0})
    small.dvc("repro", "-q")
    return small


@pytest.fixture
def copy(repository: Small, tmp_path: Path) -> Small:
    """One of its own, for a test that changes it."""
    shutil.copytree(repository.folder, tmp_path / "copy", symlinks=True)
    return Small(tmp_path / "copy")


@in_repository
def test_the_first_line_is_the_answer(repository: Small) -> None:
    """lambda is subtracted from every error, so that the difference is about -0.9."""
    text = against(repository.folder, "main")
    first = text.splitlines()[0]
    assert first.startswith("lambda 0.1 -> 1 : MAE -0.9")
    assert first.endswith("): better")
    here = pd.read_parquet(repository.folder / "data/predictions/target/dldl_v2-tinyagenet-s0.parquet").set_index("sample_id")
    assert f"{(here['prediction'] - 30).abs().groupby(here['fold']).mean().mean():.2f} here" in text
    interval = first.partition("(")[2].partition(")")[0]
    low, high = (float(end) for end in interval.split(" to "))
    assert low < -0.9 < high
    difference = float(first.partition("MAE ")[2].split()[0])
    assert (low + high) / 2 == pytest.approx(difference, abs=0.011)  # a t interval over the five folds
    assert "| target" not in text  # the main row is no line of the table
    assert "| again, dldl_v2, tinyagenet |" in text
    assert text.endswith("Params, main -> here:\n  lambda 0.1 -> 1\n")


@in_repository
def test_an_experiment_is_a_revision_too(repository: Small) -> None:
    assert against(repository.folder, "third").startswith("lambda 0.3 -> 1 : MAE -0.")


@in_repository
def test_what_is_the_same_is_not_distinguishable(copy: Small) -> None:
    copy.run("git", "checkout", "-q", "--", "params.yaml", "dvc.lock")
    copy.dvc("checkout", "-q", "--force")
    text = against(copy.folder, "main")
    assert text.splitlines()[0] == "no param differs : MAE 0.00 years (0.00 to 0.00): not distinguishable"
    assert text.endswith("No param differs from main.\n")


@in_repository
def test_other_folds_are_not_comparable(copy: Small) -> None:
    copy.edit(datasets__sample_fgnet__folds=4)
    with pytest.raises(NotComparable, match=r"^not comparable: datasets.sample_fgnet.folds is 4 here and 5 in main$"):
        against(copy.folder, "main")


@in_repository
def test_other_test_pictures_are_not_comparable(copy: Small) -> None:
    path = copy.folder / "data/predictions/target/dldl_v2-tinyagenet-s0.parquet"
    frame = pd.read_parquet(path)
    path.unlink()
    frame.iloc[:150].to_parquet(path)
    with pytest.raises(NotComparable, match="not comparable: of 150 test pictures here and 200 there, 150 are the same"):
        against(copy.folder, "main")


@in_repository
def test_params_that_were_changed_and_not_run_are_named(copy: Small) -> None:
    """Else the line would name a lambda that the predictions here were not made with."""
    copy.edit(**{"lambda": 2.0})
    with pytest.raises(NotComparable, match=r"here: params.yaml was changed since finetune@target ran \(lambda\); run `dvc repro`"):
        against(copy.folder, "main")


@in_repository
def test_predictions_that_the_cache_lacks_say_how_to_get_them(copy: Small) -> None:
    shutil.rmtree(copy.folder / ".dvc" / "cache")
    expected = (
        r"main: data/predictions/target/.*\.parquet is missing; it is neither in DVC's cache .*`git switch --detach main`.*`dvc repro`"
    )
    with pytest.raises(ModelError, match=expected):
        against(copy.folder, "main")


@in_repository
def test_missing_predictions_here_name_dvc_repro(copy: Small) -> None:
    shutil.rmtree(copy.folder / "data" / "predictions")
    with pytest.raises(ModelError, match=r"^here: data/predictions/target/.* is missing; run `dvc repro`$"):
        against(copy.folder, "main")


@in_repository
def test_a_name_that_nothing_has_is_one_line(repository: Small) -> None:
    with pytest.raises(AgecascadeError, match=r"^nobody: unknown Git revision 'nobody'; `git log --oneline --all` and `dvc exp show`"):
        against(repository.folder, "nobody")


def test_a_folder_outside_dvc_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AgecascadeError):
        against(tmp_path, "main")


@pytest.mark.parametrize("revision", ["", " "])
def test_an_empty_name_is_one_line(tmp_path: Path, revision: str) -> None:
    with pytest.raises(AgecascadeError, match=r"^--against: an empty name is given; name a branch"):
        against(tmp_path, revision)


def test_the_main_row_is_that_of_the_headline() -> None:
    """Not the last step on the target, which the sample trains from scratch."""
    content = sample_params()
    version = Version("here", content, check(content), lambda path: b"", "")
    assert list(content["cascade"])[-1] == "target_from_scratch"
    assert version.main_key() == ("target", "dldl_v2", "tinyagenet")


def test_params_are_compared_by_their_values() -> None:
    old = {"lambda": 1, "compute": {"workers": 2}, "evaluate": {"levels": [3.0]}, "a": {"b": None, "c": 0.0001}}
    new = {"lambda": 1.0, "compute": {"workers": 4}, "a": {"b": True, "c": 0.001, "d": "x"}}
    assert differing_params(old, new) == {"a.b": ("None", "True"), "a.c": ("0.0001", "0.001"), "a.d": ("-", "x")}


def test_stale_params_are_those_of_the_stage() -> None:
    lock = {"stages": {"finetune@a": {"params": {"params.yaml": {"lambda": 1.0, "cascade.a": {"epochs": 2}}}}}}
    assert stale_params(lock, {"lambda": 1.0, "cascade": {"a": {"epochs": 3}}}, "finetune@a") == ["cascade.a"]
    assert stale_params(lock, {"lambda": 2.0}, "finetune@b") == []


def test_a_difference_has_a_sign_unless_it_is_zero() -> None:
    assert [signed(value) for value in (-0.004, 0.5, -0.5)] == ["0.00", "+0.50", "-0.50"]
