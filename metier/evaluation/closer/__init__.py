"""Where a system is weak and why: slices, gaps, robustness, the training rows beside an error.

Takes items; never changes a verdict.
"""
