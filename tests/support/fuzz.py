"""Coverage-guided fuzzing (atheris) of whatever reads bytes from strangers: only the errors that a caller is told of may come out.

python fuzz.py FOLDER CASES SEED [TARGET...]     all targets by default; a JSON object for each: target, cases, seconds, slowest, faults

The corpus begins with what publishers ship, as the project draws it: archives, tables, pictures, landmarks, weights. A fault is any other
error than those of the target, or a case that takes more than SLOW seconds; its input is written to FOLDER, to be looked at, and the
fuzzing goes on. Kinds of faults are told apart by error and place. One process imports everything, and forks for each
target, for atheris ends the process in which it is done.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["agecascade"]):
    from agecascade import imaging, model_folder, synthetic
    from agecascade.archives import Archive, Member
    from agecascade.archives.archive import open_archives
    from agecascade.archives.streams import Damaged
    from agecascade.datasets import READERS, reader
    from agecascade.datasets.base import ManifestRow, Reject
    from agecascade.datasets.fgnet import parse_points
    from agecascade.errors import AgecascadeError
    from agecascade.imaging import headers, soundness
    from agecascade.params import DrawSettings, check
    from agecascade.pretrained.reading import read_state
    from agecascade.pretrained.tensorflowjs import manifest
    from agecascade.study import load_safe

SLOW = 5.0  # seconds of a case
MEMORY = 6 << 30  # bytes of the process, beyond which a case fails with a MemoryError
LONGEST = 1 << 16  # bytes of a case
KINDS = 20  # of faults that are told
OUTCOME = "outcome.json"
PIXELS = 1.0  # megapixels: what is decoded stays quick
EXPECTED = (AgecascadeError,)

Case = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """What reads the bytes, the bytes to begin with, and the errors that its caller expects."""

    case: Case
    seeds: Callable[[], list[bytes]]
    expected: tuple[type[BaseException], ...] = EXPECTED


@dataclass
class Outcome:
    """What was found."""

    target: str
    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)  # {error and place: file with the input}


class Memory:
    """An archive of members in memory, as readers see archives."""

    def __init__(self, members: dict[str, bytes]) -> None:
        self.path = Path("fuzzed")
        self.skipped: dict[str, str] = {}
        self._members = members

    def members(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Member]:
        for name, content in self._members.items():
            if suffixes is None or name.lower().endswith(suffixes):
                yield Member(name, lambda content=content: content)  # type: ignore[misc]

    def check(self) -> None:
        """As Archive's."""


def drawn(name: str) -> dict[str, bytes]:
    """The members of a small archive of a reader, as its publisher ships it."""
    with tempfile.TemporaryDirectory() as folder:
        synthetic.write(name, Path(folder) / "drawn", DrawSettings(pictures=8, subjects=3), 0, 1)
        with open_archives(Path(folder) / "drawn") as archive:
            return {member.name: member.read() for member in archive.members()}


def pictures() -> list[bytes]:
    """A small picture in each format that is written here."""
    import cv2
    import numpy as np
    from PIL import Image

    pixels = np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3)
    found = [cv2.imencode(suffix, pixels)[1].tobytes() for suffix in (".jpg", ".png", ".webp", ".bmp")]
    found.append(cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes())
    for kind in ("GIF", "TIFF", "JPEG2000"):
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, kind)
            found.append(file.getvalue())
    return found


def packed(suffixes: tuple[str, ...]) -> Callable[[], list[bytes]]:
    """Whole archives of drawn data sets with these suffixes, cut to what a case may hold."""

    def seeds() -> list[bytes]:
        found = []
        for name in ("fgnet", "utkface", "vggface2", "ms_celeb", "adience", "imdb_wiki"):
            with tempfile.TemporaryDirectory() as folder:
                synthetic.write(name, Path(folder) / "drawn", DrawSettings(pictures=3, subjects=2), 0, 1)
                found += [path.read_bytes() for path in Path(folder).rglob("*") if path.name.endswith(suffixes)]
        return [content[:LONGEST] for content in found] or [b""]

    return seeds


