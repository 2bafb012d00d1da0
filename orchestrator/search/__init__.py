"""Which runs to train next, and which no more: rules on results."""
