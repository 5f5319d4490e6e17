"""Where hyperparameters are searched: ranges, suggested ranges and published settings."""
