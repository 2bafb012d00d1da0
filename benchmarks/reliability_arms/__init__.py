"""What plain Ray Tune does when its driver is killed, and what plain loaders do with damaged files."""
