"""What a Ray worker does with a trial."""
