"""Intervals, tests, power and resampling of plain numbers; knows no sweep."""
