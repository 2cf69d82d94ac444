"""Archives of any number of tiny members, written as a stream, and a walk over one in a process whose memory is limited."""

from __future__ import annotations

import gzip
import json
import os
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from agecascade.archives import open_archives

ROOT = Path(__file__).parents[2]
ADDRESS_SPACE = 1 << 30  # bytes that the walk's process may map
CONTENT = b"\xff\xd8\xff"
FOLDER = 1000  # files of a folder
AT_ONCE = 10_000


def name_of(number: int) -> bytes:
    return b"%07d/%08d.jpg" % (number // FOLDER, number)


def plain_tar(file: BinaryIO, count: int) -> None:
    """Ustar headers whose checksum is the sum of a template's bytes and of the name's."""
    rest = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % len(CONTENT) + b"%011o\0" % 0 + b" " * 8 + b"0" + bytes(100) + b"ustar\x0000"
    rest = rest.ljust(412, b"\0")
    content = CONTENT.ljust(512, b"\0")

    def members() -> Iterator[bytes]:
        for number in range(count):
            name = name_of(number).ljust(100, b"\0")
            yield b"".join((name, rest[:48], b"%06o\0 " % (sum(name) + sum(rest)), rest[56:], content))

    _write(file, members())
    file.write(bytes(1024))


def packed_tar(file: BinaryIO, count: int) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        plain_tar(packed, count)  # type: ignore[arg-type]


def plain_zip(file: BinaryIO, count: int) -> None:
    """Stored members, then the directory in a second pass over the numbers, and both of its ends."""
    check, size = zlib.crc32(CONTENT), len(CONTENT)
    sizes = struct.pack("<LLLHH", check, size, size, len(name_of(0)), 0)
    local, entry = b"PK\3\4\x14\0\0\0\0\0\0\0\0\0" + sizes, b"PK\1\2\x14\0\x14\0\0\0\0\0\0\0\0\0" + sizes + bytes(10)
    each = len(local) + len(name_of(0)) + size
    _write(file, (local + name_of(number) + CONTENT for number in range(count)))
    _write(file, (entry + struct.pack("<L", number * each) + name_of(number) for number in range(count)))
    start, length = count * each, count * (46 + len(name_of(0)))
    file.write(b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, count, count, length, start))
    file.write(b"PK\6\7" + struct.pack("<LQL", 0, start + length, 1))
    file.write(b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))


def plain_records(file: BinaryIO, count: int) -> None:
    content = CONTENT.ljust(4, b"\0")
    _write(file, (struct.pack("<LLIfQQ", 0xCED7230A, 28, 0, number // FOLDER, number, 0) + content for number in range(count)))


FILES: dict[str, Callable[[BinaryIO, int], None]] = {
    "many.tar": plain_tar,
    "many.tar.gz": packed_tar,
    "many.zip": plain_zip,
    "many.rec": plain_records,
}


def write_many(path: Path, count: int) -> Path:
    """An archive of `count` members at `path`, whose name decides the kind; a folder where it has no suffix."""
    if path.name in FILES:
        with path.open("wb", buffering=1 << 20) as file:
            FILES[path.name](file, count)
        return path
    for number in range(count):
        if number % FOLDER == 0:
            (path / os.fsdecode(name_of(number))).parent.mkdir(parents=True)
        (path / os.fsdecode(name_of(number))).write_bytes(CONTENT)
    return path


def _write(file: BinaryIO, members: Iterator[bytes]) -> None:
    while some := b"".join(islice(members, AT_ONCE)):
        file.write(some)


def walked(path: Path, address_space: int = ADDRESS_SPACE) -> dict[str, Any]:
    """What a new process says of a walk that reads all members: members, bytes, refused, error, seconds of the processor, peak_mib."""
    command = [sys.executable, str(Path(__file__)), str(path), str(address_space)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _walk(path: Path) -> dict[str, Any]:
    from agecascade.errors import ArchiveError

    said: dict[str, Any] = {"members": 0, "bytes": 0, "error": ""}
    start = time.process_time()
    try:
        with open_archives(path) as archive:
            for member in archive.members():
                said["members"] += 1
                said["bytes"] += len(member.read())
    except ArchiveError as error:
        said["error"] = str(error)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {**said, "refused": len(archive.skipped), "seconds": time.process_time() - start, "peak_mib": int(peak.split()[1]) / 1024}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
    print(json.dumps(_walk(Path(sys.argv[1]))))
