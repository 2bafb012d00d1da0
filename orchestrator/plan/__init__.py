"""A recipe becomes runs with keys, and runs become packs; pure."""
