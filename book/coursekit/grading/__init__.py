"""A class and its results: reading what was handed in, judging it, points by hand."""
