"""Training: the float teacher, and the distillation of quantised designs from it."""
