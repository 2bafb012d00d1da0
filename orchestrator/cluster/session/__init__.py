"""The connection to Ray: which cluster, with which token and environment, and the folder of a local Ray."""
