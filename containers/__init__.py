"""The images that benchmarks and the analysis run in: locking, building and choosing them."""
