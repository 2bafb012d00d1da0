"""The sweep that every arm of `benchmarks.sweeps` does, and the arms that run PEFT."""
