"""The sweep file: its keys, their defaults and bounds."""
