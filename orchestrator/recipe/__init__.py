"""What a person asked for, checked: YAML and key=value words become a frozen SweepSpec, every error with its line."""
