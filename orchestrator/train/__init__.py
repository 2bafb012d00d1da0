"""Many lanes through one model: passes, losses, scores, engines; knows no run folder."""
