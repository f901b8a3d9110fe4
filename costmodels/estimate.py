"""The front door of the cost models."""

from costmodels.cost import Cost, LayerCost

__all__ = ["Cost", "LayerCost"]
