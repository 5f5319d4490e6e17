"""The files of a run: tables, storage, checkpoints, manifest and lease."""
