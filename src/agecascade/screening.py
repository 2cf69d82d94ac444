"""Label-noise screening: the pictures whose labels cross-validated predictions from pooled features disagree with most.

A ridge regression per fold predicts the pictures of subjects that it has not seen. How far a label lies from its prediction
is judged against the errors that are usual at that prediction, for an error of ten years means more in a child's picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from agecascade import metrics
from agecascade.errors import ParamsError, RegressorError
from agecascade.features.table import Features, load_features
from agecascade.params import Params

SCREENED = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("label", pa.float64(), nullable=False),
        pa.field("predicted", pa.float64(), nullable=False),  # by a regression trained without this subject
        pa.field("quality", pa.float64(), nullable=False),  # of the label, 0 to 1: cleanlab's
    ]
)

PENALTIES = np.logspace(-4, 1, 11)  # of the ridge regression, per picture
BLOCK = 65_536  # rows whose features are held in double precision at once
WINDOW, LEAST_WINDOW = 0.1, 51  # neighbours that give the usual error: a share of the pictures, and the least number
FLOOR = 0.25  # the usual error at a prediction is at least this share of the usual error of all

Matrix = NDArray[np.float32] | NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Screening:
    """Every picture (SCREENED, in the features' order), the most doubtful ones with reasons, and figures of the screening."""

    table: pa.Table
    doubtful: pd.DataFrame  # sample_id, label, predicted, quality, reason, the worst first: as `clean.exclude` reads it
    figures: dict[str, float | int]


def screen_dataset(study: Params, name: str, features: Path, manifest: Path) -> Screening:
    """Screen the labels of the data set of `screen.<name>.features`; features, manifest: the folders of all of them.

    Raises ParamsError naming the key at fault, and RegressorError where features and manifest do not fit together.
    """
    settings = study.screen[name]
    table = load_features(features / f"{settings.features}.parquet")
    rows = pd.read_parquet(manifest / f"{study.features[settings.features].dataset}.parquet", columns=["sample_id", "subject"])
    try:
        return screen(table, rows.set_index("sample_id")["subject"], settings.folds, settings.share)
    except ParamsError as error:
        raise ParamsError(f"screen.{name}.{error}") from None


def trained_on_own_labels(study: Params, name: str) -> bool:
    """Whether the network of the features of `screen.<name>` was trained on the data set that they screen."""
    features = study.features[study.screen[name].features]
    trainings = {**study.pretrain, **study.cascade}  # published weights are not among them
    return any(trainings[step].dataset == features.dataset for step in study.chain(features.step) if step in trainings)


def screen(features: Features, subjects: pd.Series, folds: int, share: float) -> Screening:
    """Rate the quality of every label, and list the given share of the most doubtful.

    subjects: subject, or null, by sample_id. Raises ParamsError, beginning with the key at fault, where there is nothing to
    predict or there are fewer subjects than folds, and RegressorError where features and manifest do not fit together.
    """
    _check(features)
    groups = _groups(features.sample_id, subjects)
    if len(set(groups)) < folds:
        raise ParamsError(f"folds: {folds} asked for, but the {len(groups)} pictures show {len(set(groups))} subjects")
    predicted, penalty = out_of_fold(features.feature, features.label, groups, folds)
    doubt = doubtfulness(features.label, predicted)
    columns = {"sample_id": features.sample_id, "label": features.label, "predicted": predicted, "quality": label_quality(doubt)}
    table = pd.DataFrame(columns)
    worst = np.argsort(-doubt, kind="stable")[: min(max(1, round(share * len(doubt))), len(doubt) - 1)]
    figures = _figures(features.label, predicted, worst)
    return Screening(
        pa.Table.from_pandas(table, schema=SCREENED, preserve_index=False),
        table.iloc[worst].assign(reason=[_reason(row.label, row.predicted) for row in table.iloc[worst].itertuples()]),
        {"pictures": len(doubt), "subjects": len(set(groups)), "folds": folds, "penalty": round(penalty, 6), **figures},
    )


def out_of_fold(feature: Matrix, label: Vector, groups: NDArray[np.object_], folds: int) -> tuple[Vector, float]:
    """Predictions (N,) of a ridge regression on standardised features, each by a fit without its group; and the penalty.

    feature: (N, D). The penalty per picture is the one of PENALTIES with the smallest mean absolute error. The features are
    read twice: a fit needs only the D x D moments of each fold.
    """
    from sklearn.model_selection import GroupKFold

    parts = [test for _, test in GroupKFold(folds).split(feature, label, groups)]
    moments = [_moments(feature, label, part) for part in parts]
    total = sum(moments)
    predicted = np.empty((len(label), len(PENALTIES)))
    for part, own in zip(parts, moments, strict=True):
        weights, intercept = _ridge(total - own)
        for block in _blocks(part):
            predicted[block] = feature[block].astype(np.float64) @ weights + intercept
    errors = np.abs(predicted - label[:, None]).mean(axis=0)  # (P,)
    best = int(errors.argmin())
    return predicted[:, best], float(PENALTIES[best])


def _moments(feature: Matrix, label: Vector, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Second moments (D + 2, D + 2) of features, label and one: sums over the rows."""
    size = feature.shape[1] + 2
    moments = np.zeros((size, size))
    for block in _blocks(rows):
        extended = np.column_stack([feature[block], label[block], np.ones(len(block))]).astype(np.float64)  # (n, D + 2)
        moments += extended.T @ extended
    return moments


def _ridge(moments: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (D, P) and intercepts (P,) for all penalties, from the moments of the training rows."""
    count = moments[-1, -1]
    mean = moments[-1, :-1] / count  # (D + 1,)
    covariance = moments[:-1, :-1] / count - np.outer(mean, mean)
    scale = np.sqrt(np.clip(np.diag(covariance)[:-1], 0, None))  # (D,)
    scale[scale <= 1e-6 * (scale.max() + np.abs(mean[:-1]))] = np.inf  # a constant feature carries no information
    correlation = covariance[:-1, :-1] / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(correlation)
    projected = vectors.T @ (covariance[:-1, -1] / scale)  # (D,)
    shrunk = projected[:, None] / (np.clip(values, 0, None)[:, None] + PENALTIES)  # (D, P)
    weights = (vectors @ shrunk) / scale[:, None]
    return weights, mean[-1] - mean[:-1] @ weights


def _blocks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]


def doubtfulness(label: Vector, predicted: Vector) -> Vector:
    """The error of each label divided by the usual error at its prediction, (N,): the median error of its neighbours."""
    error = np.abs(label - predicted)
    order = np.argsort(predicted, kind="stable")
    window = max(LEAST_WINDOW, round(WINDOW * len(error)))
    usual = np.empty(len(error))
    usual[order] = pd.Series(error[order]).rolling(window, center=True, min_periods=1).median()
    # the second floor is for data whose labels are all predicted exactly
    return error / np.maximum(usual, max(FLOOR * float(np.median(error)), 1e-9 * float(np.ptp(label))))


def label_quality(doubt: Vector) -> Vector:
    """cleanlab's quality of labels, 0 to 1, from errors in units of the usual one: 0.37 for an error of one unit."""
    from cleanlab.regression.rank import get_label_quality_scores

    quality: Vector = get_label_quality_scores(doubt, np.zeros(len(doubt)), method="residual")
    return quality


def _check(features: Features) -> None:
    label, feature = features.label, features.feature
    missing = int(np.isnan(label).sum())
    if missing:
        raise ParamsError(f"features: {missing} of {len(label)} pictures have no label; only data sets with labels can be screened")
    if np.ptp(label) == 0:
        raise ParamsError(f"features: all {len(label)} labels are {label[0]:g}; there is nothing to predict")
    broken = np.flatnonzero(~np.isfinite(feature).all(axis=1))
    if len(broken):
        raise RegressorError(f"the feature of {features.sample_id[broken[0]]!r} is not finite; train the network of this step again")


def _groups(sample_id: NDArray[np.object_], subjects: pd.Series) -> NDArray[np.object_]:
    """The groups that folds keep together: the subject, or the picture itself where its subject is unknown."""
    missing = sample_id[subjects.index.get_indexer(sample_id) < 0]
    if len(missing):
        raise RegressorError(
            f"{len(missing)} features are of pictures that the manifest lacks, such as {missing[0]!r}; run the features stage again"
        )
    of_picture = subjects.reindex(sample_id)
    # prefixes, for a subject may have the same name as a picture
    groups: NDArray[np.object_] = np.where(
        of_picture.isna(), "picture " + sample_id, "subject " + of_picture.fillna("").astype(str).to_numpy(object)
    )
    return groups


def _figures(label: Vector, predicted: Vector, worst: NDArray[np.int64]) -> dict[str, float | int]:
    """Errors of all predictions, of the listed labels and of the rest, in the label's unit."""
    rest = np.setdiff1d(np.arange(len(label)), worst)
    return {
        "mae": round(metrics.mae(predicted, label), 6),
        "r2": round(metrics.r2(predicted, label), 6),
        "listed": len(worst),
        "mae_listed": round(metrics.mae(predicted[worst], label[worst]), 6),
        "mae_rest": round(metrics.mae(predicted[rest], label[rest]), 6),
    }


def _reason(label: float, predicted: float) -> str:
    return f"label {label:.4g}, but {predicted:.4g} predicted without it"
