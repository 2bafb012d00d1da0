"""The product of an adapted layer: one autograd function per precision, and the parts of these functions."""
