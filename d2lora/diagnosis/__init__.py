"""What training did to the weights, in numbers (docs/diagnostics.md)."""
