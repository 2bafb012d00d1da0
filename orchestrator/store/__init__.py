"""The sweep on disk: where files lie, the attempts at a run, the atomic commit, and the rows of results.jsonl."""
