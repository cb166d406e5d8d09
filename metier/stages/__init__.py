"""The steps of the flow in `run.py`. Takes a `Workshop`; gives what the next step needs; never parses arguments."""
