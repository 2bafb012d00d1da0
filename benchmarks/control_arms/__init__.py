"""The arms of `benchmarks.control_plane`: runs that do nothing."""
