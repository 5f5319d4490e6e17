"""The error for data that cannot be used as they are."""

from __future__ import annotations


class DatasetError(ValueError):
    """What lies on disk is not the dataset, or no cache can be made of it; the user can help."""
