"""Two-stage methods on the real FG-NET: what is published of them must hold here too. Skipped without the mirror."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agecascade import params, regressors
from agecascade.archives import open_archives
from agecascade.datasets import reader
from agecascade.datasets.cleaning import clean
from agecascade.faces.align import align
from agecascade.features import Features, load_features, write_features
from agecascade.features.bif import HEIGHT, SIZE, bif_features
from agecascade.io.yaml_text import load_yaml
from agecascade.loading import load_faces
from agecascade.splits import split
from places import ROOT

ARCHIVE = "FGNET.zip"
COMPUTE = params.Compute(workers=2)


@pytest.fixture(scope="module")
def fgnet(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Features, pd.DataFrame]:
    """BIF of all pictures, L2-normalised, and five folds by subject, as the study fgnet has them."""
    work = tmp_path_factory.mktemp("fgnet")
    (work / "raw").mkdir()
    (work / "raw" / ARCHIVE).symlink_to((mirror / ARCHIVE).resolve())
    study = load_yaml((ROOT / "studies" / "fgnet.yaml").read_text())
    settings = params.Dataset.model_validate(dict(study["datasets"]["fgnet"]))
    manifest = work / "manifest.parquet"
    with open_archives(work / "raw") as archive:
        outputs = {"manifest": manifest, "rejects": work / "rejects.parquet", "compute": COMPUTE, "work": work / "work"}
        clean(archive, reader("fgnet"), settings.clean, settings.options, name="fgnet", **outputs)
        align(archive, manifest, params.Align(size=64, encoding="png"), settings.detector, work / "aligned", COMPUTE, work / "work")
    faces = load_faces(work / "aligned", HEIGHT)
    write_features(work / "bif.parquet", faces, bif_features(faces.images, "l2"), 1.0)
    columns = {"sample_id": faces.sample_id, "subject": faces.subject, "label": faces.label, "official": None}
    folds = split(pd.DataFrame(columns), settings.protocol, settings.folds, settings.test, settings.validation, 0).to_pandas()
    return load_features(work / "bif.parquet"), folds


@pytest.mark.slow
def test_ranking_and_label_distributions_are_close_and_better_than_svr(fgnet: tuple[Features, pd.DataFrame]) -> None:
    """DLDL-v2, section 4.5.3: "OHRank and BFGS-LDL have similar performances", and both "are much better than SVR"."""
    features, folds = fgnet
    assert features.feature.shape == (1002, SIZE)
    mae = {}
    for name in ("svr", "ohrank", "bfgs_ldl"):
        predictions, choices, _ = regressors.fit_folds(
            features, folds, regressors.create_regressor(name, {}, 0, defaults={"step": 1.0}), COMPUTE
        )
        frame = predictions.to_pandas()
        mae[name] = float((frame["prediction"] - frame["label"]).abs().mean())
        print(name, mae[name], choices.to_string())
    always_the_median = np.abs(features.label - np.median(features.label)).mean()
    assert max(mae.values()) < 0.75 * always_the_median
    assert mae["ohrank"] < mae["svr"]
    assert mae["bfgs_ldl"] < mae["svr"]
    assert abs(mae["ohrank"] - mae["bfgs_ldl"]) < 0.1 * mae["ohrank"]
