"""Cleaning: takes rows of text, gives repaired texts and doubts about rows; never removes a row by itself.

`STEPS` in `steps.py` is the stated order. A step either repairs a text (the same function runs on every future
input) or looks at all rows and names those that a person should doubt; policy, in `apply.py`, decides what happens.
"""
