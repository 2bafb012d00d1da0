"""The three jobs that run where the accelerators are: train a pack, measure widths, merge a champion."""
