"""report.html: what it says and shows, that it needs nothing else, and that the same files give the same bytes."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from agecascade import params
from agecascade.errors import AgecascadeError, ModelError
from agecascade.evaluation.tables import write_table_files
from agecascade.io.files import rounded
from agecascade.params import Params
from agecascade.report.page import write_report
from agecascade.report.sections import Sources, data_tables
from agecascade.report.words import summary
from finished import comparison, headline, write_finished
from places import sample_params


@pytest.fixture
def study() -> Params:
    return params.check(sample_params())


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return write_finished(tmp_path)


def page(study: Params, finished: Path) -> str:
    write_report(study, finished / "metrics", finished / "plots", "study: sample  # <b>\n", finished / "report.html")
    return (finished / "report.html").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """All start tags with their attributes, and which tags are left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_says_in_words_what_the_main_row_does(study: Params, finished: Path) -> None:
    text = " ".join(summary(Sources(study, finished / "metrics", finished / "plots")))
    assert "trained through faces > imdb > agedb > target, and tested on 300 pictures of sample_fgnet in 5 folds" in text
    assert "Its MAE is 5.00 years (95 % interval 4.00 to 6.00)." in text
    assert (
        "has an MAE of 9.00 years, 4.00 more on the same pictures (1.50 to 6.50, paired over folds, p 0.002 adjusted for all rows): "
        "the main row is better."
    ) in text
    assert "say nothing about real faces" in text


@pytest.mark.parametrize(
    ("verdict", "difference", "words"),
    [
        ("not distinguishable", 4.0, "4.00 more on the same pictures"),
        ("not distinguishable", 4.0, "the two are not distinguishable."),
        ("better", -0.5, "0.50 less on the same pictures"),
        ("better", -0.5, "the main row is worse."),
    ],
)
def test_the_verdict_on_the_baseline_is_that_of_the_paired_test(
    study: Params, finished: Path, verdict: str, difference: float, words: str
) -> None:
    """It compared the interval of one MAE with another MAE, as if they were of different pictures."""
    write_table_files(finished / "metrics" / "tables" / "comparison", comparison(verdict, difference, 0.2))
    assert words in " ".join(summary(Sources(study, finished / "metrics", finished / "plots")))


def test_a_figure_reads_the_same_in_all_places(study: Params, finished: Path) -> None:
    """One read 8.96 in a table and 8.97 in the summary: its last bits lay on either side of a tie, and the CSV was rounded again."""
    for value in (8.964999999999998, 8.965000000000002):
        (finished / "metrics" / "headline.json").write_text(json.dumps({**headline(), "mae": rounded(value)}))
        table = pd.DataFrame({"data set": ["sample_fgnet"], "method": ["dldl_v2"], "cascade": ["target"], "MAE": [value]})
        write_table_files(finished / "metrics" / "tables" / "mae", table)
        assert "| 8.97 |" in (finished / "metrics" / "tables" / "mae.md").read_text()
        text = page(study, finished)
        assert '<td class="number">8.97</td>' in text
        assert "Its MAE is 8.97 years" in text
        assert "8.96" not in text


def test_a_matrix_is_shown_as_one_for_each_kind_of_groups(study: Params, finished: Path) -> None:
    """Lines of eight groups and of three stood in one table with eleven columns, most of them empty."""
    place = {"data set": "sample_fgnet", "step": "target", "row": ["a", "a", "b", "b"], "true": ["x", "y", "x", "y"]}
    for name in ("confusion_matrix", "confusion_matrix_sample_fgnet"):
        write_table_files(
            finished / "metrics" / "tables" / name, pd.DataFrame({**place, "n": 3, "as x": [2, 1, 3, 0], "as y": [1, 2, 0, 3]})
        )
    text = page(study, finished)
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (("row", ""), ("true", ""), *((name, ' class="number"') for name in ("n", "as x", "as y")))
    )
    assert text.count(head) == 2
    assert text.count('<tr class="block"><td>target a</td><td>x</td>') == 2
    assert text.count("<tr><td></td><td>y</td>") == 4
    assert text.index(" Groups</h2>") < text.rindex(head) < text.index(" Further tables and figures</h2>")


def test_it_needs_nothing_but_itself_and_every_figure_can_be_heard(study: Params, finished: Path) -> None:
    text = page(study, finished)
    elements = Elements(text)
    assert not elements.open
    assert not [tag for tag, _ in elements.found if tag in ("script", "iframe", "object")]
    links = [attributes[name] or "" for _, attributes in elements.found for name in ("src", "href") if name in attributes]
    assert all(link.startswith(("#", "data:")) for link in links)
    identifiers = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    assert {link[1:] for link in links if link.startswith("#")} <= set(identifiers)
    pictures = [attributes for tag, attributes in elements.found if tag == "img"]
    assert len(pictures) == 2
    assert all(attributes["alt"] and attributes["width"] == "240" for attributes in pictures)
    assert elements.found[0] == ("html", {"lang": "en"})
    assert "# &lt;b&gt;" in text


def test_tables_and_figures_are_numbered_and_unknown_ones_are_appended(study: Params, finished: Path) -> None:
    write_table_files(finished / "metrics" / "tables" / "novelty", pd.DataFrame({"what": ["<i>"], "how much": [1.23456]}), ["A note."])
    text = page(study, finished)
    assert re.findall(r"<b>(Table \d+|Figure \d+)\.</b>", text) == [
        "Table 1",
        "Table 2",
        "Table 3",
        "Table 4",
        "Table 5",
        "Figure 1",
        "Table 6",
        "Figure 2",
    ]
    assert "Further tables and figures" in text
    assert "&lt;i&gt;" in text
    assert '<td class="number">1.23</td>' in text
    assert "A note." in text
    assert "Confidence</h2>" not in text, "a section without table or figure is left out"


