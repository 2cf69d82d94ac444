"""Numbers and their units as all tables, sentences and plots write them, so that one figure reads the same everywhere."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

from agecascade.io.files import SIGNIFICANT_DIGITS

YEARS, POINTS = "years", "points"
CSV_FORMAT = f"%#.{SIGNIFICANT_DIGITS}g"  # of numbers in tables' files: what is read back is written as the number itself is


def number_text(value: float, decimals: int = 2) -> str:
    """A number rounded to `decimals`, ties away from zero, without a minus before zero; `nan` and `inf` as they are.

    The number means its SIGNIFICANT_DIGITS, which files have: so a sum whose last bits differ, and a number that is read back from
    JSON or CSV, are written alike, also where they lie on either side of a tie.
    """
    if not math.isfinite(value):
        return str(value)
    meant = Decimal(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return f"{meant.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP):zf}"


def percent_text(share: float, decimals: int = 1) -> str:
    """A share as a percentage."""
    return f"{number_text(100 * share, decimals)} %"


def interval_text(low: float, high: float) -> str:
    """Both ends of an interval, to the hundredth."""
    return f"{number_text(low)} to {number_text(high)}"


def unit_of_labels(in_years: bool) -> str:
    """What labels and their errors are counted in: ages in years, ratings in points of their scale."""
    return YEARS if in_years else POINTS
