"""Column norms of W + up down from thin products."""
