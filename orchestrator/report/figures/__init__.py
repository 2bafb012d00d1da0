"""The geometry of the report's figures."""
