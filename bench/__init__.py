"""Side-by-side measurements against peers, each row one command.

takes: the packaged model, data sets in a folder, environments of peers (`python -m bench.peers make`).
gives: `docs/results/performance/*.json` (every repeat) and `docs/results/performance.md`, written from them.
never: runs both sides at once, or compares what was not first shown to be the same work.
"""
