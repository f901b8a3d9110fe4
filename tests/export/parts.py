"""A small network ready to be shipped."""

import dataclasses

import torch
from random_networks import captured, lowered, random_design, random_images, small_vit

from codesign.data.memory import Jitter, MemorySplit
from codesign.evaluate.accuracy import score
from codesign.export.bundle import Shipment
from codesign.graph.workload import workload
from costmodels.accelerator import Accelerator
from costmodels.estimate import estimate


def make_shipment(graph, size, *, seed=0, accelerator=None, images=12, batch=1):
    x = random_images(images, size)
    design = random_design(graph, seed, accelerator or Accelerator(mac_rows=8, mac_cols=4))
    model = lowered(graph, design, x).with_info(design=design.key)
    work = workload(graph, design)
    split = MemorySplit(x, torch.arange(images) % 10, 3, Jitter())
    return Shipment(
        title="trial 7 of study small",
        model=model,
        design=design,
        cost=estimate(work, design.accelerator, gpus=["h200"], batch=batch),
        workload=work,
        validation=split,
        accuracy=score(model, split).accuracy,
        metrics={"accuracy": score(model, split).accuracy},
    )


def vit_shipment(**kwargs):
    return make_shipment(small_vit(), 32, **kwargs)


def convolutional_shipment(dataflow="os", depthwise_lanes=16):
    graph = captured("mobilenetv3_small_050", 32)
    accelerator = Accelerator(
        mac_rows=16, mac_cols=8, shift_rows=8, dataflow=dataflow, depthwise_lanes=depthwise_lanes
    )
    return make_shipment(graph, 32, seed=3, accelerator=accelerator, images=4)


replace = dataclasses.replace
