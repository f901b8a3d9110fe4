"""Every layer of the default model: our cycles against SCALE-Sim's, for the three dataflows."""

import pytest
from random_networks import uniform_design

from codesign.graph.workload import workload
from costmodels.scalesim import layer_task, simulate
from costmodels.systolic import reported_cycles


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
@pytest.mark.parametrize(
    ("rows", "cols", "full"), [(32, 32, True), (16, 16, False), (8, 32, False)]
)
def test_cycles_equal_scale_sims_on_every_layer(mobilevit, dataflow, rows, cols, full):
    layers = workload(mobilevit, uniform_design(mobilevit)).layers
    assert len(layers) == 72 + 18  # 35 convolutions, 37 linears, two products of each attention
    seen = {}
    for layer in layers:
        task = layer_task(layer, rows, cols, dataflow)
        if task not in seen:
            seen[task] = simulate(task, None, full=full)
        ours = int(reported_cycles(layer.m, layer.k, layer.n, rows, cols, dataflow))
        assert ours == seen[task], layer.name
