"""One adapter per benchmark, found by its file name."""
