"""The files of a run: where they lie, who writes them, and how they are read."""
