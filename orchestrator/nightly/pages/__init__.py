"""The page of a night and the trend page, from what a night has written: one file each, without scripts."""
