"""The command line: `agecascade predict | explain | serve | export | datasets | study | tables | results`.

Nothing that is slow to import (torch, pandas, OpenCV, MLflow) is imported before a command runs.
"""

from agecascade.cli import export, photos, results, serve, studies, tables
from agecascade.cli.command import SOME_FAILED, app

__all__ = ["SOME_FAILED", "app", "export", "photos", "results", "serve", "studies", "tables"]
