"""Where errands run: in this process, or on Ray with trainers that stay up."""
