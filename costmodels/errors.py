"""The error a cost model raises for input it cannot price."""


class CostModelError(ValueError):
    """A workload, accelerator or board is not one the cost models can price.

    The message is one line: what is wrong, where, and what to do.
    """
