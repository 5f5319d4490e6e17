"""How images are augmented: for a network on the CPU, on the device, and in words."""
