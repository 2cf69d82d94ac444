"""Tracking with MLflow: no failure here ends a training.

store: its address, what it is told of a run, where its artifacts lie. names: as it takes them. answers: how long they are waited for.
tracker: the runs of a stage.
"""
