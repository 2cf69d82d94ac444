"""Shares of pictures with intervals that hold where persons have several pictures: Clopper and Pearson's, on an effective number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, t


class Rates(NamedTuple):
    """Shares of M events and the ends of their intervals, (M,) each, NaN where there is no picture."""

    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def rates(events: ArrayLike, persons: ArrayLike, confidence: float) -> Rates:
    """The share of pictures of which each event is true.

    events: (M, N) or (N,) truth values; persons: (N,) who is on each picture, any values that tell persons apart; confidence: in 0..1.
    Where every person has one picture, the interval is Clopper and Pearson's, which is exact: it holds at least the confidence. Else the
    number of pictures is replaced by an effective one, from the variance between persons (Korn and Graubard, 1998, "Confidence intervals
    for proportions with small expected number of positive counts estimated from survey data"); an event that is never or always true
    counts every person once. One person alone says nothing: 0 to 1.
    """
    happened = np.atleast_2d(np.asarray(events, dtype=np.float64))  # (M, N)
    pictures = happened.shape[1]
    if not pictures:
        return Rates(*np.full((3, len(happened)), np.nan))
    share = happened.mean(axis=1)
    number = _effective_number(happened, share, np.unique(np.asarray(persons).astype(str), return_inverse=True)[1], confidence)
    low, high = exact_interval(share * number, number, confidence)
    return Rates(share, low, high)


def exact_interval(count: ArrayLike, number: ArrayLike, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clopper and Pearson's interval of `count` in `number`, of any shape; neither needs to be whole."""
    positive, total = np.broadcast_arrays(np.asarray(count, dtype=np.float64), np.asarray(number, dtype=np.float64))
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(positive <= 0, 0.0, beta.ppf(tail, positive, total - positive + 1))
        high = np.where(positive >= total, 1.0, beta.ppf(1 - tail, positive + 1, total - positive))
    return low, high


def _effective_number(happened: NDArray[np.float64], share: NDArray[np.float64], person: NDArray[np.intp], confidence: float) -> NDArray:
    """How many independent pictures (M,) say as much as these; happened: (M, N), share: (M,), person: (N,) numbers from 0."""
    pictures, persons = happened.shape[1], int(person.max()) + 1
    if persons == pictures:
        return np.full(len(share), float(pictures))
    if persons == 1:
        return np.zeros(len(share))
    sums = np.zeros((len(share), persons))
    np.add.at(sums.T, person, (happened - share[:, None]).T)  # (M, P): how far each person's pictures lie from the share
    variance = persons / (persons - 1) * np.square(sums).sum(axis=1) / pictures**2  # of the share, between persons
    quantile = (1 + confidence) / 2
    correction = (t.ppf(quantile, pictures - 1) / t.ppf(quantile, persons - 1)) ** 2
    constant = (share == 0) | (share == 1) | (variance == 0)
    number = np.where(constant, persons, share * (1 - share) / np.where(variance > 0, variance, 1.0) * correction)
    return np.clip(number, 1.0, pictures)
