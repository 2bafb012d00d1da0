"""Simulations of the searches on random results, to know their errors and savings without training."""
