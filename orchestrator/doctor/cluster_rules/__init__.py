"""Rules for a file of `ray up`: what a cluster must not open, trust, lose or pay for."""
