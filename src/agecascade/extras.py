"""What is installed: prediction alone, or an extra of the package; a library that is not there is one line with what to install."""

from __future__ import annotations

from agecascade.errors import AgecascadeError

PIPELINE = "pipeline"  # what trains, evaluates and exports
_EXTRAS = {  # import name of a library -> extra, where that is not PIPELINE
    "openvino": "openvino",
    "nncf": "openvino",
    "distributed": "dask",
    "dask": "dask",
    "ray": "ray",
    "s3fs": "s3",
    "pillow_heif": "heic",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "multipart": "serve",
    "prometheus_client": "serve",
}


class NotInstalledError(AgecascadeError):
    """A library is not installed that an extra of the package has."""


def not_installed(error: ModuleNotFoundError, what: str) -> NotInstalledError:
    """One line of a missing library: which it is, what needs it, how it is installed.

    Raises the error itself where the module is the package's own, for that is a fault of the installation.
    """
    library = (error.name or "").partition(".")[0]
    if library in ("", "agecascade"):
        raise error
    extra = _EXTRAS.get(library, PIPELINE)
    return NotInstalledError(f"{what} needs {library}, which is not installed: pip install 'agecascade[{extra}]'")
