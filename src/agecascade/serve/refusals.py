"""Why a server does not start, and why a request is refused: a status of HTTP and one line that says what to do."""

from __future__ import annotations

from agecascade.errors import AgecascadeError


class ServeError(AgecascadeError):
    """The server cannot start: an option makes no sense, or the address is taken."""


class Refusal(Exception):
    """A request that is not answered: `status` of HTTP, one line for the client, and further headers."""

    def __init__(self, status: int, line: str, **headers: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def body(self) -> dict[str, object]:
        """The answer's JSON."""
        return {"status": self.status, "error": self.line}
