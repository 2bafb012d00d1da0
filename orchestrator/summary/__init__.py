"""results.jsonl becomes summary.json: every figure, and the sentences that the figures allow."""
