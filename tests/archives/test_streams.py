"""Compressed streams: memory of the decoder, streams one after another, padding."""

from __future__ import annotations

import gzip
import lzma
import os

import pytest

from agecascade.archives import open_archives
from agecascade.errors import ArchiveError
from packed import contents, tarred


def test_an_xz_that_asks_for_gigabytes_is_refused(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    (tmp_path / "set.tar.xz").write_bytes(lzma.compress(tarred({"a.jpg": b"a"}), filters=filters))
    with pytest.raises(ArchiveError, match=r"[Mm]emory"):
        open_archives(tmp_path / "set.tar.xz")


def test_gzip_streams_one_after_another_and_padding(tmp_path):
    whole = tarred({"a.jpg": os.urandom(3000)})
    (tmp_path / "set.tar.gz").write_bytes(gzip.compress(whole[:2000]) + gzip.compress(whole[2000:]) + bytes(100))
    assert len(contents(tmp_path / "set.tar.gz")) == 1
    (tmp_path / "set.tar.gz").write_bytes(gzip.compress(whole) + b"<html>")
    with pytest.raises(ArchiveError, match="fetch it again"):
        contents(tmp_path / "set.tar.gz")
