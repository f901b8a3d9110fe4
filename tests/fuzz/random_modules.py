"""Random small torch networks, one function a building block."""

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from random_networks import randomise
from torch import Tensor, nn

Block = Callable[[random.Random, torch.Size], nn.Module]
ON_MAPS: dict[str, Block] = {}
"""Blocks on (batch, channels, height, width)."""
ON_TOKENS: dict[str, Block] = {}
"""Blocks on (batch, tokens, channels)."""
WIDTHS = (4, 6, 8, 12)
LARGEST_MAP, LARGEST_ROW = 12, 400


def block(registry: dict[str, Block]) -> Callable[[Block], Block]:
    """Return a decorator that files a block under its name."""

    def decorate(make: Block) -> Block:
        registry[make.__name__] = make
        return make

    return decorate


class Step(nn.Module):
    """A function of a tensor and of modules."""

    def __init__(self, function: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.parts)


def vector(*shape: int) -> Tensor:
    return torch.rand(shape) * 2 - 0.7


def convolution(rng: random.Random, shape: torch.Size, **settings) -> nn.Conv2d:
    """A convolution of random geometry that leaves at least one row and one column."""
    channels, sizes = shape[1], shape[2:]
    outputs = rng.choice(WIDTHS)
    groups = rng.choice([g for g in range(1, channels + 1) if channels % g + outputs % g == 0])
    dilation = tuple(rng.choice([1, 1, 2]) for _ in sizes)
    padding = tuple(rng.choice([0, 1, 2]) for _ in sizes)
    kernel = tuple(
        rng.randint(1, max(1, min(3, 1 + (n + 2 * p - 1) // d)))
        for n, p, d in zip(sizes, padding, dilation, strict=True)
    )
    geometry = {
        "out_channels": outputs, "groups": groups, "kernel_size": kernel, "dilation": dilation,
        "padding": padding, "stride": tuple(rng.choice([1, 1, 2]) for _ in sizes),
        "bias": rng.random() < 0.7,
    }  # fmt: skip
    return nn.Conv2d(channels, **{**geometry, **settings})


def pointwise(channels: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, 1)


@block(ON_MAPS)
def convolutions(rng, shape):
    layer = convolution(rng, shape)
    norm = nn.BatchNorm2d(layer.out_channels) if rng.random() < 0.5 else nn.Identity()
    return nn.Sequential(layer, norm, nn.SiLU())


@block(ON_MAPS)
def depthwise(rng, shape):
    c = shape[1]
    return nn.Sequential(
        convolution(rng, shape, out_channels=c * rng.choice([1, 2]), groups=c), nn.GELU()
    )


@block(ON_MAPS)
def inverted_bottleneck(rng, shape):
    c = shape[1]
    parts = (pointwise(c, 2 * c), nn.Conv2d(2 * c, 2 * c, 3, 1, 1, groups=2 * c))
    return Step(
        lambda x, expand, a, middle, b, project: x + project(b(middle(a(expand(x))))),
        *(parts[0], nn.Hardswish(), parts[1], nn.Hardswish(), pointwise(2 * c, c)),
    )


@block(ON_MAPS)
def gate(rng, shape):
    c = shape[1]
    squash = rng.choice([nn.Sigmoid, nn.Hardsigmoid, nn.Tanh])()
    return Step(
        lambda x, down, a, up, g: x * g(up(a(down(x.mean((2, 3), keepdim=True))))),
        *(pointwise(c, 4), nn.SiLU(), pointwise(4, c), squash),
    )


@block(ON_MAPS)
def branches(rng, shape):
    c = shape[1]
    wide = nn.Conv2d(c, 4, (3, 1), padding=(1, 0))
    return Step(
        lambda x, a, b, act: torch.cat([a(x), act(b(x)), x], 1), pointwise(c, 4), wide, nn.SiLU()
    )


@block(ON_MAPS)
def pieces(rng, shape):
    half, start = shape[1] // 2, rng.randrange(2)
    return Step(
        lambda x, act: torch.cat([act(x[:, half:]), x[:, :half], x[:, 0][:, None]], 1)[
            :, :, start::2
        ],
        nn.ReLU(),
    )


@block(ON_MAPS)
def largest_pool(rng, shape):
    return nn.MaxPool2d(2, rng.choice([1, 2]), rng.choice([0, 1]), ceil_mode=rng.random() < 0.5)


@block(ON_MAPS)
def mean_pool(rng, shape):
    inside = rng.random() < 0.5
    return nn.AvgPool2d(2, rng.choice([1, 2]), 1, rng.random() < 0.5, count_include_pad=inside)


@block(ON_MAPS)
def group_norm(rng, shape):
    c = shape[1]
    return nn.GroupNorm(rng.choice([g for g in range(1, c + 1) if c % g == 0]), c)


@block(ON_MAPS)
def batch_norm_before_layer(rng, shape):
    c = shape[1]
    return nn.Sequential(nn.ReLU(), nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, padding=1))


@block(ON_MAPS)
def channel_affine(rng, shape):
    scale, offset = vector(shape[1], 1, 1), vector(shape[1], 1, 1)
    return Step(lambda x: x * scale + offset)


@block(ON_MAPS)
def constant_maps(rng, shape):
    scale, offset = vector(*shape[2:]), vector(*shape[2:])
    return Step(lambda x: x * scale + offset + x)


@block(ON_MAPS)
def moved(rng, shape):
    order = torch.tensor(rng.choices(range(shape[1]), k=shape[1]))
    by = rng.randint(1, 3)
    moves = [
        lambda x: x.roll((-by, by), (2, 3)),
        lambda x: x.flip(2, 3),
        lambda x: F.pad(x, (1, 0, 0, by)),
        lambda x: F.pad(x, (1, 0, 1, 0), mode=rng.choice(["reflect", "replicate", "circular"])),
        lambda x: x.index_select(1, order),
        lambda x: F.interpolate(x, scale_factor=2),
    ]
    return Step(rng.choice(moves))


@block(ON_MAPS)
def resampled(rng, shape):
    size = (rng.randint(2, 8), rng.randint(2, 8))
    return Step(lambda x: F.interpolate(x, size, mode="bilinear"))


@block(ON_MAPS)
def elementary(rng, shape):
    functions = [
        lambda x: x.square() + x.abs(),
        lambda x: torch.erf(x) - x.clamp(-0.3, 0.4),
        lambda x: (x.abs() + 1).log() + 2 / (x.abs() + 1),
        lambda x: x.sin() * x.exp().clamp(max=3.0),
        lambda x: F.softplus(x) + F.elu(x) * F.leaky_relu(x, 0.2),
    ]
    return Step(rng.choice(functions))


@block(ON_MAPS)
def reductions(rng, shape):
    dim = rng.choice([1, (2, 3), 3])
    return Step(lambda x: x.amax(dim, keepdim=True) * 0.5 + x - x.mean(dim, keepdim=True))


@block(ON_MAPS)
def unit_rows(rng, shape):
    dim = rng.choice([1, -1])
    return Step(lambda x: F.normalize(x, dim=dim))


@block(ON_MAPS)
def products(rng, shape):
    table = vector(shape[3], 4)
    return Step(lambda x: (x @ x.mT * 0.25) @ (x @ table))


@block(ON_MAPS)
def channel_softmax(rng, shape):
    return Step(lambda x: x.softmax(1) * x)


@block(ON_MAPS)
def window_attention(rng, shape):
    """Attention in windows of 2 x 2, as in Swin, the map padded to whole windows."""
    c = shape[1]
    height, width = (-(-n // 2) for n in shape[2:])
    grow = (0, shape[3] % 2, 0, shape[2] % 2)

    def forward(x, norm, queries, project):
        tokens = norm(F.pad(x, grow).permute(0, 2, 3, 1))
        parts = tokens.reshape(-1, height, 2, width, 2, c).permute(0, 1, 3, 2, 4, 5)
        q, k, v = queries(parts.reshape(-1, 4, c)).chunk(3, dim=-1)
        out = project((q @ k.mT * c**-0.5).softmax(-1) @ v)
        back = out.reshape(-1, height, width, 2, 2, c).permute(0, 5, 1, 3, 2, 4)
        return x + back.reshape(-1, c, 2 * height, 2 * width)[:, :, : shape[2], : shape[3]]

    return Step(forward, nn.LayerNorm(c), nn.Linear(c, 3 * c), nn.Linear(c, c))


@block(ON_TOKENS)
def attention(rng, shape):
    tokens, c = shape[1:]
    heads = rng.choice([h for h in (1, 2, 3) if c % h == 0])

    def forward(x, norm, queries, project):
        q, k, v = queries(norm(x)).reshape(-1, tokens, 3, heads, c // heads).unbind(2)
        out = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (q, k, v)))
        return x + project(out.transpose(1, 2).reshape(-1, tokens, c))

    return Step(forward, nn.LayerNorm(c), nn.Linear(c, 3 * c, bias=False), nn.Linear(c, c))


@block(ON_TOKENS)
def linear_attention(rng, shape):
    """EfficientViT's: relu(Q) (relu(K)^T V), divided by the row sums."""
    c = shape[2]

    def forward(x, queries, project):
        q, k, v = queries(x).chunk(3, dim=-1)
        both = q.relu() @ (k.relu().mT @ F.pad(v, (0, 1), value=1.0))
        return project(both[..., :-1] / (both[..., -1:] + 1e-5))

    return Step(forward, nn.Linear(c, 3 * c), nn.Linear(c, c))


@block(ON_TOKENS)
def mlp(rng, shape):
    c = shape[2]
    return Step(
        lambda x, norm, up, act, down: x + down(act(up(norm(x)))),
        *(nn.LayerNorm(c), nn.Linear(c, 2 * c), nn.GELU(), nn.Linear(2 * c, c)),
    )


@block(ON_TOKENS)
def class_token(rng, shape):
    token, places = vector(1, 1, shape[2]), vector(1, shape[1] + 1, shape[2])
    return Step(lambda x: torch.cat([token.expand(x.shape[0], -1, -1), x], dim=1) + places)


@block(ON_TOKENS)
def rms_norm(rng, shape):
    return nn.Sequential(nn.RMSNorm(shape[2]), nn.Linear(shape[2], rng.choice(WIDTHS)))


@block(ON_TOKENS)
def merged_patches(rng, shape):
    c, half = shape[2], max(shape[1] // 2, 1)
    return Step(
        lambda x, norm, reduce: reduce(norm(torch.cat([x[:, ::2][:, :half], x[:, -half:]], -1))),
        *(nn.LayerNorm(2 * c), nn.Linear(2 * c, c, bias=False)),
    )


@block(ON_TOKENS)
def mixed_tokens(rng, shape):
    """Layers across tokens, as in MLP-Mixer."""
    n = shape[1]
    return Step(
        lambda x, norm, mix: x + mix(norm(x).mT).mT, nn.LayerNorm(shape[2]), nn.Linear(n, n)
    )


def head(rng: random.Random, shape: torch.Size) -> nn.Module:
    """Return what turns tokens into five logits, or leaves the mean as they are."""
    ends = [
        lambda x, norm, layer: layer(norm(x).mean(1)),
        lambda x, norm, layer: layer(norm(x[:, 0])),
        lambda x, norm, layer: layer(x.amax(1)),
        lambda x, norm, layer: norm(x).mean(1),
    ]
    return Step(rng.choice(ends), nn.LayerNorm(shape[2]), nn.Linear(shape[2], 5))


def random_module(seed: int, pixels: int, draw: int = 0) -> nn.Module:
    """Return a network of a few blocks; consecutive seeds take the kinds of blocks in turn.

    Args:
        seed: Which network.
        pixels: Height and width of its images, of 3 channels.
        draw: Which of its weights.
    """
    rng = random.Random(seed)
    torch.manual_seed(seed + 2**20 * draw)
    steps, x = [], torch.rand(2, 3, pixels, pixels)

    def append(step: nn.Module) -> None:
        nonlocal x
        steps.append(step)
        with torch.no_grad():
            x = step.eval()(x)

    append(convolution(rng, x.shape, kernel_size=3, padding=1, dilation=1, groups=1))
    for make in _turn(ON_MAPS, seed, rng, 3):
        if min(x.shape[2:]) < 2:
            append(Step(lambda x: F.pad(x, (0, 1, 1, 0))))
        append(make(rng, x.shape))
        if max(x.shape[2:]) > LARGEST_MAP or x.shape[1] > LARGEST_MAP:
            append(convolution(rng, x.shape, kernel_size=2, stride=2, padding=1, dilation=1))
    append(Step(lambda x: x.flatten(2).transpose(1, 2)))
    for make in _turn(ON_TOKENS, seed, rng, 2):
        append(make(rng, x.shape))
    append(head(rng, x.shape))
    return randomise(nn.Sequential(*steps), seed + 2**20 * draw)


def _turn(blocks: dict[str, Block], seed: int, rng: random.Random, count: int) -> list[Block]:
    """Return the block whose turn it is, and others, in random order."""
    names = list(blocks)
    chosen = [names[seed % len(names)], *rng.choices(names, k=rng.randrange(count))]
    rng.shuffle(chosen)
    return [blocks[name] for name in chosen]
