"""A base model from its name to a base that is fit to be trained on: found, fetched, fingerprinted, looked at once."""
