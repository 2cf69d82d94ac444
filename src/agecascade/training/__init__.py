"""Training: the loop, the heads of all folds, the steps of the cascade, and the search of learning rate and batch size."""
