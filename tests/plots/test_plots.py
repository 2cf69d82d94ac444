"""agecascade.plots: the pictures are written, differ with the numbers, and are the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from agecascade.plots import explanations, results, sheets
from agecascade.plots import labels as label_plots

rng = np.random.default_rng(0)
LABEL = rng.uniform(0, 69, 120)


def predictions(spread: float) -> pd.DataFrame:
    return pd.DataFrame({"label": LABEL, "prediction": LABEL + np.random.default_rng(1).normal(0, spread, len(LABEL))})


def summary(mae: float) -> dict[str, float | str]:
    return {"mae": mae, "mae_low": mae - 0.4, "mae_high": mae + 0.5}


def history(epochs: int) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame({"epoch": epoch, "loss": 4 / epoch, "validation_error": 5 + 9 / epoch})


def styles(steepness: float) -> pd.DataFrame:
    age = np.arange(0.0, 70.0)
    return pd.DataFrame({"age": age, "S": 1 - steepness * age / 100, "T": steepness * age / 100})


def labels(values: list[float], gender: str | None = None, kind: str = "age", unit: str = "years") -> label_plots.Labels:
    counts = pd.DataFrame({"label": values, "label_low": np.nan, "label_high": np.nan, "group": None, "gender": gender, "pictures": 2})
    return label_plots.Labels(kind, unit, counts)


def groups(pictures: list[int]) -> label_plots.Labels:
    """Two groups, each shown by women and men."""
    columns = {"label": [1.0, 5.0] * 2, "label_low": [0.0, 4.0] * 2, "label_high": [2.0, 6.0] * 2, "group": ["(0, 2)", "(4, 6)"] * 2}
    counts = pd.DataFrame({**columns, "gender": ["female", "female", "male", "male"], "pictures": pictures})
    return label_plots.Labels("age group", "years", counts)


def scores(values: list[float]) -> label_plots.Labels:
    return labels(values, "female", "attractiveness", "1 to 5")


SETS = {"imdb": labels([1, 2, 2, 30, 61]), "adience": groups([1, 2, 3, 4]), "scut": scores([1.2, 3.4, 5.0])}
OTHERS = {**SETS, "imdb": labels([1, 2, 2, 30, 41])}

# each with the numbers of two pictures
PLOTS: dict[str, tuple[Callable, tuple, tuple]] = {
    "labels": (
        results.label_histogram,
        ({"train": LABEL[:80], "validation": LABEL[80:90], "test": LABEL[90:]},),
        ({"train": LABEL[:50], "validation": [], "test": LABEL[50:]},),
    ),
    "predictions": (
        results.predicted_against_true,
        ({"dldl_v2": predictions(3), "svr": predictions(6)},),
        ({"dldl_v2": predictions(3)},),
    ),
    "cumulative_score": (
        results.cumulative_scores,
        ({"dldl_v2": predictions(3), "svr": predictions(6)},),
        ({"dldl_v2": predictions(3), "svr": predictions(4)},),
    ),
    "fold_errors": (
        results.fold_errors,
        ({"dldl_v2": LABEL[:9], "svr": LABEL[9:18]}, {"DEX": 3.09}),
        ({"dldl_v2": LABEL[:9], "svr": LABEL[9:18]}, {"DEX": 4.09}),
    ),
    "mae": (results.mae_bars, ({"dldl_v2": summary(3.2), "svr": summary(4.1)},), ({"dldl_v2": summary(3.2), "svr": summary(4.2)},)),
    "label_panels": (label_plots.label_panels, (SETS,), (OTHERS,)),
    "cumulative_labels": (label_plots.cumulative_labels, (SETS,), (OTHERS,)),
    "group_bars": (label_plots.group_bars, (SETS,), (OTHERS,)),
    "one_label_only": (label_plots.label_panels, ({"still": labels([25.0])},), ({"still": labels([26.0])},)),
    "twelve_sets": (label_plots.cumulative_labels, ({f"set{i}": labels([i, 50.0]) for i in range(12)},), ({"set0": labels([0.0, 50.0])},)),
    "daa": (results.learned_styles, ({"daa": styles(1.0)},), ({"daa": styles(2.0)},)),
    "curves": (results.training_curves, ({"target": history(6)},), ({"target": history(6), "target_from_scratch": history(9)},)),
}


@pytest.mark.parametrize("name", PLOTS)
def test_same_numbers_same_bytes_and_other_numbers_another_picture(name: str, tmp_path: Path):
    plot, numbers, others = PLOTS[name]
    for file, drawn in (("first", numbers), ("again", numbers), ("other", others)):
        plot(tmp_path / f"{file}.png", *drawn)
    first = (tmp_path / "first.png").read_bytes()
    assert first == (tmp_path / "again.png").read_bytes()
    assert first != (tmp_path / "other.png").read_bytes()
    assert b"Software" not in first
    picture = cv2.imread(str(tmp_path / "first.png"))
    assert picture.shape[1] >= 700
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20  # something is drawn


def test_a_users_matplotlibrc_changes_nothing(tmp_path: Path):
    import matplotlib as mpl

    results.mae_bars(tmp_path / "first.png", {"svr": summary(3)})
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        results.mae_bars(tmp_path / "second.png", {"svr": summary(3)})
        assert mpl.rcParams["font.size"] == 30
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_bands_of_labels_have_the_percentiles_of_their_predictions():
    """By hand: labels 0 and 120 are the first and the last of 12 bands; one of 7 pictures is too small."""
    frame = pd.DataFrame({"label": [0.0] * 11 + [120.0] * 7, "prediction": [*np.arange(11.0), *[99.0] * 7]})
    assert results.prediction_bands(frame).to_numpy().tolist() == [[0.0, 1.0, 5.0, 9.0]]
    assert results.prediction_bands(frame.head(3)).empty


def test_bars_are_shares_a_year_wide_or_as_wide_as_the_group():
    left, width, share = label_plots._bars(labels([1.0, 2.0, 2.4, 30.0]))
    assert left.tolist() == [0.5, 1.5, 29.5]
    assert width.tolist() == [1, 1, 1]
    assert share.tolist() == [25, 50, 25]
    left, width, share = label_plots._bars(groups([1, 2, 3, 4]))
    assert (left.tolist(), width.tolist(), share.tolist()) == ([0, 4], [2, 2], [40, 60])


def test_the_cumulative_share_ends_at_all_pictures_and_rises_within_groups():
    value, share = label_plots._cumulative(labels([30.0, 1.0, 2.0, 2.0]))
    assert (value.tolist(), share.tolist()) == ([1, 2, 30], [25, 75, 100])
    value, share = label_plots._cumulative(groups([1, 2, 3, 4]))
    assert (value.tolist(), share.tolist()) == ([0, 2, 4, 6], [0, 40, 40, 100])


def test_ages_stand_in_adiences_groups_or_between_them_scores_in_whole_points():
    shares = label_plots._by_group(labels([0, 2.9, 3, 6, 7, 13, 60, 116, 32, 33], "male"))
    assert shares["male"].to_dict() == {
        "0-2": 20, "4-6": 10, "8-12": 0, "15-20": 0, "25-32": 10, "38-43": 0, "48-53": 0, "60+": 20, "between": 40,
    }  # fmt: skip
    assert label_plots._by_group(scores([1.0, 1.9, 4.0, 5.0]))["female"].to_dict() == {"1 to 2": 50, "2 to 3": 0, "3 to 4": 0, "4 to 5": 50}
    shares = label_plots._by_group(groups([1, 2, 3, 4]))
    assert shares.to_dict() == {"female": {"(0, 2)": 10, "(4, 6)": 20}, "male": {"(0, 2)": 30, "(4, 6)": 40}}
    assert label_plots._gender_share(shares) == "30 % female"
    assert label_plots._gender_share(label_plots._by_group(labels([1, 2]))) == "gender unknown"


def test_points_stand_where_they_are_in_the_picture_and_what_lies_outside_is_cut_off():
    image = np.full((50, 50, 3), 128, np.uint8)
    points = {"#E69F00": np.array([[10.0, 20], [np.nan, 3], [-1e30, 5], [300, 300]]), "#0072B2": np.array([[40.0, 40]])}
    drawn = sheets.mark_points(image, 200, points)
    assert drawn.shape == (200, 200, 3)
    for colour, centre in (((0xE6, 0x9F, 0), (40, 80)), ((0, 0x72, 0xB2), (160, 160))):
        y, x = np.nonzero((drawn == colour).all(axis=2))
        np.testing.assert_allclose((x.mean() + 0.5, y.mean() + 0.5), centre, atol=0.6)
    assert (image == 128).all()
    assert (drawn == 128).all(axis=2).mean() > 0.98


def tile(colour: tuple[int, int, int], width: int = 20, height: int = 20, caption: str = "34", detail: str = "") -> sheets.Tile:
    return sheets.Tile(np.full((height, width, 3), colour, np.uint8), caption, detail)


def drawn(path: Path, tiles: list[sheets.Tile], columns: int = 2, side: int = 400) -> np.ndarray:
    """A sheet as RGB (H, W, 3)."""
    sheets.contact_sheet(path, "set", "all of them", tiles, columns, side)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_tiles_stand_row_by_row_and_keep_their_shape(tmp_path: Path):
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    sheet = drawn(tmp_path / "sheet.png", [tile(red, width=40), tile(green), tile(blue, height=10)])
    boxes = {}
    for name, colour in (("red", red), ("green", green), ("blue", blue)):
        y, x = np.nonzero((sheet == colour).all(axis=2))
        boxes[name] = (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
    assert boxes["red"][2:] == (400, 200)  # twice as wide as high
    assert boxes["green"][2:] == (400, 400)
    assert boxes["green"][0] == boxes["red"][0] + 410
    assert boxes["blue"][0] == boxes["red"][0]
    assert boxes["blue"][1] > boxes["green"][1] + 400


def test_a_tile_without_a_picture_is_grey_and_the_same_tiles_give_the_same_bytes(tmp_path: Path):
    tiles = [sheets.Tile(None, "unreadable", "the JPEG is truncated"), tile((255, 0, 0))]
    sheet = drawn(tmp_path / "first.png", tiles)
    assert (sheet == (0xE3, 0xE3, 0xE3)).all(axis=2).sum() > 0.9 * 400 * 400
    drawn(tmp_path / "second.png", tiles)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    captions = [tiles[0], sheets.Tile(tiles[1].image, "35")]
    assert not np.array_equal(sheet, drawn(tmp_path / "other.png", captions))


def test_text_never_leaves_its_tile():
    font = sheets._font(10)
    text = "134_GorzaDenka_14x_f.jpg is not <n>_<Name>_<age>_<f|m>, and " + "so_on_" * 40
    lines = sheets._wrapped(text, font, 120)
    assert len(lines) == sheets.DETAIL_LINES
    assert all(font.getlength(line) <= 120 for line in lines)
    assert lines[-1].endswith("…")
    assert sheets._wrapped("label 174 is outside 0 to 100", font, 1000) == ["label 174 is outside 0 to 100"]
    assert sheets._wrapped("  ", font, 100) == []


@pytest.mark.parametrize(("low", "high", "each"), [(0, 69, 2), (0, 116, 3), (21, 60, 1), (5, 5, 1)])
def test_every_bar_of_whole_ages_holds_as_many_ages(low: int, high: int, each: int) -> None:
    ages = np.arange(low, high + 1.0)
    counts, _ = np.histogram(ages, results.label_edges(ages))
    assert counts.sum() == len(ages)
    assert set(counts[:-1]) <= {each}
    assert 1 <= counts[-1] <= each


def test_ratings_are_divided_evenly() -> None:
    edges = results.label_edges(np.array([1.0, 2.5, 9.75]))
    assert (edges[0], edges[-1], len(edges)) == (1.0, 9.75, 11)


def test_the_heading_of_a_narrow_occlusion_figure_is_not_cut(tmp_path: Path) -> None:
    face, losses = np.full((64, 64, 3), 150, np.uint8), np.linspace(-0.2, 0.2, 56)
    explanations.occlusion_figure(
        tmp_path / "one.png", "ratings: change of the MAE in percent where a part is hidden", {"all": (face, losses)}
    )
    dark = (cv2.imread(str(tmp_path / "one.png"), cv2.IMREAD_GRAYSCALE) < 128).any(axis=0)
    assert not dark[:10].any()
    assert not dark[-10:].any()
