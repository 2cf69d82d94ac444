"""Evaluation of predictions: figures with confidence intervals, and tables of them."""
