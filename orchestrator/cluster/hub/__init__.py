"""The hub, a Ray actor: which trainer has which pack, which trainers hang, and when to try no more."""
