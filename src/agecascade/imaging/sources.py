"""What a person names on the command line, as one stream of pictures: files, folders, patterns, lists, archives, videos, cameras.

A name that is nothing ends the command before any work. What turns out later to be no picture, or ends too early, is a row with an
error, and the next input follows.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agecascade.archives import PICTURE_SUFFIXES, open_archives
from agecascade.archives.nested import SUFFIXES as ARCHIVE_SUFFIXES
from agecascade.errors import ArchiveError, FaceError
from agecascade.imaging import videos
from agecascade.imaging.inputs import VIDEO_SUFFIXES, Listing, Named, Unreadable, is_address, list_pictures
from agecascade.io.places import printable

LIST = "-"
WANTED = "a picture, a folder, a pattern such as 'photos/*.jpg', an archive, a video, camera:0, or - for a list of paths"
LONGEST_LIST = 64 << 20  # bytes of a list of paths


class Input(NamedTuple):
    """One input as it is understood: the pictures of paths, or a stream."""

    kind: str  # picture, archive, video, camera
    path: str


class Sources:
    """Several inputs as one stream of pictures, which can be read once: what a camera saw is gone."""

    def __init__(
        self, inputs: Sequence[str | os.PathLike[str]], *, every: int = 30, frames: int | None = None, listed: BinaryIO | None = None
    ) -> None:
        """inputs: WANTED. every: of a video or a camera every n-th frame, from the first. frames: at most so many of each; of a camera one.

        listed: where the paths of the input - are read from, one in a line, or with a zero byte behind each.
        Raises FaceError where an input is nothing of WANTED, or an empty folder.
        """
        if every < 1 or (frames is not None and frames < 1):
            raise FaceError(f"--every and --frames: 1 or more is wanted, found {every if every < 1 else frames}")
        self.every, self.frames = every, frames
        self.left_out: Counter[str] = Counter()
        self.places: list[Path] = []  # files and folders as they were named, in which nothing may be written
        self._inputs: list[Input] = []
        for name in inputs:
            understood = list(self._understood(os.fspath(name), listed))
            folder = Path(name).is_dir()
            self.places += [Path(name)] if folder else [Path(path) for kind, path in understood if kind != "camera"]
            self._inputs += understood

    @property
    def paths(self) -> list[Path]:
        """The files that are read."""
        return [Path(path) for kind, path in self._inputs if kind != "camera"]

    @property
    def framed(self) -> bool:
        """Whether a row needs the number of its frame."""
        return any(kind in ("video", "camera") for kind, _ in self._inputs)

    @property
    def total(self) -> int | None:
        """How many pictures there are, where that is known before they are read."""
        return len(self._inputs) if all(kind == "picture" for kind, _ in self._inputs) else None

    @property
    def remark(self) -> str:
        """What of folders was left out, such as "; left out: 3 .mov, 1 .txt"; empty where nothing was."""
        return Listing([], self.left_out).remark

    def __iter__(self) -> Iterator[Named]:
        streams: dict[str, Callable[[str], Iterator[Named]]] = {
            "archive": archived,
            "video": lambda path: videos.frames_of(path, self.every, self.frames),
            "camera": lambda path: videos.camera_frames(path, self.every, self.frames or 1),
        }
        for kind, path in self._inputs:
            if kind == "picture":
                yield Named(printable(path), path)
            else:
                yield from streams[kind](path)

    def _understood(self, name: str, listed: BinaryIO | None) -> Iterator[Input]:
        if not name.strip():
            raise FaceError(f"an empty name is no input; wanted is {WANTED}")
        if name == LIST:
            yield from (_file(path) for path in _listed(listed))
        elif name.startswith(videos.CAMERA) and not Path(name).exists():
            videos.require_camera(name)
            yield Input("camera", name)
        elif Path(name).is_dir():
            listing = list_pictures(Path(name))
            self.left_out += listing.left_out
            yield from (Input("picture", str(path)) for path in listing.paths)
        elif os.path.lexists(name):
            if not Path(name).is_file() and Path(name).exists():
                raise FaceError(f"{printable(name)} is a pipe or a device, not {WANTED}: save it as a file first")
            yield _file(name)
        elif is_address(name):
            raise FaceError(f"{printable(name)} is an address, and addresses are not read: download it first, and name the file")
        elif glob.has_magic(name):
            yield from self._matched(name)
        else:
            raise FaceError(f"{printable(name)} does not exist; wanted is {WANTED}")

    def _matched(self, pattern: str) -> Iterator[Input]:
        """What a pattern matches, sorted, each as if it were named; of files only those that are pictures, archives or videos by name."""
        recursive = "**" in pattern  # then what is in folders is matched itself
        found = [path for path in sorted(glob.glob(pattern, recursive=True)) if not (recursive and Path(path).is_dir())]  # noqa: PTH207
        if not found:
            raise FaceError(f"{printable(pattern)} matches nothing; * is for any letters, ? for one, ** for folders in folders")
        known = (*PICTURE_SUFFIXES, *ARCHIVE_SUFFIXES, *VIDEO_SUFFIXES)
        wanted = [path for path in found if Path(path).is_dir() or path.lower().endswith(known)]
        others = sorted(set(found) - set(wanted))
        self.left_out.update(printable(Path(path).suffix.lower()) or "without a suffix" for path in others)
        if not wanted:
            raise FaceError(f"{printable(pattern)} matches no picture{self.remark}")
        for path in wanted:
            yield from self._understood(path, None)


def archived(path: str) -> Iterator[Named]:
    """The pictures of an archive and of those inside it, named after it; what cannot be read is a picture with a reason."""
    name, count = printable(path), 0
    try:
        with open_archives(Path(path)) as archive:
            for member in archive.members(PICTURE_SUFFIXES):
                count += 1
                yield Named(f"{name}/{printable(member.name)}", _content(member.read, f"{path}, member {member.name}"))
            for refused, reason in archive.skipped.items():
                if refused.lower().endswith((*PICTURE_SUFFIXES, *ARCHIVE_SUFFIXES)):
                    count += 1
                    yield Named(f"{name}/{printable(refused)}", Unreadable(f"cannot be read: {reason}"))
    except (ArchiveError, OSError) as error:
        yield Named(name, Unreadable(_reason(error, path)))
        return
    if not count:
        yield Named(name, Unreadable(f"the archive holds no picture; looked for {', '.join(PICTURE_SUFFIXES)}"))


def _content(read: Callable[[], bytes], place: str) -> bytes | Unreadable:
    try:
        return read()
    except ArchiveError as error:
        return Unreadable(_reason(error, place))


def _reason(error: Exception, place: str) -> str:
    """What is wrong, without the place that the row names beside it."""
    text = " ".join(str(error).split())
    reason = text.removeprefix(" ".join(place.split())).lstrip(",: ")
    return f"it {reason}" if reason != text and not reason.startswith("member ") else reason


def _file(path: str) -> Input:
    """What a file is, by its name; what it holds shows when it is read."""
    lower = path.lower()
    if Path(path).is_file() and lower.endswith(ARCHIVE_SUFFIXES):
        return Input("archive", path)
    return Input("video" if Path(path).is_file() and lower.endswith(VIDEO_SUFFIXES) else "picture", path)


def _listed(stream: BinaryIO | None) -> Iterable[str]:
    """The paths of a list: lines, or what stands before zero bytes, as `find -print0` writes them. Raises FaceError where it is none."""
    if stream is None:
        raise FaceError("-: there is no standard input to read a list of paths from")
    content = stream.read(LONGEST_LIST + 1).removeprefix(b"\xef\xbb\xbf")  # the mark of UTF-8 that Windows writes
    if len(content) > LONGEST_LIST:
        raise FaceError(f"-: the list on standard input has more than {LONGEST_LIST:,} bytes; give it in parts")
    if content.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF", b"PK\3\4", b"GIF8")):
        raise FaceError("-: standard input holds a picture or an archive, and a list of paths is wanted: save it as a file, and name that")
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [os.fsdecode(line) for line in lines if line.strip()]
    if not paths:
        raise FaceError("-: the list on standard input is empty; write a path in each line")
    return paths
