"""The driver of a sweep: hands out trials through Ray Tune and records how they end."""
