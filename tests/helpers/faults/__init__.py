"""Faults, and the checks that they have lost nothing."""
