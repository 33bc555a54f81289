"""The benchmark: girih and its peers take turns on the same file with the same threads."""
