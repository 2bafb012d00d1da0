"""The loaded base at work: opened through the one door to transformers, run only where answers are."""
