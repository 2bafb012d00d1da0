"""The parts of a sweep that the driver process does around training."""
