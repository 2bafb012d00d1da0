"""Where packs are trained and single functions run: in this process, or on Ray with trainers that stay up."""
