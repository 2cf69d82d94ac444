"""The loop, the cascade and its folds, inference."""
