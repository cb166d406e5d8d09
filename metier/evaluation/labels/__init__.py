"""Metrics of labels: several at once, abstention, calibration, risk and coverage.

Takes items with labels and probabilities; never asks a model.
"""
