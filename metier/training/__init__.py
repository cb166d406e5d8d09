"""Makes a model learn. Takes an adapted model and records; gives a `TrainedModel`; never evaluates."""
