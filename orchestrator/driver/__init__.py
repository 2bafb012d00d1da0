"""The steps of a sweep that the driver takes: prepare, train in rounds, collect, make champions, publish."""
