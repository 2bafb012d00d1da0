"""From the name of a base model to a base that can be trained on: fetched, fingerprinted, looked at once."""
