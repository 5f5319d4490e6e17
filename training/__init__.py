"""One training run: the update of each algorithm, the loop, evaluation and checkpoints."""
