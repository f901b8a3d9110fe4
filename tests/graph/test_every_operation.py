"""Every operation a network may use: captured, run in float, lowered, and replayed in integers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from random_networks import lowered, uniform_design
from torch import nn

from codesign.errors import UserError
from codesign.graph.capture import capture
from codesign.graph.execute import run
from codesign.graph.ir import resolve
from codesign.graph.workload import workload
from codesign.integer import replay
from codesign.integer.torch_executor import TorchExecutor

CHANNELS, SIZE = 6, 8
VECTOR = torch.linspace(-1.0, 2.0, CHANNELS).reshape(-1, 1, 1)
MAP = torch.linspace(-1.0, 1.0, SIZE * SIZE).reshape(SIZE, SIZE)


class Net(nn.Module):
    """A convolution of six channels, and a step on its (batch, 6, 8, 8) result."""

    def __init__(self, step):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        if isinstance(step, nn.Module):
            self.step = step
        else:
            self.function = step

    def forward(self, x):
        x = self.stem(x)
        return self.step(x) if hasattr(self, "step") else self.function(x)


def changed_in_place(x):
    y = x + 1
    z = y
    y.relu_()
    return z * x


def changed_copy(x):
    y = x.clone()
    y.relu_()
    return x + 2 * y


def table(x):
    """A relative position table, read by indices that are computed: all of it constant."""
    places = torch.arange(4)
    index = (places[:, None] - places[None, :] + 3).reshape(-1)
    bias = torch.linspace(-1, 1, 14).reshape(7, 2)[index].view(4, 4, 2).permute(2, 0, 1)
    grid = torch.stack(torch.meshgrid(places, places, indexing="ij")).float().flatten(1)
    scores = x.reshape(x.shape[0], 6, 4, 16)[:, :2] @ x.reshape(x.shape[0], 6, 16, 4)[:, 2:4]
    return (scores + bias.unsqueeze(0) + grid.mean() * 0.1).softmax(-1)


def windows(x):
    """Windows folded into the batch, with a mask for each window."""
    batch = x.shape[0]
    parts = x.view(batch, 6, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, 6)
    scores = parts @ parts.transpose(-2, -1)
    mask = torch.zeros(4, 16, 16)
    mask[1:, :8, 8:] = -3.0
    scores = scores.view(batch, 4, 16, 16) + mask.unsqueeze(0)
    return scores.view(-1, 16, 16).softmax(-1) @ parts


def class_token(x):
    token = torch.linspace(-1, 1, 6).reshape(1, 1, 6).expand(x.shape[0], -1, -1)
    tokens = torch.cat([token, x.flatten(2).transpose(1, 2)], dim=1)
    return tokens[:, 0] + tokens[:, 1:].mean(1)


def periodic_constant(x):
    """Rows that repeat over a batch of which each image has six."""
    rows = torch.linspace(-1, 1, 6 * 64).reshape(6, 8, 8).repeat(x.shape[0], 1, 1)
    return x.flatten(0, 1) + rows


def attention(x, **settings):
    q, k, v = x.reshape(x.shape[0], 6, 4, 16).chunk(3, dim=1)
    return F.scaled_dot_product_attention(q, k, v, **settings)


def rotary(x):
    angle = torch.arange(SIZE).float()[:, None] * torch.linspace(0.1, 1, SIZE)[None]
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
    return x * angle.cos().type_as(x) + turned * angle.sin().to(x.dtype)


def normed_rows(x):
    rows = x.flatten(2)
    return rows * torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + 1e-5)


def weight_standardised(x):
    weight = torch.linspace(-1, 1, 6 * 6 * 9).reshape(6, 6, 3, 3)
    variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True)
    return F.conv2d(x, (weight - mean) / torch.sqrt(variance + 1e-5), padding=1)


def linear_attention(x):
    q, k, v = (F.relu(part) for part in x.flatten(2).transpose(1, 2).chunk(3, dim=-1))
    v = F.pad(v, (0, 1), value=1.0)
    both = q @ (k.transpose(1, 2) @ v)
    return both[..., :-1] / (both[..., -1:] + 1e-5)


STEPS = {
    "numbers": lambda x: (3 - (x + 1) * 0.5 / 4 - 0.25) * -2,
    "vectors": lambda x: x * VECTOR + VECTOR - x / (VECTOR + 3),
    "vector on the left": lambda x: VECTOR * x,
    "maps": lambda x: x * MAP + MAP - x,
    "subtracted": lambda x: x - x.mean((2, 3), keepdim=True),
    "reversed subtraction": lambda x: torch.rsub(x, 2.0, alpha=3.0),
    "addition with alpha": lambda x: torch.add(x, x.relu(), alpha=0.5),
    "addcmul": lambda x: torch.addcmul(VECTOR, x, VECTOR, value=2.0),
    "addcmul of activations": lambda x: torch.addcmul(VECTOR, x, x.relu()),
    "negation": lambda x: -x.mean((2, 3)),
    "powers": lambda x: x**2 + (x.relu() + 1) ** 0.5 + x**3,
    "reciprocal": lambda x: 2 / (x.abs() + 1),
    "inverse root": lambda x: (x.abs() + 1) ** -0.5 + torch.rsqrt(x.square() + 1),
    "elementary": lambda x: x.exp() + (x.abs() + 1).log() + x.sin() - x.cos() + torch.erf(x),
    "clamping": lambda x: x.clamp(-0.3, 0.4) + x.clamp(min=0) + F.hardtanh(x) + F.relu6(x),
    "one-sided clamping": lambda x: x.clamp(max=0.1) * x.clamp_min(-0.2),
    "activations": nn.Sequential(
        *(nn.LeakyReLU(0.2), nn.ELU(0.7), nn.Mish(), nn.Softplus(), nn.Tanh(), nn.SELU())
    ),
    "gates": lambda x: F.hardsigmoid(x) * torch.sigmoid(x) * F.hardswish(x) + F.silu(x),
    "gelu": lambda x: F.gelu(x) + F.gelu(x, approximate="tanh"),
    "prelu": nn.PReLU(init=0.3),
    "in place": changed_in_place,
    "in place on a copy": changed_copy,
    "zero padding": lambda x: F.pad(x, (1, 2, 0, 3)),
    "cutting": lambda x: F.pad(x, (-1, 2, -2, 0)),
    "number padding": lambda x: F.pad(x, (0, 1, 2, 0), value=1.5),
    "reflection": lambda x: F.pad(x, (2, 1, 0, 3), mode="reflect"),
    "replication": lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate"),
    "circular": lambda x: F.pad(x, (2, 1, 0, 3), mode="circular"),
    "roll": lambda x: torch.roll(x, (-3, 2), (2, 3)),
    "flip": lambda x: x.flip(2, 3),
    "index": lambda x: x[:, :, torch.tensor([[1, 5], [3, 0]]), torch.tensor([2, 7])],
    "index_select": lambda x: x.index_select(1, torch.tensor([5, 0, 0])),
    "repeats": lambda x: x.repeat(1, 2, 1, 3).repeat_interleave(2, dim=2).tile(1, 1, 1, 2),
    "repeated images": lambda x: x.repeat_interleave(2, dim=0),
    "stack": lambda x: torch.stack([x, x.relu()], dim=2).flatten(1, 2),
    "pieces": lambda x: torch.cat(
        [*x.split([1, 3, 2], 1)[::-1], x.unbind(1)[0][:, None], *x.chunk(2, 1)], 1
    ),
    "moved dimensions": lambda x: x.movedim(1, -1).swapaxes(1, 2).mT.narrow(1, 2, 3),
    "unfold": lambda x: x.unfold(2, 4, 2).unfold(3, 3, 3),
    "im2col": lambda x: F.unfold(x, 3, dilation=2, padding=1, stride=2),
    "col2im": lambda x: F.fold(F.unfold(x, 3, padding=1, stride=2), (8, 8), 3, padding=1, stride=2),
    "nearest": lambda x: (
        F.interpolate(x, (16, 12)) + F.interpolate(x, (16, 12), mode="nearest-exact")
    ),
    "bilinear": lambda x: F.interpolate(x, (5, 16), mode="bilinear"),
    "bilinear corners": lambda x: F.interpolate(x, (5, 16), mode="bilinear", align_corners=True),
    "bicubic": lambda x: F.interpolate(x, (16, 16), mode="bicubic"),
    "antialiased": lambda x: F.interpolate(x, (4, 4), mode="bicubic", antialias=True),
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1) + F.max_pool2d(x, 2, 2),
    "max pool beyond the border": lambda x: F.max_pool2d(
        F.pad(x, (0, 1, 1, 0), value=-torch.inf), 4, 3, ceil_mode=True
    ),
    "mean pools": lambda x: (
        F.avg_pool2d(x, 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    ),
    "mean pool beyond the border": lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True),
    "mean pool of rows": lambda x: F.avg_pool1d(x.flatten(2), 3, 2, 1),
    "adaptive pools": lambda x: F.adaptive_avg_pool2d(x, (4, 3)) + F.adaptive_avg_pool2d(x, 1),
    "adaptive pool of rows": lambda x: F.adaptive_avg_pool1d(x.flatten(2), 5),
    "sums": lambda x: x.sum((1, 3)) + x.sum(1).mean(1, keepdim=True),
    "largest": lambda x: x.amax((1, 2)) + x.max(dim=2)[0].mean(1),
    "batch norm": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, padding=1)),
    "group norm": nn.GroupNorm(3, 6),
    "instance norm": nn.InstanceNorm2d(6, affine=True),
    "layer norm over all": nn.LayerNorm([6, 8, 8]),
    "layer norm without bias": nn.Sequential(nn.Flatten(2), nn.LayerNorm(64, bias=False)),
    "rms norm": nn.Sequential(nn.Flatten(2), nn.RMSNorm(64)),
    "rms norm spelt out": normed_rows,
    "rows of norm one": lambda x: F.normalize(x, dim=1) + F.normalize(x, dim=-1),
    "lengths": lambda x: x.norm(dim=(2, 3)),
    "softmax of channels": lambda x: x.softmax(1),
    "attention": attention,
    "attention with a mask": lambda x: attention(x, attn_mask=torch.linspace(-1, 1, 16).view(4, 4)),
    "attention with truth values": lambda x: attention(x, attn_mask=torch.eye(4).bool()),
    "causal attention": lambda x: attention(x, is_causal=True, scale=0.5),
    "shared keys": lambda x: F.scaled_dot_product_attention(
        x[:, :4], x[:, 4:], x[:, :2], enable_gqa=True
    ),
    "einsum": lambda x: (
        torch.einsum("bchw,bcvw->bchv", x, x) + torch.einsum("bchw,hk->bckw", x, MAP)
    ),
    "factors of products": lambda x: (0.5 * x) @ x.mT * 0.25,
    "product with a constant": lambda x: x @ MAP + MAP @ x,
    "table": table,
    "windows": windows,
    "class token": class_token,
    "periodic constant": periodic_constant,
    "rotary": rotary,
    "weight standardised": weight_standardised,
    "linear attention": linear_attention,
    "conv1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(6, 4, 3, padding=1, stride=2)),
    "conv1d same": nn.Sequential(nn.Flatten(2), nn.Conv1d(6, 6, 4, padding="same", groups=6)),
    "same padding": nn.Conv2d(6, 4, (4, 3), padding="same", dilation=(1, 2)),
    "transposed": nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1),
    "transposed groups": nn.ConvTranspose2d(6, 4, (2, 3), stride=(2, 1), groups=2, dilation=2),
    "layer scale": nn.Sequential(
        nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, groups=3), nn.BatchNorm2d(6)
    ),
}


def build(step):
    net = Net(step)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 2)
            if getattr(module, "weight", None) is not None and module.weight.dim() == 1:
                module.weight.uniform_(0.5, 1.5)
                if getattr(module, "bias", None) is not None:
                    module.bias.uniform_(-0.5, 0.5)
    return net.eval()


@pytest.mark.parametrize("name", STEPS)
def test_captured_lowered_and_replayed(name):
    net = build(STEPS[name])
    graph = capture(net, (3, SIZE, SIZE), "net")
    x = torch.randn(3, 3, SIZE, SIZE)
    with torch.no_grad():
        wanted = net(x)
    seen = {}
    got = run(graph, x, hook=lambda node, result: seen.update({node.name: result.shape}))
    torch.testing.assert_close(got, wanted, atol=3e-6 * float(wanted.abs().max()), rtol=1e-5)
    for node in graph.nodes:
        assert list(seen[node.name]) == resolve(node.shape, len(x))
    workload(graph, uniform_design(graph))
    model = lowered(graph, uniform_design(graph), x)
    codes = model.quantize_input(x.numpy())
    slow, fast = {}, {}
    logits = replay.run(model.graph_json(), dict(model.tensors), codes, keep=slow)
    TorchExecutor(model).run(torch.from_numpy(codes), keep=fast)
    for node in model.nodes:
        assert list(slow[node.name].shape) == resolve(node.shape, len(x)) or node.op == "constant"
        np.testing.assert_array_equal(fast[node.name].numpy(), slow[node.name], err_msg=node.name)
    values = model.logits_format.dequantize(torch.from_numpy(logits))
    allowed = 0.05 if name == "linear attention" else 0.02
    noise = (values - wanted).square().mean() / wanted.var()
    assert noise < allowed, f"{float(noise):.3g} of the variance is noise"


def test_every_handler_is_tried():
    """All handlers but those for spellings that torch.export replaces by others."""
    from codesign.graph.aten import base

    used = set()
    for step in STEPS.values():
        program = torch.export.export(
            build(step), (torch.zeros(2, 3, SIZE, SIZE),),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
        )  # fmt: skip
        for node in program.graph.nodes:
            if node.op == "call_function":
                used.add(base._HANDLERS.get(base.short_name(node)))
    tried_elsewhere = {"_dropout", "_region", "_copy", "_identity", "_linear"}
    missing = {h.__name__ for h in base._HANDLERS.values() if h not in used}
    assert missing <= tried_elsewhere


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda x: torch.cumsum(x, 1), r"aten\.cumsum"),
        (lambda x: x.roll(1), "roll of a flattened tensor"),
        (lambda x: F.linear(MAP.reshape(1, 64), x.reshape(-1, 64)), "computed weight"),
        (lambda x: x.mean(), "mean over the batch"),
        (lambda x: x.flip(0), "flip of the batch"),
        (lambda x: x**x, "computed exponent"),
        (lambda x: torch.maximum(x, -x), r"aten\.maximum"),
        (lambda x: F.pad(x, (1, 1), value=-torch.inf), "operand that is no tensor"),
    ],
)  # fmt: skip
def test_what_has_no_integer_form_is_a_user_error(step, message):
    with pytest.raises(UserError, match=rf"'net'.*{message}.*node \w+, in the top level"):
        capture(Net(step), (3, SIZE, SIZE), "net")


def test_a_part_changed_in_place_is_refused():
    def step(x):
        y = x + 1
        y[:, :2].relu_()
        return y

    with pytest.raises(UserError, match="a part changed in place"):
        capture(Net(step), (3, SIZE, SIZE), "net")
