"""One thin file per command: parses, calls a door, prints."""
