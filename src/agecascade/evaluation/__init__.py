"""From predictions to figures with intervals, and from figures to tables."""
