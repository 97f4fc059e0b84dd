"""The website, bound: as one PDF, as an EPUB, as a zip to read without a network."""
