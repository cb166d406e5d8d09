"""The systems of a run: baselines, base model, tuned model, and where their answers are kept.

Takes inputs without gold; gives answers.
"""
