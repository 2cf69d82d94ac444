"""Aligned Parquet -> pictures and labels: in memory, from a cache on disk, whole on a GPU, or streamed and decoded when used."""

from agecascade.imaging import resized
from agecascade.loading.faces import Faces, load_faces
from agecascade.loading.pictures import Images, OnDevice, Pictures, Stored, images_digest, order, portion

__all__ = ["Faces", "Images", "OnDevice", "Pictures", "Stored", "images_digest", "load_faces", "order", "portion", "resized"]
