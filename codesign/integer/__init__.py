"""The integer model and its executors, in torch and in NumPy."""
