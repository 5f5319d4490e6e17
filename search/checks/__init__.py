"""Loading and checking a sweep file."""
