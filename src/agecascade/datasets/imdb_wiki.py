"""IMDB-WIKI, face crops: 460,723 pictures of celebrities in IMDB and 62,328 in Wikipedia (Rothe et al., 2016).

`imdb_crop/imdb.mat` lists the pictures with the birth date and the year of the photo; the crops keep a margin of 40 % of
the face box on each side, the picture's last pixels repeated where it ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, label_study, parse_options
from agecascade.datasets.tables import Table, mat_fields
from agecascade.errors import ArchiveError
from agecascade.io.places import Source
from agecascade.params import Block

if TYPE_CHECKING:
    import numpy as np

INFO = Info(
    title="IMDB-WIKI, face crops of IMDB",
    pictures=460_723,  # WIKI has 62,328
    subjects=20_284,
    label="age, years",
    licence="academic research only",
    access="direct",
    page="https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/",
    paper="Rothe et al., 2016",
    kept={"Cascaded fine-tuning": 171_858, "DAA, about, IMDB and WIKI": 300_000},
    settings=label_study(
        0,
        100,
        detector="annotation",
        options={"set": "imdb"},
        # the rules of cascaded fine-tuning, which reject five rows of eight: a face of score 1, no second one, the gender known
        min_face_score=1.0,
        max_second_face_score=0.0,
        require_gender=True,
        max_reject_rate=0.7,
    ),
)

URL = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/static/"
MARGIN = 0.4  # share of the face box, on each side

_NUMBERS = ("dob", "photo_taken", "gender", "face_score", "second_face_score")
_FIRST, _LAST = 367, 3652425  # MATLAB's serial numbers of 1 January 1 and 31 December 9999
_GENDERS = {0.0: "female", 1.0: "male"}


class Options(Block):
    """What params.yaml may say of IMDB-WIKI: which of its two sets."""

    set: Literal["imdb", "wiki"] = "imdb"


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archive of the chosen set."""
    file = f"{parse_options(Options, options).set}_crop.tar"
    return [Source(file, url=URL + file)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every row of the .mat file, in its order. The label is the age in whole years; gender NaN is null.

    Raises ArchiveError where the .mat file is missing, damaged or lacks a field.
    """
    import numpy as np

    chosen = parse_options(Options, options).set
    folder, content = _find(archive, chosen)
    table = Table(f"{archive.path}, {chosen}.mat", content)
    fields = mat_fields(table, chosen, ["full_path", "name"], _NUMBERS, title="IMDB-WIKI", optional="celeb_id")
    dob, taken = np.floor(fields["dob"]), fields["photo_taken"]
    valid = (dob >= _FIRST) & (dob <= _LAST) & (taken >= 1) & (taken <= 9999)
    age = age_at_mid_year(np.where(valid, dob, _FIRST), np.where(valid, taken, 1))
    subjects = _subjects(fields)
    for i, path in enumerate(fields["full_path"]):
        if not isinstance(path, str) or not path:
            yield Reject(f"{chosen}.mat row {i + 1}", "file_missing", "the row names no file")
            continue
        member = f"{folder}{path}"
        if not valid[i]:
            yield Reject(member, "date_out_of_range", f"born on day {dob[i]:.0f} of MATLAB's calendar, photographed in {taken[i]:.0f}")
            continue
        second = float(fields["second_face_score"][i])
        yield ManifestRow(
            sample_id=str(PurePosixPath(path).with_suffix("")),
            member=member,
            subject=subjects[i],
            label=float(age[i]),
            gender=_GENDERS.get(float(fields["gender"][i])),
            central_box=1 / (1 + 2 * MARGIN),
            face_score=float(fields["face_score"][i]),
            second_face_score=None if np.isnan(second) else second,
        )


def age_at_mid_year(dob: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Whole years from the birth date to 1 July of the year of the photo, by the publisher's formula.

    dob: (N,) MATLAB serial dates; taken: (N,) years in 1..9999. Returns (N,) int64: the year of
    `datevec(datenum(taken, 7, 1) - dob)`, MATLAB's calendar having 1 January of the year 0 as day 1.
    """
    import numpy as np

    day_zero = np.datetime64("-0001-12-31", "D")
    mid_year = (taken.astype(np.int64) - 1970).astype("datetime64[Y]").astype("datetime64[M]") + 6  # 1 July
    days = (mid_year.astype("datetime64[D]") - day_zero).astype(np.int64) - dob.astype(np.int64)
    return (day_zero + days).astype("datetime64[Y]").astype(np.int64) + 1970


def _find(archive: Archive, chosen: str) -> tuple[str, bytes]:
    """(folder that `full_path` counts from, content of the .mat file), from one pass that ends as soon as both are known."""
    folder = content = None
    others: list[str] = []
    for member in archive.members((*PICTURE_SUFFIXES, ".mat")):
        name = PurePosixPath(member.name)
        if name.suffix.lower() != ".mat":  # <folder>/<two digits>/<file>
            folder = folder if folder is not None else "".join(f"{part}/" for part in name.parts[:-2])
        elif name.stem == chosen:
            content = member.read()
        else:
            others.append(name.name)
        if folder is not None and content is not None:
            return folder, content
    if content is None:
        hint = f" but {' and '.join(others)}; is `options.set` right?" if others else "; it seems to be of another data set"
        raise ArchiveError(f"{archive.path} holds no {chosen}.mat{hint}")
    return "", content


def _subjects(fields: dict[str, np.ndarray]) -> list[str | None]:
    """The celebrity's number in IMDB; in WIKI, which has none, the name where there is one."""
    if "celeb_id" in fields:
        return [f"{number:.0f}" if math.isfinite(number) else None for number in fields["celeb_id"]]
    return [name if isinstance(name, str) and name else None for name in fields["name"]]
