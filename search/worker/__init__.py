"""The Ray worker: carries out one trial after another."""
