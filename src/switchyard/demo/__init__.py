"""The demo: a generated retailer, and one run of everything over it. The benchmarks use the same generator."""
