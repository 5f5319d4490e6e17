"""Where this checkout lies: what travels to the nodes of a cluster."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
