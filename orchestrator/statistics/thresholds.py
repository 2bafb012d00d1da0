"""The numbers that decide whether a figure is given at all: from how many seeds, tasks and levels on."""

from __future__ import annotations

LEVELS = 3  # seeds on each of two axes, from which means over the grid are tested (docs/statistics.md)
SIGNIFICANT = 0.05
ONE_POINT = 0.01
ROUNDING = 1e-12
"""Accuracies are counts over items, so a spread or a mean difference below this is rounding, not a finding."""
SEEDS = 7
"""For the mean, or mean difference, over seeds: means of resamples never leave the range of what was seen."""
FEWEST, FREEDOM = 3, 8
"""For the mean over tasks: runs of each task, and runs in all beyond one a task."""
TASKS, SEEDS_OF_TASK = 6, 5
"""For the interquartile mean, which leaves out runs at both ends."""
SEEDS_OF_PAIR = 10
"""For the probability of improvement: of both methods, on each task."""
