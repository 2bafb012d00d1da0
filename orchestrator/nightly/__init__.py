"""A night: the canary trained anew, the frontier brought up to date, a verdict, its page, and who is told."""
