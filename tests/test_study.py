"""`agecascade study` rewrites params.yaml, keeps the default's comments and shows what changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from agecascade import models, params, study
from agecascade.archives import open_archives
from agecascade.datasets import READERS, reader
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ParamsError
from agecascade.io.yaml_text import load_yaml
from agecascade.synthetic import write
from forms import some
from places import ROOT


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    return tmp_path


def test_the_committed_params_are_the_sample() -> None:
    assert (ROOT / "params.yaml").read_text() == (ROOT / "studies" / "sample.yaml").read_text()


def test_an_overlay_replaces_named_things_whole_and_merges_the_rest(repository: Path) -> None:
    study.apply("fgnet", repository)
    content = params.load(repository / "params.yaml")
    default = params.load(repository / "studies" / "sample.yaml")
    assert set(content.datasets) == {"utkface", "fgnet"}
    assert content.pretrain == {}
    assert content.align.size == 64
    assert content.align.quality == default.align.quality
    assert "# weight of the expectation loss" in (repository / "params.yaml").read_text()


def test_the_difference_is_told_and_back_again_is_identical(repository: Path) -> None:
    study.apply("sample", repository)
    before = (repository / "params.yaml").read_text()
    difference = study.apply("utkface", repository)
    assert "-study: sample" in difference
    assert "+study: utkface" in difference
    study.apply("sample", repository)
    assert (repository / "params.yaml").read_text() == before
    assert study.apply("sample", repository) == ""


def test_an_unknown_study_names_the_nearest_and_changes_nothing(repository: Path) -> None:
    study.apply("sample", repository)
    with pytest.raises(ParamsError, match="unknown study 'fgnt'; did you mean fgnet"):
        study.apply("fgnt", repository)
    assert params.load(repository / "params.yaml").study == "sample"


def test_a_faulty_overlay_leaves_params_whole(repository: Path) -> None:
    study.apply("sample", repository)
    (repository / "studies" / "broken.yaml").write_text("study: broken\nimage_sise: 3\n")
    with pytest.raises(ParamsError, match=r"studies/broken\.yaml: image_sise"):
        study.apply("broken", repository)
    assert params.load(repository / "params.yaml").study == "sample"


@pytest.fixture
def readers() -> list[str]:
    """Readers with labels, without the studies of their names."""
    return [name for name in sorted(READERS) if reader(name).INFO.settings["grid"] is not None and name not in study.names(ROOT)]


def test_every_reader_with_labels_makes_a_study_of_its_own(repository: Path, readers: list[str]) -> None:
    for name in readers:
        made = params.check(load_yaml(study.render(name, repository)))
        dataset = made.datasets[name]
        assert made.study == made.evaluate.target == dataset.reader == name
        assert (dataset.origin, dataset.draw) == ("publisher", None)
        step = study.OWN if name == "csv_table" else "target"  # so that the sample's models stay
        assert list(made.cascade) == [step]
        assert made.cascade[step].init == params.SCRATCH
        assert (made.pretrain, made.features, made.regressors, made.screen) == ({}, {}, {}, {})
        assert made.sigma == reader(name).INFO.sigma


def test_a_made_study_trains_as_the_written_one_does(repository: Path) -> None:
    made = params.check(load_yaml(study.render("agedb", repository)))
    written = params.check(load_yaml(study.render("utkface", repository)))
    assert made.cascade["target"].model_dump(exclude={"dataset"}) == written.cascade["age_0_116"].model_dump(exclude={"dataset"})
    shared = {"image_size", "precision", "lambda_er", "align", "augment", "method", "backbone"}
    assert made.model_dump(include=shared) == written.model_dump(include=shared)


def test_levels_are_counted_in_steps_of_the_grid(repository: Path) -> None:
    assert params.check(load_yaml(study.render("scut_fbp", repository))).evaluate.levels == [0.3, 0.5, 0.7]
    assert params.check(load_yaml(study.render("agedb", repository))).evaluate.levels == [3, 5, 7]


def test_a_made_study_keeps_comments_and_says_every_key(repository: Path) -> None:
    difference = study.apply("agedb", repository)
    text = (repository / "params.yaml").read_text()
    assert "# weight of the expectation loss" in text
    assert "+study: agedb" in difference
    for key in params.Dataset.model_fields:  # DVC has no defaults
        assert f"    {key}:" in text
    assert "    draw:\n" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_written_study_comes_before_the_reader_of_its_name(repository: Path) -> None:
    assert set(params.check(load_yaml(study.render("fgnet", repository))).datasets) == {"utkface", "fgnet"}
    (repository / "studies" / "fgnet.yaml").unlink()
    assert set(params.check(load_yaml(study.render("fgnet", repository))).datasets) == {"fgnet"}


def test_a_set_of_identities_needs_a_target(repository: Path) -> None:
    with pytest.raises(ParamsError, match=r"can only be pretrained on: `agecascade study vggface2 --target fgnet`") as caught:
        study.render("vggface2", repository)
    assert len(str(caught.value).splitlines()) == 1
    made = params.check(load_yaml(study.render("vggface2", repository, target="agedb")))
    assert made.chain("target") == ["faces", "target"]
    assert (made.pretrain["faces"].dataset, made.cascade["target"].dataset, made.evaluate.target) == ("vggface2", "agedb", "agedb")


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("vggface2", "fgnett", "--target: unknown reader 'fgnett'; did you mean fgnet"),
        ("vggface2", "casia_webface", "--target casia_webface shows identities too"),
        ("agedb", "fgnet", "agedb has labels and is its own target"),
        ("utkface", "fgnet", r"studies/utkface\.yaml names its target itself"),
    ],
)
def test_targets_that_are_of_no_use(repository: Path, name: str, target: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        study.render(name, repository, target=target)


def test_a_drawn_study_fetches_nothing_and_is_short(repository: Path) -> None:
    for name in [*some(study.names(ROOT), 12), "csv_table", "morph2", "scut_fbp"]:
        made = params.check(load_yaml(study.render(name, repository, drawn=True)))
        assert made.study == f"{name}_drawn"
        for dataset in made.datasets.values():
            assert (dataset.origin, dataset.draw) == ("synthetic", params.DrawSettings(pictures=240, subjects=30))
            assert dataset.detector != "yunet"
            assert dataset.clean.max_reject_rate >= 0.9
            assert dataset.clean.exclude is None
        whole = params.check(load_yaml(study.render(name, repository)))
        for step, recipe in (made.pretrain | made.cascade).items():
            assert recipe.epochs == min(2, (whole.pretrain | whole.cascade)[step].epochs)  # 0: a network is taken as it comes


def test_a_drawn_study_is_the_study_otherwise(repository: Path) -> None:
    drawn, whole = (load_yaml(study.render("utkface", repository, drawn=drawn)) for drawn in (True, False))
    assert drawn["datasets"]["utkface_21_60"]["options"] == whole["datasets"]["utkface_21_60"]["options"]
    assert drawn["evaluate"] == whole["evaluate"]
    study.apply("utkface", repository)
    difference = study.apply("utkface", repository, drawn=True)
    assert "+    draw: {pictures: 240, subjects: 30}" in difference
    assert "grid" not in difference


def test_a_drawn_study_shortens_what_a_backbone_has_of_its_own(repository: Path) -> None:
    text = (repository / "studies" / "fgnet.yaml").read_text().replace("by_backbone: {}", "by_backbone: {thinagenet: {epochs: 9}}")
    (repository / "studies" / "own.yaml").write_text(text)
    made = params.check(load_yaml(study.render("own", repository, drawn=True)))
    assert made.cascade["target"].recipe("thinagenet").epochs == 2


def test_a_drawn_study_needs_no_published_weights(repository: Path) -> None:
    (repository / "studies" / "own.yaml").write_text(
        """
