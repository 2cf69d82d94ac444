"""Plots of labels: of data sets, side by side, by group and by gender; and of a label as distribution and as ranking targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from agecascade.plots.style import COLOURS, colours, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

YEARS = "years"
MOST_COLUMNS = 4
LINES = ["-", "--", ":"]  # one for each round of the colours
# Adience's groups, both ends included; ages outside all of them count as BETWEEN
AGE_GROUPS = {
    "0-2": (0, 2),
    "4-6": (4, 6),
    "8-12": (8, 12),
    "15-20": (15, 20),
    "25-32": (25, 32),
    "38-43": (38, 43),
    "48-53": (48, 53),
    "60+": (60, inf),
}
BETWEEN = "between"
UNKNOWN = "unknown"
GENDERS = {"female": COLOURS[3], "male": COLOURS[5], UNKNOWN: "#BDBDBD"}


@dataclass(frozen=True)
class Labels:
    """The labels of a data set: their kind ("age") and unit ("years"), and how often each occurs.

    counts: columns label, label_low, label_high, group, gender, pictures; a line for each combination, all with a label.
    """

    kind: str
    unit: str
    counts: pd.DataFrame

    @property
    def axis(self) -> str:
        """The name of the label's axis."""
        return f"{self.kind} ({self.unit})"

    @property
    def grouped(self) -> bool:
        """The labels are groups, not values."""
        return bool(self.counts["group"].notna().all())


def label_panels(path: Path | str, datasets: Mapping[str, Labels]) -> None:
    """The distribution of the labels of each data set, a panel each, on one scale where the unit is one (DLDL-v2, Fig. 1)."""
    with _grid(path, len(datasets), "pictures (%)") as panels:
        for axes, colour, (name, labels) in zip(panels, colours(len(datasets)), datasets.items(), strict=True):
            left, width, share = _bars(labels)
            # an outline each: hundreds of bars take seconds
            corners = np.stack([left, left, left + width, left + width], axis=1).ravel()
            axes.fill(corners, np.stack([0 * share, share, share, 0 * share], axis=1).ravel(), color=colour, linewidth=0.5)
            counts = labels.counts
            mean = np.average(counts["label"], weights=counts["pictures"])
            axes.axvline(mean, color="black", linewidth=1, linestyle="--")
            axes.set_title(f"{name}\n{counts['pictures'].sum():,} pictures, mean {mean:.1f}")
            axes.set(xlabel=labels.axis, xlim=_limits(datasets, labels.unit), ylim=(0, None))
            axes.grid(axis="x", visible=False)


