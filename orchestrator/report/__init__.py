"""`summary.json` as one self-contained page."""