backbone: senet50
image_size: 64
weights: {vggface2: {senet50: {file: senet50_ft_weight.pkl, sha256: "00000000"}}}
pretrain: {}
cascade:
  target: {dataset: sample_fgnet, init: vggface2, epochs: 9, batch_size: 8, learning_rate: 0.001, schedule: {name: constant}}
features: {vggface2: {dataset: sample_fgnet, step: vggface2}}
regressors: {svr: {features: vggface2}}
"""
    )
    assert params.check(load_yaml(study.render("own", repository))).chain("target") == ["vggface2", "target"]
    assert load_yaml(study.render("own", repository))["explain"] == {}  # the sample's names steps that this cascade lacks
    made = params.check(load_yaml(study.render("own", repository, drawn=True)))
    assert (made.chain("target"), made.weights, made.features["vggface2"].step) == (["target"], {}, "scratch")


@pytest.mark.parametrize(("name", "scores"), [("scut_fbp", 41), ("scut_fbp5500", 41), ("cfd", 61)])
def test_attractiveness_has_its_network_and_its_grid(repository: Path, name: str, scores: int) -> None:
    made = params.check(load_yaml(study.render(name, repository)))
    grid = made.datasets[name].grid
    assert grid is not None
    values = grid.over([])
    assert (len(values), values[0], values[1] - values[0]) == (scores, 1.0, pytest.approx(0.1))
    assert made.backbone == "tinyattnet"
    ages = models.create("tinyagenet", outputs=scores).state_dict()
    models.create(made.backbone, outputs=scores).load_state_dict(ages)  # the same network


def read(folder: Path, name: str, options: dict[str, Any]) -> list[ManifestRow]:
    """What the reader finds in a drawn archive; most of it must be rows."""
    folder.mkdir()
    write(name, folder, params.DrawSettings(pictures=24, subjects=4), seed=3, workers=1)
    with open_archives(folder) as archive:
        entries = list(reader(name).rows(archive, options))
    rows = [row for row in entries if isinstance(row, ManifestRow)]
    assert len(rows) >= 10, [row for row in entries if isinstance(row, Reject)]
    return rows


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_drawn_archive_fits_the_readers_options(tmp_path: Path, name: str) -> None:
    settings = reader(name).INFO.settings
    rows = read(tmp_path / "raw", name, settings["options"])
    if settings["protocol"] == "official":
        assert any(row.official for row in rows)
    if settings["grid"] is not None:
        assert all(row.label is not None for row in rows)
    if settings["protocol"] in ("leave_one_subject_out", "subject_kfold", "subject_exclusive") or settings["grid"] is None:
        assert all(row.subject for row in rows)
    if settings["detector"] == "annotation":
        assert all(row.box or row.landmarks or row.central_box for row in rows)


def test_the_drawn_archives_fit_the_options_of_the_studies(tmp_path: Path, repository: Path) -> None:
    datasets = {
        name: dataset for known in study.names(ROOT) for name, dataset in load_yaml(study.render(known, repository))["datasets"].items()
    }
    for name, dataset in datasets.items():
        if dataset["options"]:
            rows = read(tmp_path / name, dataset["reader"], dict(dataset["options"]))
            if dataset["protocol"] == "official":  # the publisher's own split, or its folds
                roles = {row.official for row in rows}
                assert {"train", "test"} <= roles or roles == {f"fold{fold}" for fold in range(dataset["folds"])}


@pytest.mark.parametrize("augment", ["dldl_v2", "{preset: dldl_v2}"])
def test_a_preset_of_a_study_keeps_nothing_of_the_default(repository: Path, augment: str) -> None:
    (repository / "studies" / "mine.yaml").write_text(f"study: mine\naugment: {augment}\n")
    study.apply("mine", repository)
    assert params.load(repository / "params.yaml").augment == params.Augment(preset="dldl_v2")


# --- changes by hand


def set_key(repository: Path, line: str, changed: str) -> str:
    """params.yaml with one line changed by hand."""
    text = (repository / "params.yaml").read_text()
    assert line in text
    (repository / "params.yaml").write_text(text.replace(line, changed, 1))
    return text.replace(line, changed, 1)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(("name", "arguments"), [("fgnet", {}), ("utkface", {"drawn": True}), ("vggface2", {"target": "agedb"})])
def test_a_study_as_it_was_rendered_makes_room_for_another(repository: Path, name: str, arguments: dict[str, Any], recorded: bool) -> None:
    study.apply(name, repository, **arguments)
    if not recorded:  # another clone of the repository
        shutil.rmtree(repository / ".agecascade")
    study.apply("sample", repository)
    assert params.load(repository / "params.yaml").study == "sample"


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(
    ("line", "changed", "named"),
    [
        ("seed: 0", "seed: 3", "seed"),
        ("  size: 64", "  size: 96", "align.size"),
        ("# hybrid | average | max", "# my note", "comments"),
    ],
)
def test_changes_by_hand_are_not_written_over(repository: Path, line: str, changed: str, named: str, recorded: bool) -> None:
    study.apply("fgnet", repository)
    if not recorded:
        shutil.rmtree(repository / ".agecascade")
    text = set_key(repository, line, changed)
    with pytest.raises(
        ParamsError, match=rf"changed since `agecascade study fgnet`, by hand or by `-S`: {named}; keep them in an overlay.*--force"
    ) as caught:
        study.apply("sample", repository)
    assert len(str(caught.value).splitlines()) == 1
    assert (repository / "params.yaml").read_text() == text
    study.apply("sample", repository, force=True)
    assert params.load(repository / "params.yaml").study == "sample"


def test_many_changes_are_named_in_part(repository: Path) -> None:
    study.apply("sample", repository)
    set_key(repository, "augment:\n", "augment: none\naugments:\n")
    text = (repository / "params.yaml").read_text()
    (repository / "params.yaml").write_text(
        text.replace("quality: 95", "quality: 9").replace("seed: 0", "seed: 1").replace("sigma: 2.0", "sigma: 1.0")
    )
    with pytest.raises(ParamsError, match=r"seed, sigma, align\.quality, augment, augments; keep"):
        study.apply("sample", repository)


def test_of_a_study_with_an_overlay_in_memory_only_the_changes_by_hand_are_named(repository: Path) -> None:
    study.apply("csv_table", repository, overlay=study.overlay_of_reader("csv_table") | {"sigma": 0.5, "lambda": 0.2})
    study.apply("csv_table", repository, overlay=study.overlay_of_reader("csv_table") | {"sigma": 0.7})
    set_key(repository, "seed: 0", "seed: 3")
    with pytest.raises(ParamsError, match=r"since `agecascade study csv_table`, by hand or by `-S`: seed; keep them"):
        study.apply("sample", repository)


def test_a_record_of_another_study_says_nothing(repository: Path) -> None:
    study.apply("sample", repository)
    committed = (repository / "params.yaml").read_text()
    study.apply("fgnet", repository)
    (repository / "params.yaml").write_text(committed)
    study.apply("utkface", repository)
    assert params.load(repository / "params.yaml").study == "utkface"


def test_an_overlay_that_changed_since_is_no_change_by_hand(repository: Path) -> None:
    (repository / "studies" / "mine.yaml").write_text("study: mine\nseed: 1\n")
    study.apply("mine", repository)
    (repository / "studies" / "mine.yaml").write_text("study: mine\nseed: 2\n")
    study.apply("mine", repository)
    assert params.load(repository / "params.yaml").seed == 2


@pytest.mark.parametrize("text", ["study: [\n", "study: nowhere\n", "no study at all\n", "- 1\n"])
def test_a_file_of_no_study_stays(repository: Path, text: str) -> None:
    (repository / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"params\.yaml is of no study in studies/; keep its settings .*--force"):
        study.apply("sample", repository)
    assert (repository / "params.yaml").read_text() == text


def test_a_link_is_followed(repository: Path) -> None:
    study.apply("sample", repository)
    (repository / "params.yaml").rename(repository / "elsewhere.yaml")
    (repository / "params.yaml").symlink_to("elsewhere.yaml")
    study.apply("fgnet", repository)
    assert (repository / "params.yaml").is_symlink()
    assert params.load(repository / "elsewhere.yaml").study == "fgnet"


def test_outside_of_a_repository_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"studies/sample\.yaml is missing; run the command in the folder of the repository"):
        study.apply("sample", tmp_path)


NO_OVERLAYS: list[tuple[bytes, str]] = [
    (b"", "own.yaml holds nothing; it is to hold the keys that differ"),
    (b"- a\n", "own.yaml holds no keys"),
    (b"seed: [\n", "own.yaml is no YAML: while parsing a flow node"),
    (b"seed: 1\nseed: 2\n", "own.yaml is no YAML: .*duplicate key"),
    (b"seed:\n\tone: 2\n", "own.yaml is no YAML: .*cannot start any token"),
    (b"study: \xe9\n", "own.yaml is no YAML: 'utf-8' codec"),
    (b"align: &all\n  size: *all\n", "own.yaml: align.size: "),
    (b"study: " + b"[" * 5000 + b"\n", "own.yaml is no YAML: "),
    (b"seed: " + b"9" * 5000 + b"\n", "own.yaml is no YAML: "),
    (b"datasets: null\n", "own.yaml: datasets: Input should be a valid dictionary"),
    (b"cascade: 3\n", "own.yaml: cascade: Input should be a valid dictionary"),
    (b"datasets: {fgnet: 3}\n", "own.yaml: datasets.fgnet: "),
]


@pytest.mark.parametrize(("content", "line", "drawn"), some([(*case, drawn) for case in NO_OVERLAYS for drawn in (False, True)], 14))
def test_a_file_that_is_no_overlay_is_one_line(repository: Path, content: bytes, line: str, drawn: bool) -> None:
    (repository / "studies" / "own.yaml").write_bytes(content)
    with pytest.raises(ParamsError, match=rf"^studies/{line}") as raised:
        study.apply("own", repository, drawn=drawn)
    assert "\n" not in str(raised.value)
    assert not (repository / "params.yaml").exists()


@pytest.mark.parametrize(
    "content", [b"study: sample\n\xe9: 1\n", b"study: &all [*all]\n", b"study: sample\nseed: " + b"9" * 5000, b"- 1\n"]
)
def test_a_params_file_that_python_cannot_take_stays(repository: Path, content: bytes) -> None:
    path = repository / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match="--force throws them away"):
        study.apply("sample", repository)
    assert path.read_bytes() == content
    study.apply("sample", repository, force=True)
    assert params.load(path).study == "sample"
