"""The head of Delta Age AdaIN: docs/explanation/daa.md."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agecascade.params.block import Block

DAA = "daa"  # the head, and the method that reads its estimates: neither goes without the other


class Daa(Block):
    """How a picture is compared with every age of the grid."""

    # the styles of the ages: of their binary codes (Eq. 7) or decimal ones, or of a training picture each, with one mean and one
    # deviation for all channels (Eq. 5) or one for each (Eq. 3)
    templates: Literal["binary", "decimal", "multi_channel", "single_channel"] = "binary"
    width: int = Field(64, ge=1)  # channels of the decoder's convolution
    variance: Literal["biased", "unbiased"] = "biased"  # 1/(hw) as printed, or 1/(hw - 1) as in the released code
    sampling: int = Field(1, ge=1)  # in use, every n-th age only (Tables 6 and 7)
    draw: int = Field(0, ge=0)  # which draw of the template pictures: the ablation is the mean of several
    nearest: bool = False  # an age that no training picture has takes one of the nearest age; else that is an error

    @property
    def head_options(self) -> dict[str, Any]:
        """What the network is made of."""
        return self.model_dump(include={"templates", "width", "variance", "sampling"})


def fault(method: str, head: str, head_options: dict[str, Any]) -> str | None:
    """Why the main row's method and head do not go together, in one line; None where they do."""
    if method == DAA != head:
        return f"method: {DAA} reads the estimates of head {DAA}, and head is {head}; set head: {DAA}"
    if head == DAA != method:
        return f"head: {DAA} gives what method {DAA} reads, and method is {method}; set method: {DAA}, or head: pooled"
    if head == DAA and head_options:
        return f"head_options: head {DAA} has a block of its own; say `{DAA}: {{...}}`, and head_options: {{}}"
    return None
