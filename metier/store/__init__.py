"""The run folder and the cache: names, atomic files, fingerprints, lock file. Never knows what is inside a result."""
