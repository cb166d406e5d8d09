"""Is a difference real: resampling, paired intervals, power, seeds, folds.

Takes counts per item; gives intervals and p-values; never sees a text.
"""
