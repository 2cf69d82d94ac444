"""Random changes of training pictures, each with its own draw: on processors with OpenCV in threads, on a GPU as batches."""

from agecascade.augmentation.augmenter import Augmenter
from agecascade.augmentation.draw import LUMA, Draw
from agecascade.augmentation.normalising import plain

__all__ = ["LUMA", "Augmenter", "Draw", "plain"]
