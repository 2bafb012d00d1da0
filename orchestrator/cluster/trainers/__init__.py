"""The processes that train: how they are started on Ray, and the heart of each rank."""
