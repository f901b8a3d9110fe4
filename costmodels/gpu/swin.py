"""Swin V1 and V2 as workloads: the networks whose latencies FasterTransformer's guide publishes."""

from dataclasses import dataclass

from costmodels.workload import MatrixLayer, VectorOperation, Workload


@dataclass(frozen=True)
class Swin:
    """A Swin Transformer's sizes.

    Attributes:
        width: Channels of the first stage.
        blocks: Blocks of each stage.
        heads: Attention heads of the first stage.
        image: Height and width of the input in pixels.
        window: Height and width of an attention window in tokens.
        version: 1 normalises before attention and MLP; 2 after them, and queries and keys too.
    """

    width: int
    blocks: tuple[int, ...]
    heads: int
    image: int = 224
    window: int = 7
    version: int = 1


# Liu et al., Swin Transformer, ICCV 2021, section 3.3; Swin Transformer V2, CVPR 2022.
SIZES = {
    "tiny": (96, (2, 2, 6, 2), 3),
    "small": (96, (2, 2, 18, 2), 3),
    "base": (128, (2, 2, 18, 2), 4),
    "large": (192, (2, 2, 18, 2), 6),
}


def swin(size: str, version: int = 1) -> Workload:
    """Return Swin V1 (224 x 224, windows of 7 x 7) or V2 (256 x 256, 8 x 8) as a workload."""
    image, window = (224, 7) if version == 1 else (256, 8)
    return swin_workload(size, Swin(*SIZES[size], image, window, version))


def swin_workload(name: str, model: Swin) -> Workload:
    """Return the workload of a Swin Transformer with patches of 4 x 4 pixels."""
    width, heads, side = model.width, model.heads, model.image // 4
    operations: list[MatrixLayer | VectorOperation] = [
        _linear("patch_embed", side * side, 48, width),
        _vector("patch_norm", "layer_norm", side * side * width, width),
    ]
    for stage, count in enumerate(model.blocks):
        for block in range(count):
            operations += _block(f"layers.{stage}.{block}", side * side, width, heads, model)
        if stage < len(model.blocks) - 1:
            side, merged = side // 2, 4 * width
            norm = _vector(f"merge.{stage}.norm", "layer_norm", side * side * merged, merged)
            operations += [norm, _linear(f"merge.{stage}", side * side, merged, 2 * width)]
            width, heads = 2 * width, 2 * heads
    operations.append(_vector("norm", "layer_norm", side * side * width, width))
    operations.append(_vector("pool", "pool", side * side * width, side * side))
    operations.append(_linear("head", 1, width, 1000))
    return Workload(f"swin_{name}", tuple(operations), 0)


def _block(
    name: str, tokens: int, width: int, heads: int, model: Swin
) -> list[MatrixLayer | VectorOperation]:
    norm1 = _vector(f"{name}.norm1", "layer_norm", tokens * width, width)
    norm2 = _vector(f"{name}.norm2", "layer_norm", tokens * width, width)
    add1 = _vector(f"{name}.add1", "add", tokens * width)
    add2 = _vector(f"{name}.add2", "add", tokens * width)
    attention = _attention(name, tokens, width, heads, model)
    mlp: list[MatrixLayer | VectorOperation] = [
        _linear(f"{name}.fc1", tokens, width, 4 * width),
        _vector(f"{name}.act", "table", tokens * 4 * width, fused_into=f"{name}.fc1"),
        _linear(f"{name}.fc2", tokens, 4 * width, width),
    ]
    if model.version == 1:
        return [norm1, *attention, add1, norm2, *mlp, add2]
    # The sum after a norm: one kernel as well, which a norm after a sum stands for.
    return [*attention, add1, norm1, *mlp, add2, norm2]


def _attention(
    name: str, tokens: int, width: int, heads: int, model: Swin
) -> list[MatrixLayer | VectorOperation]:
    area = model.window**2
    repeats, head = tokens // area * heads, width // heads
    operations: list[MatrixLayer | VectorOperation] = [
        _linear(f"{name}.qkv", tokens, width, 3 * width)
    ]
    if model.version == 2:  # cosine attention
        operations.append(_vector(f"{name}.qk_norm", "layer_norm", 2 * tokens * width, head))
    return [
        *operations,
        _matmul(f"{name}.qk", area, head, area, repeats),
        _vector(f"{name}.softmax", "softmax", repeats * area * area, area),
        _matmul(f"{name}.av", area, area, head, repeats),
        _linear(f"{name}.proj", tokens, width, width),
    ]


def _linear(name: str, m: int, k: int, n: int) -> MatrixLayer:
    return MatrixLayer(name, "linear", m, k, n, 1, 8, "uniform", 8, 8, m * k, m * n, k * n)


def _matmul(name: str, m: int, k: int, n: int, repeats: int) -> MatrixLayer:
    sizes = (repeats * m * k, repeats * m * n, repeats * k * n)
    return MatrixLayer(name, "matmul", m, k, n, repeats, 8, "uniform", 8, 8, *sizes)


def _vector(
    name: str, function: str, elements: int, row: int = 1, fused_into: str | None = None
) -> VectorOperation:
    return VectorOperation(name, function, elements, row, fused_into=fused_into)
