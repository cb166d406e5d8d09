"""Systems that metier did not train: endpoints, recorded answers, other runs, adapters, judges, the harness.

Takes inputs; gives answers as the systems of a run do.
"""
