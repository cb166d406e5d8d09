"""Metrics of written answers.

Takes items; gives what each adds to a metric; never asks a model, but for the similarity that is passed in.
"""
