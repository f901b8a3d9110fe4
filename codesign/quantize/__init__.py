"""From a float graph and a design to calibrated formats and an integer model."""
