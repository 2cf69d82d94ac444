"""The pictures that an age threshold is chosen on: validation pictures where there are minors enough, else other test pictures.

A threshold that keeps a promise of at most a share p of the minors needs 1/p minors: of fewer, not one could pass. The first of these that
has as many for every fold is taken: the fold's own validation pictures; those of all folds without pictures and persons that this fold
tests; the test pictures of the other folds, or with one fold of the other fifths of its test pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agecascade.evaluation.legal_age import PROBABILITY, Question

OWN, POOLED = "own validation pictures", "validation pictures of all folds"
PARTS = 5  # of the test pictures, where there is one fold
FINEST = 1000  # steps of a threshold on the probability

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """The minors that thresholds are chosen on.

    part: (N,) of each test picture; question: what the minors are of, M pictures; minors: {part: which of them, (M,)}, for the T that the
    part is measured with; use: (M,), for the T to use; source: what they are, in words; remark: why they are test pictures.
    """

    part: NDArray[np.int64]
    question: Question
    minors: dict[int, Mask]
    use: Mask
    source: str
    remark: str = ""

    def threshold(self, decides: str, most: float) -> float:
        """The threshold to use."""
        return self._chosen(decides, most, self.use)

    def passing(self, tested: Question, decides: str, most: float) -> tuple[Mask, list[float]]:
        """Who passes (N,) of the test pictures, each by the threshold of its part; and these thresholds."""
        score = tested.scores[decides]
        passes, thresholds = np.zeros(len(score), bool), []
        for part, minors in self.minors.items():
            threshold = self._chosen(decides, most, minors)
            passes[self.part == part] = score[self.part == part] >= threshold  # False for NaN
            thresholds.append(threshold)
        return passes, thresholds

    def _chosen(self, decides: str, most: float, minors: Mask) -> float:
        score = self.question.scores[decides][minors]
        return chosen(score, candidates(decides, self.question.legal_age, score), most)


def choice_of(tested: Question, validated: Question | None, most: float, seed: int) -> Choice:
    """Where the thresholds of a row come from; validated: its validation pictures, None where none are kept, as of regressors."""
    if validated is None:
        return _on_tests(tested, seed, "T was chosen on test pictures: of a regressor, no predictions of validation pictures are kept")
    needed, found = math.ceil(1 / most - 1e-9), 0
    for source, minors in _validation_sources(tested, validated):
        fewest = min((len(np.unique(validated.sample_id[mask])) for mask in minors.values()), default=0)
        if fewest >= needed:
            return Choice(tested.fold, validated, minors, validated.minor, source)
        found = max(found, fewest)
    needs = f"a share of {100 * most:g} % needs {needed} minors, and a fold has {found} validation pictures of minors"
    return _on_tests(tested, seed, f"T was chosen on test pictures: {needs}")


def _validation_sources(tested: Question, validated: Question) -> Iterator[tuple[str, dict[int, Mask]]]:
    """What a threshold may be chosen on, and for each fold which validation pictures these are, minors alone."""
    folds = [int(fold) for fold in np.unique(tested.fold)]
    yield OWN, {fold: validated.minor & (validated.fold == fold) for fold in folds}
    if len(folds) > 1:
        apart = {}
        for fold in folds:
            here = tested.fold == fold
            known = np.isin(validated.sample_id, tested.sample_id[here]) | np.isin(validated.person, tested.person[here])
            apart[fold] = validated.minor & ~known
        yield POOLED, apart


def _on_tests(tested: Question, seed: int, remark: str) -> Choice:
    """Each part of the test pictures has its threshold from the others."""
    part, source = parts_of(tested, seed)
    minors = {int(each): tested.minor & (part != each) for each in np.unique(part)}
    return Choice(part, tested, minors, tested.minor, source, remark)


def parts_of(question: Question, seed: int) -> tuple[NDArray[np.int64], str]:
    """The part (N,) of each picture, and in words where the threshold of a part comes from.

    Parts are the folds; with one fold, PARTS of its pictures, each person in one of them.
    """
    if len(np.unique(question.fold)) > 1:
        return question.fold, "test pictures of the other folds"
    persons, number = np.unique(question.person, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(persons))
    return place[number] % PARTS, f"test pictures, the other {PARTS - 1} of {PARTS} parts"


def candidates(decides: str, legal_age: float, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The thresholds that are chosen from, ascending: whole years from the legal age on, or thousandths of a probability."""
    if decides == PROBABILITY:
        return np.arange(1, FINEST + 1) / FINEST
    last = max(math.ceil(legal_age), math.floor(scores.max(initial=legal_age)) + 1)
    return np.unique([legal_age, *range(math.ceil(legal_age), last + 1)]).astype(np.float64)


def chosen(minors: NDArray[np.float64], thresholds: NDArray[np.float64], most: float) -> float:
    """The lowest threshold that at most a share `most` of the minors' scores (n,) reaches; NaN, for which nobody passes, without any."""
    passing = len(minors) - np.searchsorted(np.sort(minors), thresholds)  # (M,)
    fits = passing <= most * len(minors) if len(minors) else np.zeros(len(thresholds), bool)
    return float(thresholds[fits.argmax()]) if fits.any() else math.nan
