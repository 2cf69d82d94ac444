from __future__ import annotations

import numpy as np
import pytest

from agecascade.archives import open_archives
from agecascade.datasets import fgnet, reader
from agecascade.datasets.base import Reject
from agecascade.errors import ParamsError
from agecascade.params import Clean
from publishers import outcome, rows_of, write_zip

POINTS = [(float(i), i + 0.5) for i in range(68)]


def pts(points=POINTS, version=1, count=None) -> bytes:
    lines = [
        f"version: {version}",
        f"n_points: {len(points) if count is None else count}",
        "{",
        *(f"{x:.3f} {y:.3f}" for x, y in points),
        "}",
    ]
    return "\n".join(lines).encode()


def read(tmp_path, files):
    return rows_of("fgnet", write_zip(tmp_path / "FGNET.zip", files))


def test_rows_with_five_points_before_the_68(tmp_path):
    files = {
        "FGNET/images/001A02.JPG": b"",
        "FGNET/points/001a02.pts": pts(),
        "FGNET/points/009a16a.pts": pts().replace(b"\n", b"\r\n"),
        "FGNET/images/009A16a.JPG": b"",
    }
    first, second = read(tmp_path, files)
    assert (first.sample_id, first.member, first.subject, first.label) == ("001A02", "FGNET/images/001A02.JPG", "001", 2.0)
    assert (second.sample_id, second.subject, second.label) == ("009A16a", "009", 16.0)
    assert first.landmarks == second.landmarks
    assert first.landmarks[:10] == (31.0, 31.5, 36.0, 36.5, 67.0, 67.5, 48.0, 48.5, 54.0, 54.5)
    assert first.landmarks[10:] == tuple(value for point in POINTS for value in point)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(pts(POINTS[:67]), id="67 points and said so"),
        pytest.param(pts(POINTS[:67], count=68), id="67 points"),
        pytest.param(pts([*POINTS, (0.0, 0.0)], count=68), id="69 points"),
        pytest.param(pts(version=2), id="version"),
        pytest.param(pts()[:-1], id="no closing brace"),
        pytest.param(pts().replace(b"3.500", b"x"), id="no number"),
        pytest.param(pts().replace(b" 3.500", b" nan"), id="nan"),
        pytest.param(b"\xff\xfe" + pts(), id="binary"),
    ],
)
def test_landmarks_that_cannot_be_read_are_a_reject(tmp_path, content):
    files = {"images/001A02.JPG": b"", "images/002A03.JPG": b"", "points/002a03.pts": pts()}
    reject, row = read(tmp_path, files | ({"points/001a02.pts": content} if content is not None else {}))
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == ("images/001A02.JPG", "landmarks_unreadable")
    assert "001a02.pts" in reject.detail
    assert row.sample_id == "002A03"


@pytest.mark.parametrize("name", ["01A02.JPG", "001B02.JPG", "001A2.JPG", "001A02ab.JPG", "face.JPG"])
def test_names_that_do_not_parse(tmp_path, name):
    (reject,) = read(tmp_path, {f"images/{name}": b""})
    assert (reject.member, reject.reason) == (f"images/{name}", "name_does_not_parse")


def test_sources():
    (source,) = fgnet.sources({})
    assert (source.file, source.url) == ("FGNET.zip", "https://yanweifu.github.io/FG_NET_data/FGNET.zip")
    with pytest.raises(ParamsError, match="unknown key 'set'"):
        fgnet.sources({"set": "imdb"})


def test_the_real_archive(mirror):
    with open_archives(mirror / "FGNET.zip") as archive:
        result = outcome(archive, reader("fgnet"), Clean(low=0, high=69, max_reject_rate=0), name="fgnet", workers=2)
    assert result.counts["kept"] == 1002
    assert result.counts["subjects"] == 82
    assert result.counts["rejected"] == {}
    assert (result.counts["label"]["min"], result.counts["label"]["max"]) == (0, 69)
    points = np.stack(result.manifest["landmarks"].to_pylist()).reshape(1002, 73, 2)
    right_eye, left_eye, nose, right_mouth, left_mouth = points[:, :5].transpose(1, 0, 2)
    assert np.all(right_eye[:, 0] < left_eye[:, 0])  # the subject's right is the picture's left
    assert np.all(right_mouth[:, 0] < left_mouth[:, 0])
    middle = (right_eye + left_eye) / 2
    assert np.all(middle[:, 1] < nose[:, 1])
    assert np.mean(nose[:, 1] < (right_mouth + left_mouth)[:, 1] / 2) > 0.99  # but for a bowed head and a wide smile
