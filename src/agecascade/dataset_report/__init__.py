"""Report on the data sets of a study: counts, Table 1, plots and contact sheets."""
