"""What one client may ask for, so that no request fills the memory or keeps the others waiting."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agecascade.params.data import MOST_MEGAPIXELS
from agecascade.serve.refusals import ServeError


@dataclass(frozen=True)
class Limits:
    """Bounds of a request, all of them inclusive; raises ServeError naming the option where one makes no sense.

    `places` requests are read, wait or are answered at the same time, so that at most places x megabytes of uploads are in memory.
    """

    megabytes: float = 24.0  # of a request's body, in units of 1,000,000 bytes
    megapixels: float = 50.0  # of a picture, read from its header before it is decoded
    pictures: int = 16  # of a request
    faces: int = 100  # of a picture, the largest first
    seconds: float = 30.0  # to receive a request, and as many again to answer it
    places: int = 16  # requests under way; a further one is told to come again (429)

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), 1 if each.type == "int" else 0
            if not (value >= least and value > 0 and value < float("inf")):  # so that NaN is refused
                raise ServeError(f"--max-{each.name}: a number above 0 is wanted, found {value}")
        if self.megapixels > MOST_MEGAPIXELS:
            raise ServeError(f"--max-megapixels: at most {MOST_MEGAPIXELS:g} can be decoded, found {self.megapixels:g}")

    @property
    def bytes(self) -> int:
        """Bytes of a request's body."""
        return int(self.megabytes * 1_000_000)
