"""An adapter on disk: our own directory, PEFT's directory, and an ordinary LoRA made of any adapter."""
