"""The sweep that every arm of `benchmarks.sweeps` must do, and the arms that are not ours."""
