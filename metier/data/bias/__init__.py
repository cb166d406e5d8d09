"""Bias and representation: takes rows, gives counts, associations and counterfactual copies; never a verdict.

Who is named in the data (`mentions.py`, by the word lists of `words/`), which labels or tones go with whom
(`associations.py`), what a text would say of another group (`counterfactuals.py`), and what a recipe can switch on
against it (`remedies.py`). The door is `screen.py`. The lists are English, and they name words: a screen, no measure.
"""
