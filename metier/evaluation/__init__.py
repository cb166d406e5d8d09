"""How good, compared with what, how sure.

Takes systems and records; gives estimates with intervals; never trains a language model.
"""
