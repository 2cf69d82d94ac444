"""Features of pictures for classical learners: of a network's layers or hand-made; written to Parquet and read back."""

from agecascade.features.table import Features, load_features, write_features

__all__ = ["Features", "load_features", "write_features"]
