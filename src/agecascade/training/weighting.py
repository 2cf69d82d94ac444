"""Weights for sparse ages: each picture counts as much as its age is rare."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agecascade.methods.base import Method


def class_weights(label: np.ndarray, grid: np.ndarray, kind: str) -> np.ndarray | None:
    """Weight (N,) float32 of each picture, their mean one; None for `none`.

    label: (N,), grid: (K,), both in label units. A label's class is the nearest grid value; its weight is 1/n (`inverse`)
    or 1/sqrt(n) (`inverse_sqrt`), where n pictures share the class.
    """
    if kind == "none":
        return None
    nearest = np.searchsorted((grid[1:] + grid[:-1]) / 2, label)  # (N,): the lower value on a tie
    shared = np.bincount(nearest, minlength=len(grid))[nearest].astype(float)
    weight = 1 / (shared if kind == "inverse" else np.sqrt(shared))
    return (weight / weight.mean()).astype(np.float32)


def weighted_terms(method: Method, outputs: Tensor, label: Tensor, sigma: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
    """The terms of the loss with each picture's weighed by `weight` (B,); plain means over the batch without one."""
    if weight is None:
        return method.terms(outputs, label, sigma)
    return {name: (weight * term).mean() for name, term in single_terms(method, outputs, label, sigma).items()}


def single_terms(method: Method, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """The terms of the loss of each picture alone, {name: (B,)}. A method's terms are means over a batch, here of one."""

    def alone(output: Tensor, age: Tensor, spread: Tensor) -> dict[str, Tensor]:
        return method.terms(output[None], age[None], spread[None])

    return torch.func.vmap(alone)(outputs, label, sigma)
