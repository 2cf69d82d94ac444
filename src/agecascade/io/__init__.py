"""Files and folders: places, fetching, storage, resuming after an interruption, and workers."""
