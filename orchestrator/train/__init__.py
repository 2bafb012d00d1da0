"""Training many lanes on one base: passes, losses, scores, engines. This package knows no run folder."""