def test_explanations_stand_with_their_figures(study: Params, finished: Path) -> None:
    (finished / "metrics" / "explain").mkdir()
    content = {"step": "target", "mae": 5.25, "faces": {"all": 300}, "occlusion": {"all": {"mae": 5.25, "stripes": [-0.001, 1.0]}}}
    (finished / "metrics" / "explain" / "target.json").write_text(json.dumps(content))
    (finished / "plots" / "explain" / "target").mkdir(parents=True)
    shutil.copy(finished / "plots" / "results" / "mae.png", finished / "plots" / "explain" / "target" / "occlusion.png")
    text = page(study, finished)
    assert "target: the networks of step target on 300 test pictures, MAE 5.25 label units." in text
    assert '<td>all</td><td class="number">5.25</td><td class="number">0</td><td class="number">100</td>' in text
    assert "target, occlusion. Occlusion: relative growth of the MAE" in text


def test_the_results_say_their_unit_and_what_their_columns_and_lines_are(study: Params, finished: Path) -> None:
    results = finished / "plots" / "results"
    shutil.copy(results / "mae.png", results / "fold_errors.png")
    text = page(study, finished)
    assert "Errors on sample_fgnet are in years." in text
    assert "CS(n), CA(n): share of errors of at most n, of less than n." in text
    assert "published results" not in text, "there are no lines"
    named = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"published": {"DEX": 3.09}})})
    assert "MAE of each fold, by row. Dotted: published results." in page(named, finished)


def test_groups_are_those_of_the_main_row_and_their_names_are_no_numbers(study: Params, finished: Path) -> None:
    """Adience's page had hundreds of lines of groups of all rows, and the group 17.5 read 17.50."""
    rows = ["dldl_v2-tinyagenet-s0", "dldl_v2-tinyagenet-s0", "svr", "svr"]
    steps = ["target", "target", "regress", "regress"]
    table = pd.DataFrame({"step": steps, "row": rows, "group": ["all", "17.5", "all", "hidden"], "accuracy": 0.5})
    write_table_files(finished / "metrics" / "tables" / "groups", table)
    text = page(study, finished)
    assert "<td>17.5</td>" in text or '<td class="number">17.5</td>' in text
    assert "<td>svr</td><td>all</td>" in text
    assert "hidden" not in text
    assert "metrics/tables/groups.csv has all lines" in text


def test_a_small_p_is_not_zero(study: Params, finished: Path) -> None:
    table = pd.DataFrame({"data set": ["sample_fgnet"], "p": [1e-6], "p (Holm)": [0.0123]})
    write_table_files(finished / "metrics" / "tables" / "comparison", table)
    assert "| <0.001 | 0.012 |" in (finished / "metrics" / "tables" / "comparison.md").read_text()
    assert '<td class="number">0.012</td><td class="number">&lt;0.001</td>' in page(study, finished), "the adjusted p stands first"


def test_copies_in_training_stand_in_the_table_and_among_the_limits(study: Params, finished: Path) -> None:
    assert "9 of 300 test pictures of sample_fgnet have a copy or a near copy in training" in page(study, finished)


def test_rows_of_another_study_stand_in_no_table(study: Params, finished: Path) -> None:
    table = pd.DataFrame({"data set": ["gone", "sample_fgnet"], "MAE": [1.5, 5.0]})
    write_table_files(finished / "metrics" / "tables" / "slices", table)
    assert "gone" not in page(study, finished)


def test_the_same_files_give_the_same_bytes(study: Params, finished: Path) -> None:
    assert page(study, finished) == page(study, finished)


@pytest.mark.parametrize("note", ["Worst slice: age 60 to 79, 40 pictures: MAE 9.50.", "No slice of at least 30 pictures errs more."])
def test_the_summary_names_the_worst_slice_as_the_table_of_slices_does(study: Params, finished: Path, note: str) -> None:
    table = pd.DataFrame({"attribute": ["age"], "slice": ["60 to 79"], "n": [40], "MAE": [9.5]})
    write_table_files(finished / "metrics" / "tables" / "slices", table, ["Row: dldl_v2. " + note, "Left out: roll."])
    assert note in summary(Sources(study, finished / "metrics", finished / "plots"))


def test_what_is_missing_or_damaged_is_one_line(study: Params, finished: Path) -> None:
    (finished / "plots" / "results" / "mae.png").write_bytes(b"no picture")
    with pytest.raises(AgecascadeError, match=r"mae\.png is no PNG"):
        page(study, finished)
    (finished / "metrics" / "tables" / "mae.csv").write_text("a,b\n1\n")
    with pytest.raises(AgecascadeError, match=r"mae\.csv is no table"):
        page(study, finished)
    (finished / "metrics" / "headline.json").unlink()
    with pytest.raises(ModelError, match=r"headline\.json is missing; run `dvc repro evaluate`"):
        page(study, finished)


def test_subjects_that_nobody_knows_are_called_unknown(study: Params, finished: Path) -> None:
    path = finished / "metrics" / "splits" / "sample_fgnet.json"
    split = json.loads(path.read_text(encoding="utf-8"))
    split["leaks"] = {"test": {"subjects": None, "exact": 2, "near": 3}}
    path.write_text(json.dumps(split), encoding="utf-8")
    leakage = next(table for table in data_tables(Sources(study, finished / "metrics", finished / "plots")) if table.name == "leakage")
    assert ["sample_fgnet", "test", "unknown", "2", "3"] in leakage.rows
