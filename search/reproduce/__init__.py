"""A trial of a run, done again: the same numbers, the model, its predictions."""
