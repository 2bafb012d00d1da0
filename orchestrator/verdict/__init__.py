"""The verdict of a night, from what was measured tonight and on earlier nights: pure decisions, no files, no clock."""
