"""Synthesis of the template's small circuits, and the tables of what they take.

`python -m costmodels.characterize` synthesises the PEs of `reference/pe/*.v` and the memories of
`reference/memory/*.v` with Yosys and stores the counts, with the tool's version, in
`reference/pe.csv` and `reference/memory.csv`, which the cost models read.
"""
