"""Memory and time before a run. Takes a recipe, a model's shape and token counts; gives an estimate; never runs a training step."""
