"""Plots and contact sheets as PNG files: the same numbers and pictures give the same bytes."""
