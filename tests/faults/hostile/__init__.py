"""Hostile input: recipes, data sets, adapters, names and doors, none of which ends in a traceback."""
