"""agecascade.evaluation.subjects: by hand; who was held out together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from agecascade import params
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.subjects import by_subject, hardest_subjects, write_subjects
from agecascade.evaluation.summary import summarise
from agecascade.evaluation.tables import TableRow
from places import sample_params


def frame() -> pd.DataFrame:
    subjects = ["a"] * 3 + ["b"] * 3 + ["c"] * 2
    columns = {"sample_id": [f"p{i}" for i in range(8)], "subject": subjects, "label": [10.0, 20, 60, 5, 6, 7, 30, 40]}
    return pd.DataFrame(columns).assign(prediction=[11.0, 18, 30, 6, 7, 8, 80, 90], fold=0, label_sigma=np.nan)


def test_hardest_subjects_by_hand() -> None:
    """a errs by 1, -2, -30 and b by 1 each; c has two pictures and is left out, though its errors of 50 count in the sum of 136."""
    table = hardest_subjects(frame())
    assert table["subject"].tolist() == ["a", "b"]
    assert table[["n", "lowest label", "highest label", "MAE", "bias"]].to_numpy().tolist() == [[3, 10, 60, 11, -31 / 3], [3, 5, 7, 1, 1]]
    np.testing.assert_allclose(table["share"], [33 / 136, 3 / 136])
    np.testing.assert_allclose(by_subject(frame())["share"].sum(), 1)


def test_pictures_of_nobody_known_are_left_out() -> None:
    unknown = frame().assign(subject=[None] * 3 + ["b"] * 5)
    assert hardest_subjects(unknown)["subject"].tolist() == ["b"]
    assert hardest_subjects(unknown.assign(subject=None)).empty


def results(folder: Path, protocol: str, subjects: bool = True) -> Results:
    content = sample_params()
    content["datasets"]["sample_fgnet"] |= {"protocol": protocol}
    content["datasets"]["sample_fgnet"] |= {"test_subjects": ["a", "b", "c"]} if protocol == "held_out_subjects" else {}
    tested = frame()
    learned = pd.DataFrame({"sample_id": list("wxyz"), "label": [5.0, 10, 20, 50], "subject": "d"})
    manifest = pd.concat([tested, learned])[["sample_id", "label", "label_sigma", "subject"]]
    splits = pd.DataFrame({"sample_id": manifest["sample_id"], "fold": 0, "protocol": protocol, "role": ["test"] * 8 + ["train"] * 4})
    for name in content["datasets"]:
        for kind, table in (("splits", splits), ("manifest", manifest if subjects else manifest.assign(subject=None))):
            (folder / "data" / kind).mkdir(parents=True, exist_ok=True)
            table.to_parquet(folder / "data" / kind / f"{name}.parquet")
    line = TableRow("sample_fgnet", "dldl_v2", "tinyagenet", ["target"], 0, summarise(tested, [5], 0.95, 0))
    row = EvaluatedRow("target", "dldl_v2-tinyagenet-s0", line, tested.drop(columns="subject"), {0: "digest"})
    return Results(params.check(content), [row], folder / "data", folder, folder / "metrics", folder / "plots")


def test_subjects_that_were_held_out_together(tmp_path: Path) -> None:
    write_subjects(results(tmp_path, "held_out_subjects"))
    table = pd.read_csv(tmp_path / "metrics/tables/held_out_together.csv")
    assert table["subject"].tolist() == ["a", "b", "c", "together"]
    assert table[["n", "MAE"]].iloc[-1].tolist() == [8, 17]
    text = (tmp_path / "metrics/tables/held_out_together.md").read_text()
    assert "Labels above 30: 25% of 4 training pictures, 25% of 8 test pictures." in text
    assert (tmp_path / "plots/held_out_together.png").stat().st_size > 3000


def test_other_protocols_have_no_such_table(tmp_path: Path) -> None:
    write_subjects(results(tmp_path, "subject_kfold"))
    assert {path.name for path in (tmp_path / "metrics/tables").iterdir()} == {"hardest_subjects.csv", "hardest_subjects.md"}


def test_a_data_set_without_subjects_has_neither(tmp_path: Path) -> None:
    write_subjects(results(tmp_path, "subject_kfold", subjects=False))
    assert not (tmp_path / "metrics").exists()
