"""What the data sets of a study hold: counts, Table 1, plots and contact sheets."""
