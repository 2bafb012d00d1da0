"""The loaded base at work: loaded with transformers, run on rows of several layouts, with logits only of answers."""
