"""Delta Age AdaIN: age by comparison with every age (papers: Chen et al., DAA, 2022)."""

from agecascade.models.daa.head import DaaHead
from agecascade.models.daa.network import DaaNetwork
from agecascade.models.daa.styles import TEMPLATES

__all__ = ["TEMPLATES", "DaaHead", "DaaNetwork"]
