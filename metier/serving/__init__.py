"""Using the result. Takes a finished run and inputs; gives answers; never reads training data."""
