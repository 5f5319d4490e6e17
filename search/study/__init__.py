"""One study: what it searches, with which sampler and pruner."""
