"""The data stream: sample = f(run seed, iteration, index)."""
