"""The parts of a sweep that the driver does: prepare, train in rounds, collect, make champions, publish."""
