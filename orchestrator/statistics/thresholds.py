"""The numbers that decide whether a figure is given at all: from how many seeds, tasks and levels on."""

from __future__ import annotations

LEVELS = 3
"""The fewest seeds on each of two axes for an interval and a test of a mean over crossed runs (docs/statistics.md)."""
SIGNIFICANT = 0.05
"""A difference is shown if its corrected p is below this."""
ONE_POINT = 0.01
"""One point of accuracy, as a share."""
ROUNDING = 1e-12
"""A spread or a mean difference up to this is rounding, because accuracies are counts over items."""
SEEDS = 7
"""The fewest seeds for the bootstrap interval of a mean: resamples of few seeds have means too close to this mean."""
FEWEST, FREEDOM = 3, 8
"""For the bootstrap interval of the mean over tasks: the fewest runs per task, and in all beyond one per task."""
TASKS, SEEDS_OF_TASK = 6, 5
"""The fewest tasks, and seeds per task, for the interval of the interquartile mean, which leaves out extreme runs."""
SEEDS_OF_PAIR = 10
"""The fewest seeds of both methods, on each task, for the interval of the probability of improvement."""
