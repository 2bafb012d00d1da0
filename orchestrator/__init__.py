"""The sweep: `orchestrator.sweep` is the whole job; each folder beside it is a room with one subject."""
