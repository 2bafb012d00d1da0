"""Norms of the columns of ``W + up down``, computed from thin products."""
