"""Sweeps as a tracker shows them."""
