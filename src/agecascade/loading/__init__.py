"""Aligned Parquet -> pictures and labels: in memory, from a cache on disk, whole on a GPU, or decoded as they are used."""

from agecascade.loading.decoding import resized
from agecascade.loading.faces import Faces, load_faces
from agecascade.loading.pictures import Images, OnDevice, Pictures, Stored, digest, order, portion

__all__ = ["Faces", "Images", "OnDevice", "Pictures", "Stored", "digest", "load_faces", "order", "portion", "resized"]
