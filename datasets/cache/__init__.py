"""Decoded images on disk: each image is decoded once, and every process maps the same pages."""
