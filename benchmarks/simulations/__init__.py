"""Searches tried on drawn results, before anything is trained by them."""
