"""Products, and the one autograd function of an adapted layer."""
