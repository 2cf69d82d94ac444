"""Names of files as text."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from agecascade.io.places import printable


@given(st.text(st.characters(codec=None)) | st.binary().map(os.fsdecode))
def test_any_name_can_be_written_and_a_plain_one_stays(name: str) -> None:
    text = printable(name)
    text.encode("utf-8")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        assert "\\" in text
    else:
        assert text == name
