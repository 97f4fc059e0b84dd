"""The programs that made `book/data`: one file an experiment, its runs at the top."""