def on_disk(suffix: str, read: Callable[[Path], object]) -> Case:
    """A case that is read from a file."""
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()) / f"fuzz-{os.getpid()}{suffix}"
    atexit.register(lambda: path.unlink(missing_ok=True))

    def case(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return case


def all_members(path: Path) -> int:
    """Read every member of an archive."""
    with Archive(path) as archive:
        return sum(len(member.read()) for member in archive.members())


def as_rows(name: str, archive: Any, options: dict[str, Any]) -> None:
    """All rows of a reader, each of which must be a row or a reject with an id."""
    for row in reader(name).rows(archive, options):
        assert isinstance(row, (ManifestRow, Reject)), type(row)


def names(name: str) -> Target:
    """The names of pictures are the input, a line each."""
    whole = drawn(name)

    def case(data: bytes) -> None:
        members = {line.decode("utf-8", "surrogateescape"): b"" for line in data.split(b"\n")}
        as_rows(name, Memory({**{key: value for key, value in whole.items() if not key.lower().endswith(".jpg")}, **members}), {})

    return Target(case, lambda: ["\n".join(whole).encode()])


def tables(name: str) -> Target:
    """The content of one table of a data set is the input, behind a byte that says which."""
    whole = drawn(name)
    texts = [key for key in whole if key.lower().endswith((".txt", ".csv", ".list", ".pts", ".json", ".tsv"))]

    def case(data: bytes) -> None:
        if data and texts:
            as_rows(name, Memory({**whole, texts[data[0] % len(texts)]: data[1:]}), {})

    return Target(case, lambda: [bytes([place]) + whole[key][: LONGEST - 1] for place, key in enumerate(texts)] or [b""])


def any_table(data: bytes) -> None:
    """An own table of a column of paths and one of labels."""
    columns = {"path": "file", "label": "age", "sigma": "sd", "gender": "sex", "subject": "who", "official": "side"}
    as_rows("csv_table", Memory({"table.csv": data, "a.jpg": b""}), {"table": "table.csv", "columns": columns})


def card(path: Path) -> object:
    folder = path.parent / f"{path.stem}-folder"
    folder.mkdir(exist_ok=True)
    path.replace(folder / "model.json")
    return model_folder.read_card(folder)


def read_params(data: bytes) -> object:
    try:
        content = load_safe(data.decode("utf-8", "replace"))
    except Exception:  # read_yaml's own business, which is a line each
        return None
    return check(content)


def decode(data: bytes) -> None:
    image = imaging.decode_image(data, PIXELS)
    assert image.dtype == "uint8"
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert (image.shape[1], image.shape[0]) == headers.picture_size(data)


def committed_params() -> list[bytes]:
    root = Path(__file__).resolve().parents[2]
    return [b"study: a\n", *((root / "studies" / f"{name}.yaml").read_bytes() for name in ("fgnet", "face_probe", "daa_utkface"))]


def cards() -> list[bytes]:
    root = Path(__file__).resolve().parents[2]
    return [path.read_bytes() for path in (root / "src" / "agecascade" / "released").rglob("model.json")] or [b"{}"]


def landmarks() -> list[bytes]:
    return [content for name, content in drawn("fgnet").items() if name.endswith(".pts")]


MANIFEST = b'[{"paths":["a.bin"],"weights":[{"name":"x/kernel","shape":[3,3,2,4],"dtype":"float32"}]}]'
WEIGHTS = [b"\x80\x04\x95", b"PK\x03\x04", struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + b"\0" * 10]

TARGETS: dict[str, Callable[[], Target]] = {
    "header": lambda: Target(lambda data: headers.known_header(data, PIXELS), pictures),
    "fault": lambda: Target(lambda data: soundness.picture_fault(data, PIXELS), pictures),
    "decode": lambda: Target(decode, pictures),
    "points": lambda: Target(parse_points, landmarks, (ValueError,)),
    "zip": lambda: Target(on_disk(".zip", all_members), packed((".zip",))),
    "tar": lambda: Target(on_disk(".tar.gz", all_members), packed((".tar", ".tar.gz", ".tgz"))),
    "recordio": lambda: Target(on_disk(".rec", all_members), packed((".rec",))),
    "own_table": lambda: Target(any_table, lambda: [b"file,age,sd,sex,who,side\na.jpg,30,1.5,m,x,train\n"]),
    "params": lambda: Target(read_params, committed_params),
    "model_card": lambda: Target(on_disk(".json", card), cards),
    "tensorflowjs": lambda: Target(manifest, lambda: [MANIFEST], (Damaged,)),
    "weights": lambda: Target(on_disk(".pth", read_state), lambda: WEIGHTS),
    "dlib": lambda: Target(on_disk(".dat", read_state), lambda: [b"\x01\x01" * 40]),
    **{f"names_{name}": lambda name=name: names(name) for name in READERS if name != "csv_table"},
    **{f"tables_{name}": lambda name=name: tables(name) for name in READERS if name != "csv_table"},
}


def fuzz(name: str, cases: int, seed: int, folder: Path) -> None:
    """Fuzz a target and write its outcome to FOLDER; does not return."""
    target, outcome = TARGETS[name](), Outcome(name)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    folder = folder / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(content)
    beginning = time.monotonic()

    def one(data: bytes) -> None:
        outcome.cases += 1
        start = time.monotonic()
        try:
            target.case(data)
        except target.expected:
            pass
        except Exception as error:
            tell(error, data)
        taken = time.monotonic() - start
        outcome.slowest = max(outcome.slowest, taken)
        if taken > SLOW:
            tell(TimeoutError(f"{taken:.0f} s"), data)

    def tell(error: Exception, data: bytes) -> None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "agecascade" in frame.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        kind = f"{type(error).__name__} at {place}"
        if kind not in outcome.faults and len(outcome.faults) < KINDS:
            path = folder / f"fault-{len(outcome.faults)}"
            path.write_bytes(data)
            outcome.faults[kind] = f"{path.name}: {str(error)[:300]}"

    def report() -> None:
        outcome.seconds = round(time.monotonic() - beginning, 2)
        (folder / OUTCOME).write_text(json.dumps(outcome.__dict__))

    atexit.register(report)
    limits = [f"-atheris_runs={cases}", f"-seed={seed + 1}", f"-max_len={LONGEST}", "-verbosity=0", "-rss_limit_mb=0", "-timeout=60"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
    atheris.Fuzz()


def main(folder: Path, cases: int, seed: int, names: list[str]) -> None:
    """Fuzz targets one after the other, and print the outcome of each; a process that died is a fault of its own."""
    for name in names or TARGETS:
        process = os.fork()
        if not process:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 2)
            fuzz(name, cases, seed, folder)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        place = folder / name / OUTCOME
        outcome = json.loads(place.read_text()) if place.exists() else Outcome(name).__dict__
        if not place.exists():
            outcome["faults"] = {"the process died": f"status {status}"}
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
