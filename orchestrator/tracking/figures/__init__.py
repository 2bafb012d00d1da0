"""The figures and tables that a tracker shows on a sweep's parents."""
