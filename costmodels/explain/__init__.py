"""Where a design's time and resources go: `python -m costmodels.explain`.

`explain` turns a workload and an accelerator into rows, resources and roofs; `report` prints them,
`roofline` and `utilisation` draw them. None of these knows codesign. Only `inputs`, where a user
names a search space or a study, imports it, when asked to: a cost model must not need the search,
and a workload file or a bundle is explained without it.
"""

from costmodels.explain.explanation import Explanation, LayerRow, Resource, Roofs, explain

__all__ = ["Explanation", "LayerRow", "Resource", "Roofs", "explain"]
