import pytest
import torch
from random_networks import random_images, randomise, timm_model
from torch import nn

from codesign.errors import UserError
from codesign.graph.capture import capture
from codesign.graph.execute import run
from codesign.graph.fold import fold_batch_norm
from codesign.graph.ir import Graph, resolve
from codesign.graph.outline import outline

FAMILIES = [
    ("mobilevit_xxs", 64, {}),
    ("mobilenetv3_small_050", 64, {}),
    ("deit_tiny_patch16_224", 32, {"img_size": 32, "depth": 2}),
    ("regnetx_002", 32, {}),
    ("mixer_s32_224", 64, {"img_size": 64}),
]


@pytest.mark.parametrize(("name", "size", "kwargs"), FAMILIES)
def test_graph_computes_what_timm_computes(name, size, kwargs):
    model = timm_model(name, **kwargs)
    graph = capture(model, (3, size, size), name)
    assert not [node for node in graph.nodes if node.op == "batch_norm"]
    for batch in (1, 3, 8):
        x = random_images(batch, size, seed=batch)
        with torch.no_grad():
            wanted = model(x)
        scale = wanted.abs().max()
        torch.testing.assert_close(run(graph, x) / scale, wanted / scale, atol=2e-5, rtol=0)
    assert {n.name for n in graph.layers} == {
        path for path, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }


OTHERS = [
    ("swin_tiny_patch4_window7_224", 64, {"img_size": 64, "window_size": 4, "depths": (2, 2)}),
    ("swinv2_tiny_window8_256", 64, {"img_size": 64, "window_size": 4, "depths": (2, 2)}),
    ("efficientvit_b0", 64, {}),
    ("mobilevitv2_050", 64, {}),
    ("xcit_nano_12_p8_224", 32, {"depth": 1, "cls_attn_layers": 1}),
    ("edgenext_xx_small", 64, {}),
    ("test_coatnet", 64, {"img_size": 64}),
    ("test_convnext", 32, {}),
    ("vit_tiny_patch16_dinov3_qkvb", 64, {"img_size": 64, "depth": 2}),
    ("poolformer_s12", 64, {}),
    ("densenet121", 32, {"block_config": (2, 2), "growth_rate": 8}),
    ("resnest14d", 64, {}),
    ("hgnetv2_b0", 64, {}),
    ("tresnet_m", 64, {"layers": (1, 1, 1, 1)}),
    ("convit_tiny", 32, {"img_size": 32, "depth": 2, "local_up_to_layer": 1}),
]


@pytest.mark.parametrize(("name", "size", "kwargs"), OTHERS)
def test_other_families_compute_what_timm_computes(name, size, kwargs):
    model = timm_model(name, **kwargs)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "gamma" in key or "ls" in key:  # layer scales start near zero
                parameter.uniform_(0.5, 1.5)
    graph = capture(model, (3, size, size), name)
    for batch in (1, 3):
        x = random_images(batch, size, seed=batch)
        with torch.no_grad():
            wanted = model(x)
        scale = wanted.abs().max()
        torch.testing.assert_close(run(graph, x) / scale, wanted / scale, atol=2e-5, rtol=0)


def test_shapes_and_order(mobilevit, images):
    seen: set[str] = set()

    def check(node, result):
        assert set(node.inputs) <= seen
        assert list(result.shape) == resolve(node.shape, len(images))
        seen.add(node.name)

    run(mobilevit, images, hook=check)
    assert len(seen) == len(mobilevit.nodes)
    assert mobilevit.nodes[0].op == "input"


def test_outline_counts_weights_and_work(mobilevit):
    model = timm_model("mobilevit_xxs")
    counted = {}

    def count(module, inputs, output):
        path = paths[module]
        per_output = module.weight[0].numel()
        counted[path] = (module.weight.numel(), output[0].numel() * per_output)

    paths = {m: p for p, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for module in paths:
        module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    infos = {info.name: info for info in outline(mobilevit).layers}
    assert {n: i.weight_elements for n, i in infos.items()} == {n: c[0] for n, c in counted.items()}
    for name, info in infos.items():
        # MobileViT folds the four pixel positions of a patch into the batch of its transformers
        folded = 4 if ".transformer." in name else 1
        assert info.macs == counted[name][1] * folded
    assert {infos[n].kind for n in infos if n.endswith("conv2_kxk.conv")} == {"depthwise"}


def test_saved_graph_loads_unchanged(mobilevit, images, tmp_path):
    (tmp_path / "graph.safetensors").write_bytes(mobilevit.save())
    again = Graph.load(str(tmp_path / "graph.safetensors"))
    assert again.to_json() == mobilevit.to_json()
    torch.testing.assert_close(run(again, images), run(mobilevit, images), atol=0, rtol=0)


class Net(nn.Module):
    """A stem and one more step."""

    def __init__(self, step):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.step = step
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.step(self.stem(x)).mean((2, 3)))


class Sorting(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 1)


class Forking(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.relu(x) + self.norm(x)


def test_unsupported_operations_name_operation_node_and_layer():
    with pytest.raises(UserError, match=r"'net'.*aten\.cumsum.*node cumsum.*in step"):
        capture(Net(Sorting()), (3, 8, 8), "net")


def test_batch_norm_that_shares_its_layer_becomes_an_affine_operation():
    net = randomise(Net(Forking()))
    graph = capture(net, (3, 8, 8), "net")
    assert [n.op for n in graph.nodes].count("affine") == 1
    x = random_images(3, 8)
    torch.testing.assert_close(run(graph, x), net(x), atol=1e-5, rtol=1e-5)


def test_models_torch_cannot_export_are_user_errors():
    class Branching(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(UserError, match=r"'net' cannot be captured by torch\.export"):
        capture(Net(Branching()), (3, 8, 8), "net")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm_folds_into_what_it_follows(bias, affine):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3, bias=bias),
        nn.BatchNorm2d(6, affine=affine),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 10),
    )
    net[1].running_mean.uniform_(-1, 1)
    net[1].running_var.uniform_(0.2, 3)
    if affine:
        randomise(net)
    graph = capture(net.eval(), (3, 9, 9), "net")
    x = random_images(5, 9)
    torch.testing.assert_close(run(graph, x), net(x), atol=1e-5, rtol=1e-5)
    assert fold_batch_norm(graph).to_json() == graph.to_json()
    assert [n.op for n in graph.nodes].count("batch_norm") == 0
