"""The product of an adapted layer: one autograd function per precision, and what the functions are made of."""