def cumulative_labels(path: Path | str, datasets: Mapping[str, Labels]) -> None:
    """The share of pictures up to each label, a line per data set and a panel per unit (cascaded fine-tuning, Fig. 5)."""
    units = list(dict.fromkeys(labels.unit for labels in datasets.values()))
    lines = list(enumerate(zip(datasets.items(), colours(len(datasets)), strict=True)))
    with figure(path, width=max(7.2, 5.4 * len(units)), height=4.6, columns=len(units)) as panels:
        for axes, unit in zip(panels, units, strict=True):
            for number, ((name, labels), colour) in lines:
                if labels.unit == unit:
                    axes.plot(*_cumulative(labels), color=colour, linestyle=LINES[number // len(COLOURS) % len(LINES)], label=name)
            kind = min((labels.axis for labels in datasets.values() if labels.unit == unit), key=len)  # "age" before "apparent age"
            axes.set(xlabel=kind, xlim=_limits(datasets, unit), ylim=(0, 101))
            axes.legend(loc="lower right", fontsize=9)
        panels[0].set_ylabel("pictures up to this label (%)")


def group_bars(path: Path | str, datasets: Mapping[str, Labels]) -> None:
    """The share of pictures in each group, by gender where it is known, a panel per data set (cascaded fine-tuning, Fig. 6).

    Groups are the publisher's, else Adience's eight of ages, else those of a whole point of a score.
    """
    with _grid(path, len(datasets), "pictures (%)", height=3.1) as panels:
        for axes, (name, labels) in zip(panels, datasets.items(), strict=True):
            shares = _by_group(labels)
            bottom = np.zeros(len(shares))
            for gender in shares:
                bars = axes.bar(list(shares.index), shares[gender], 0.76, bottom=bottom, color=GENDERS[gender])
                if BETWEEN in shares.index:
                    bars[-1].set_alpha(0.4)
                bottom += shares[gender].to_numpy()
            axes.set_title(f"{name}\n{_gender_share(shares)}")
            axes.tick_params(axis="x", rotation=40 if len(shares) > 5 else 0, labelsize=9)
            axes.grid(axis="x", visible=False)
        _gender_legend(panels[0], [gender for gender in GENDERS if any(gender in _by_group(labels) for labels in datasets.values())])


def ranking_and_distributions(
    path: Path | str, grid: ArrayLike, distributions: Sequence[ArrayLike], sigmas: Sequence[float], targets: ArrayLike
) -> None:
    """Why ranking learns a label distribution (DLDL-v2, section 3.2 and Fig. 2), in three panels.

    They show distributions p, their sums c = T p, and 1 - c beside the ranking targets.

    grid: (K,) in years; distributions: (K,) for each sigma, in years, of one label; targets: (K-1,) of that label.
    """
    values = np.asarray(grid, dtype=np.float64)
    with figure(path, 11.0, 3.4, columns=3) as (densities, sums, complements):
        for distribution, sigma, colour in zip(distributions, sigmas, colours(len(sigmas)), strict=True):
            mass = np.asarray(distribution, dtype=np.float64)
            cumulative = mass.cumsum()
            for axes, curve in ((densities, mass), (sums, cumulative), (complements, 1 - cumulative)):
                axes.plot(values, curve, color=colour, label=f"σ = {sigma:g}")
        (steps,) = complements.step(values[:-1], targets, where="mid", color="black", linestyle="--")
        densities.set(title="p: label distribution (Eq. 1)", xlabel="age (years)")
        sums.set(title="c = T p (Eqs. 2 and 5)", xlabel="age (years)")
        complements.set(title="1 - c, and ranking targets (Eqs. 4 and 6)", xlabel="age (years)")
        complements.legend([steps], ["ranking targets"])
        densities.legend()


@contextmanager
def _grid(path: Path | str, count: int, name: str, height: float = 2.7) -> Iterator[list[Axes]]:
    """`count` panels in rows of nearly equal length; `name` is the vertical axis of the first panel of each row."""
    rows = ceil(count / MOST_COLUMNS)
    columns = ceil(count / rows)
    with figure(path, max(6.4, 3.3 * columns), height * rows + 0.4, columns, rows) as panels:
        for axes in panels[count:]:
            axes.set_visible(False)
        for axes in panels[:count:columns]:
            axes.set_ylabel(name)
        yield panels[:count]


def _limits(datasets: Mapping[str, Labels], unit: str) -> tuple[float, float]:
    """The ends of the axis that all data sets of a unit share."""
    bars = [_bars(labels) for labels in datasets.values() if labels.unit == unit]
    return min(float(left.min()) for left, _, _ in bars), max(float((left + width).max()) for left, width, _ in bars)


def _bars(labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left ends, widths (label units) and shares (%) of the bars: a year or a tenth of a point wide, or as wide as the group."""
    if labels.grouped:
        groups = _groups(labels)
        left, width = groups["label_low"], groups["label_high"] - groups["label_low"]
        return left.to_numpy(), width.to_numpy(), 100 * groups["pictures"].to_numpy() / groups["pictures"].sum()
    step = 1.0 if labels.unit == YEARS else 0.1
    pictures = labels.counts["pictures"].groupby(np.floor(labels.counts["label"] / step + 0.5)).sum()
    left = (pictures.index.to_numpy(np.float64) - 0.5) * step
    return left, np.full(len(left), step), 100 * pictures.to_numpy() / pictures.sum()


def _cumulative(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Labels and the share of pictures (%) up to each; it rises evenly within a group."""
    if labels.grouped:
        groups = _groups(labels)
        ends = 100 * groups["pictures"].cumsum().to_numpy() / groups["pictures"].sum()
        share = np.stack([np.concatenate([[0.0], ends[:-1]]), ends], axis=1)
        return groups[["label_low", "label_high"]].to_numpy().ravel(), share.ravel()
    pictures = labels.counts.groupby("label")["pictures"].sum()
    return pictures.index.to_numpy(), 100 * pictures.cumsum().to_numpy() / pictures.sum()


def _groups(labels: Labels) -> pd.DataFrame:
    """The publisher's groups in their order: group, label_low, label_high, pictures."""
    groups = labels.counts.groupby("group", as_index=False).agg({"label_low": "min", "label_high": "max", "pictures": "sum"})
    return groups.sort_values(["label_low", "label_high"], ignore_index=True)


def _by_group(labels: Labels) -> pd.DataFrame:
    """Share of pictures (%): a row per group, a column per gender that occurs."""
    counts = labels.counts
    if labels.grouped:
        order, group = _groups(labels)["group"].tolist(), counts["group"]
    elif labels.unit == YEARS:
        order, group = [*AGE_GROUPS, BETWEEN], counts["label"].map(_age_group)
    else:
        point = np.floor(counts["label"]).clip(upper=ceil(counts["label"].max()) - 1).astype(int)  # the highest score is of the last point
        order = [_point(value) for value in range(point.min(), point.max() + 1)]
        group = point.map(_point)
    table = counts.assign(group=group, gender=counts["gender"].fillna(UNKNOWN)).pivot_table("pictures", "group", "gender", "sum", 0)
    genders = [gender for gender in GENDERS if gender in table]
    shares: pd.DataFrame = 100 * table.reindex(index=order, columns=genders, fill_value=0) / counts["pictures"].sum()
    return shares


def _age_group(age: float) -> str:
    return next((name for name, (low, high) in AGE_GROUPS.items() if low <= int(age) <= high), BETWEEN)


def _point(value: int) -> str:
    return f"{value} to {value + 1}"


def _gender_share(shares: pd.DataFrame) -> str:
    """The share of women and girls as text, of pictures of known gender."""
    known = shares.drop(columns=UNKNOWN, errors="ignore").to_numpy().sum()
    if not known:
        return "gender unknown"
    female = shares["female"].sum() / known if "female" in shares else 0.0
    return f"{100 * female:.0f} % female"


def _gender_legend(axes: Axes, genders: list[str]) -> None:
    """One legend below all panels."""
    from matplotlib.patches import Patch

    patches = [Patch(color=GENDERS[gender], label=gender) for gender in genders]
    axes.figure.legend(handles=patches, loc="outside lower center", ncols=len(genders))
