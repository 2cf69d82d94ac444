"""Archives as streams of (name, bytes): folders, zip, tar and RecordIO files, and archives inside them, read in place."""

from agecascade.archives.archive import PICTURE_SUFFIXES, Archive, Member, is_litter, open_archives

__all__ = ["PICTURE_SUFFIXES", "Archive", "Member", "is_litter", "open_archives"]
