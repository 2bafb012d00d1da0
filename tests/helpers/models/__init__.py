"""Small models and tokenizers."""
