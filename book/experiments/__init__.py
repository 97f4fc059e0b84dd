"""The programs that made `book/data`, a file for each experiment with its runs."""
