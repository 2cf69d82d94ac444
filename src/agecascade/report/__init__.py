"""The report of a study: one page assembled from the files that the other stages wrote, and a card for each of its models."""
