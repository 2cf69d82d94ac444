"""Archives as streams of (name, bytes): folders, zip, tar and RecordIO files, and archives inside them, read in place."""

from agecascade.archives.archive import Archive, Member, open_archives

__all__ = ["Archive", "Member", "open_archives"]
