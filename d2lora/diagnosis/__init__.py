"""What training did to the weights, in numbers."""
