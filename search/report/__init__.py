"""The report of a run: one HTML file with its answer, tables, figures, cost and origins."""
