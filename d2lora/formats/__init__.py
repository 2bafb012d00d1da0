"""An adapter outside of a model: its directory, PEFT's files, an ordinary LoRA of it."""
