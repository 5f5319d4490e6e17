"""Soups and ensembles of the networks that a sweep kept."""
