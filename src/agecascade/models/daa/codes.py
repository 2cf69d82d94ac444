"""Codes of the comparison ages: what the mapping learns a mean and a standard deviation from (DAA, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from agecascade.errors import ModelError, unknown_name

BITS = 8


def binary_codes(count: int) -> Tensor:
    """bin(y + 1) of the positions y = 0..count-1, most significant bit first, each row of length one: (count, 8).

    Raises ModelError for more ages than 8 bits hold.
    """
    if count >= 2**BITS:
        raise ModelError(f"templates: binary: {BITS} bits hold {2**BITS - 1} ages, the grid has {count}; give it a wider step")
    number = torch.arange(1, count + 1)
    bits = number[:, None] >> torch.arange(BITS - 1, -1, -1) & 1  # (count, 8)
    return functional.normalize(bits.to(torch.get_default_dtype()), dim=1)


def decimal_codes(count: int) -> Tensor:
    """The decimal digits of y + 1, as many as the last number has, divided by 9: (count, digits).

    The counter-test to binary codes. Rows are not brought to length one: that would give 1 to 9, and 11 and 22, the same code.
    """
    number = torch.arange(1, count + 1)
    powers = 10 ** torch.arange(len(str(count)) - 1, -1, -1)
    return (number[:, None] // powers % 10).to(torch.get_default_dtype()) / 9  # (count, digits)


CODES = {"binary": binary_codes, "decimal": decimal_codes}


def codes(kind: str, count: int) -> Tensor:
    """The codes of `count` ages. Raises ModelError for an unknown kind, naming the nearest known ones."""
    if kind not in CODES:
        raise ModelError(unknown_name("code", kind, CODES))
    return CODES[kind](count)
