"""The loaded base: loading it with transformers, running rows in several layouts, and logits of answer tokens only."""
