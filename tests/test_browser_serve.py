"""The page of `agecascade serve` in a real browser (`uv run pytest -m browser`): a photo is chosen, and its ages are read on the page."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agecascade.imaging import decode_image, encode_image
from browser import launched
from images import noise
from model_folders import CROP, write_model
from served import Served, served

pytestmark = pytest.mark.browser
WAIT = 120_000  # milliseconds
AGES = [float(age) for age in range(15, 23)]
VIEWS = {
    "light": {"viewport": {"width": 1200, "height": 900}},
    "dark": {"viewport": {"width": 1200, "height": 900}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 360, "height": 780}},
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether YuNet and real photos are there; else each picture is a face."""
    mirror = Path(os.environ.get("AGECASCADE_MIRROR", "../shared/mirror"))
    return (mirror / "FGNET.zip").is_file()


@pytest.fixture(scope="module")
def photos(found: bool, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two portraits side by side, and a picture without a face; or two drawn ones."""
    folder = tmp_path_factory.mktemp("photos")
    if found:
        with zipfile.ZipFile(Path(os.environ.get("AGECASCADE_MIRROR", "../shared/mirror")) / "FGNET.zip") as archive:
            names = sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[12:14]
            portraits = [cv2.resize(decode_image(archive.read(name)), (330, 400)) for name in names]
        (folder / "two.jpg").write_bytes(encode_image(np.hstack(portraits).astype(np.uint8), "jpeg", 95))
        (folder / "none.png").write_bytes(encode_image(np.full((120, 200, 3), 90, np.uint8), "png", 0))
    else:
        for name in ("two.jpg", "none.png"):
            (folder / name).write_bytes(encode_image(noise(0, 200, 200), "png", 0))
    (folder / "text.jpg").write_text("no picture")
    return [folder / name for name in ("two.jpg", "none.png", "text.jpg")]


@pytest.fixture(scope="module")
def server(found: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model that says 19 years, 17 to 21, of every face."""
    folder = tmp_path_factory.mktemp("served")
    learned = [{"step": "target", "dataset": "target", "pictures": 320, "drawn": True}]
    crop = CROP | {"detector": "yunet" if found else "whole"}
    model = write_model(folder / "model", 4, grid=AGES, crop=crop, trained_on=learned)
    with served(model, folder / "log", "--max-megabytes", "2") as server:
        yield server


@pytest.mark.parametrize("view", VIEWS)
def test_a_photo_is_chosen_and_its_ages_are_read(
    chromium: Any, server: Served, photos: list[Path], found: bool, view: str, tmp_path: Path
) -> None:
    faults: list[str] = []
    requests: list[str] = []
    page = chromium.new_page(**VIEWS[view])
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(server.address)
    page.locator(".pill.ready").wait_for()
    assert page.inner_text("#model") == "test/target/dldl_v2-tinyagenet-s0"
    assert page.inner_text("#note").startswith("The model has seen drawn faces alone (target)")
    page.get_by_label("Legal age").fill("18")
    page.get_by_label("Challenge age").fill("20")
    page.get_by_label("Show what adds to the estimate").check()
    page.set_input_files("#files", photos[:2])
    first = page.locator("article", has_text="two.jpg")
    first.locator(".face").first.wait_for()
    count = 2 if found else 1
    assert first.locator(".face").count() == first.get_by_role("button", name="Face").count() == count
    assert first.locator(".age").first.inner_text() == "19.0 years"
    assert first.locator(".interval").first.inner_text() == "80 % interval 17.0 to 21.0"
    assert first.locator(".decision").first.inner_text() == "ask for proof"
    assert first.get_by_role("img", name="Distribution of the age: Face 1: 19.0 years, 80 % interval 17.0 to 21.0").count() == 1
    assert first.get_by_role("img", name="Score map over the face").count() == count
    assert page.evaluate("[...document.querySelectorAll('.sheet img')].every(image => image.naturalWidth > 0)")
    second = page.locator("article", has_text="none.png")
    second.locator(".message, .face").first.wait_for()
    assert second.locator(".faces").inner_text().startswith("No face found." if found else "19.0 years")
    page.get_by_label("Challenge age").fill("19")  # the question is asked again
    page.get_by_label("Challenge age").fill("")
    page.get_by_text("Passes: whose whole 80 % interval lies at 18 or above").wait_for()
    page.get_by_label("Legal age").fill("17")
    first.get_by_text("passes").first.wait_for()
    page.screenshot(path=Path(os.environ.get("AGECASCADE_SCREENSHOTS", tmp_path)) / f"serve_{view}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= VIEWS[view]["viewport"]["width"], "the page scrolls sideways"
    assert all(url.startswith((server.address, "blob:", "data:")) for url in requests)
    assert not faults
    page.close()


def test_the_page_works_by_keyboard(chromium: Any, server: Served, photos: list[Path], found: bool) -> None:
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(WAIT)
    page.on("filechooser", lambda chooser: None)  # from now on, so that no system's dialog takes the key
    page.goto(server.address)
    page.locator(".pill.ready").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photos[0])
    page.locator(".face").first.wait_for()
    reached = []
    while len(reached) < 20 and (not reached or reached[-1] != "A"):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.className || document.activeElement.id || document.activeElement.tagName"))
    count = 2 if found else 1
    assert [name.partition(" ")[0] for name in reached] == ["threshold", "maps", "close", *["box"] * count, "faces", "A"]
    page.locator(".box").last.focus()
    assert page.evaluate("[...document.querySelectorAll('.face')].map(face => face.classList.contains('chosen'))")[-1]
    assert page.inner_text("#said").startswith(f"two.jpg: {count} face")
    page.get_by_role("button", name="Remove two.jpg").press("Enter")
    assert page.locator("article").count() == 0
    assert page.evaluate("document.activeElement.id") == "files"
    page.close()


def test_what_cannot_be_answered_is_said_on_the_page(chromium: Any, server: Served, photos: list[Path], tmp_path: Path) -> None:
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(WAIT)
    page.goto(server.address)
    page.locator(".pill.ready").wait_for()
    page.set_input_files("#files", photos[2])
    page.get_by_role("alert").get_by_text("text.jpg: its 10 bytes are no picture").wait_for()
    assert page.get_by_text("This browser cannot show the format").count() == page.locator(".sheet").count() == 0
    page.get_by_role("button", name="Remove text.jpg").click()
    (tmp_path / "large.jpg").write_bytes(b"x" * 2_500_000)
    page.set_input_files("#files", tmp_path / "large.jpg")
    page.get_by_role("alert").get_by_text("large.jpg has 2.5 MB; this server takes 2 MB.").wait_for()
    page.get_by_role("button", name="Remove large.jpg").click()
    page.set_input_files("#files", photos[0])
    page.locator(".face").first.wait_for()
    page.get_by_label("Legal age").fill("70")
    page.get_by_text("threshold: 70 does not lie within the grid of the model, 15 to 22").wait_for()
    assert page.get_by_label("Legal age").get_attribute("aria-invalid") == "true"
    assert page.locator(".face").count() > 0, "what was answered before stays"
    page.close()


def test_a_picture_that_the_browser_cannot_show_has_its_boxes_all_the_same(
    chromium: Any, server: Served, photos: list[Path], tmp_path: Path
) -> None:
    image = decode_image(photos[0].read_bytes())
    cv2.imwrite(str(tmp_path / "two.jp2"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(WAIT)
    page.goto(server.address)
    page.locator(".pill.ready").wait_for()
    page.set_input_files("#files", tmp_path / "two.jp2")
    page.locator(".face").first.wait_for()
    page.get_by_text("This browser cannot show the format").wait_for()
    outline = page.locator(".outline").bounding_box()
    assert outline["width"] / outline["height"] == pytest.approx(image.shape[1] / image.shape[0], rel=0.02)
    assert page.locator(".box").first.bounding_box()["width"] > 10
    page.close()


def crowd() -> dict[str, Any]:
    """An answer with 63 faces in 1000 x 700 pixels: rows from the top edge on, a gap of 4 pixels between heads, and three tiny faces."""
    boxes = [(10 + 99 * x, 3 + 114 * y, 100 + 99 * x, 112 + 114 * y) for y in range(6) for x in range(10)]
    boxes += [(700, 690, 708, 699), (709, 690, 717, 699), (20, 20, 30, 30)]
    rows = [
        {"picture": 0, "path": "crowd.png", "face": face, "value": 20.0 + face, "low": 10.0, "high": 90.0, "note": None, "error": None}
        | dict(zip(("left", "top", "right", "bottom"), box, strict=True))
        for face, box in enumerate(boxes)
    ]
    picture = {"name": "crowd.png", "width": 1000, "height": 700, "faces_left_out": 0}
    return {"model": "test", "pictures": [picture], "rows": rows, "grid": None}


# [labels over another face's box, over another label, outside of the sheet, labels that are shown, boxes]
LOOK = """() => {
  const both = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low]);
  const meet = (a, b) => both(a, b, "left", "right") > 0.5 && both(a, b, "top", "bottom") > 0.5;
  const boxes = [...document.querySelectorAll(".box")], edges = boxes.map(box => box.getBoundingClientRect());
  const sheet = document.querySelector(".sheet").getBoundingClientRect();
  const labels = boxes.map(box => box.querySelector(".label")).map(label => label.hidden ? null : label.getBoundingClientRect());
  const over = labels.filter((label, i) => label && edges.some((edge, j) => j !== i && meet(label, edge)));
  const twice = labels.filter((label, i) => label && labels.some((other, j) => j < i && other && meet(label, other)));
  const out = labels.filter(label => label && !(label.top > sheet.top - 3 && label.left > sheet.left - 3 && label.right < sheet.right + 3));
  return [over.length, twice.length, out.length, labels.filter(Boolean).length, boxes.length];
}"""


def show_crowd(page: Any, server: Served, folder: Path) -> None:
    """Let the page show the answer of `crowd` for a grey picture."""
    page.set_default_timeout(WAIT)
    page.route("**/predict?*", lambda route: route.fulfill(json=crowd()))
    page.goto(server.address)
    page.locator(".pill.ready").wait_for()
    (folder / "crowd.png").write_bytes(encode_image(np.full((700, 1000, 3), 120, np.uint8), "png", 100))
    page.set_input_files("#files", folder / "crowd.png")
    page.locator(".box .label").first.wait_for()


@pytest.mark.parametrize("view", VIEWS)
def test_labels_in_a_crowd_hide_no_other_face_and_no_other_label(chromium: Any, server: Served, view: str, tmp_path: Path) -> None:
    page = chromium.new_page(**VIEWS[view])
    show_crowd(page, server, tmp_path)
    page.screenshot(path=Path(os.environ.get("AGECASCADE_SCREENSHOTS", tmp_path)) / f"crowd_{view}.png", full_page=True)
    over, twice, out, shown, boxes = page.evaluate(LOOK)
    assert (over, twice, out, boxes) == (0, 0, 0, 63)
    assert shown >= 59, "but for the tiny faces, and the one that a tiny one lies upon"
    tiny = page.locator(".box").last
    assert not tiny.locator(".label").is_visible()
    assert not tiny.locator(".full").is_visible()
    tiny.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert tiny.locator(".full").inner_text() == "82.0 years, 10.0 to 90.0"
    assert tiny.locator(".full").is_visible()
    first = page.locator(".box").first
    first.hover()
    assert first.locator(".full").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= VIEWS[view]["viewport"]["width"], "the page scrolls sideways"
    page.close()


def test_labels_follow_the_width_of_the_page(chromium: Any, server: Served, tmp_path: Path) -> None:
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    show_crowd(page, server, tmp_path)
    page.wait_for_function("() => document.querySelectorAll('.box .label')[1].textContent === '21.0'")
    page.set_viewport_size({"width": 360, "height": 780})
    page.wait_for_function("() => document.querySelectorAll('.box .label')[1].textContent === '21'")
    assert page.evaluate(LOOK)[:3] == [0, 0, 0]
    page.close()
