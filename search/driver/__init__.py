"""The process that drives a sweep: what it knows, and its dealings with Ray Tune."""
