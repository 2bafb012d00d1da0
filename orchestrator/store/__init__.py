"""The sweep on disk: places, attempts, one atomic commit, the rows of results.jsonl."""
