"""Stand-ins for clusters and their files."""
