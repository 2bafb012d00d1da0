"""Checks of a cluster, its services and its description, each with a remedy; they change nothing."""
