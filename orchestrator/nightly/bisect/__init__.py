"""Find the change that made a cell worse: the cell is trained under one candidate after another, oldest to newest."""
