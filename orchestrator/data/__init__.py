"""Benchmark rows become tokens: sources, splits without leakage, a cache by content."""
