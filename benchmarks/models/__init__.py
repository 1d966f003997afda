"""Two small models that the benchmarks train themselves, from scratch, with seeds."""
