"""Searches over hyperparameters with Ray Tune and Optuna, and the tables they leave."""
