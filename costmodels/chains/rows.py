"""How bands of rows go through the layers of a chain, a depthwise window among them.

A band is a number of rows of the chain's last result: rows of pixels, tokens, or queries. What
comes before a depthwise layer of stride s has s rows for each. The window needs rows below those
that have arrived, so that the depthwise layer and what follows lag behind by some rows: less in the
first band, more in the last one. The rows that a window needs again stay in the buffer.
"""

from dataclasses import dataclass

from costmodels.workload import MatrixLayer


@dataclass(frozen=True)
class Rows:
    """How the bands of a chain cut one of its stages.

    Attributes:
        count: Rows in a unit (a head, or the whole of the batch).
        width: Rows of the product, or of the vector operation, that one row has (pixels).
        ratio: Rows for each row of a band.
        lag: Rows that the first band has less than the others and the last one more.
        kept: Rows of its operand that stay for the next band (a window's, less one).
        along: The axis of the product that the rows are: "m", or "n" of a transposed one.
    """

    count: int
    width: int = 1
    ratio: int = 1
    lag: int = 0
    kept: int = 0
    along: str = "m"


def attention_rows(
    first: MatrixLayer, second: MatrixLayer, operand: int
) -> tuple[Rows, Rows] | None:
    """Return the rows of the product that gives the scores, and of that which takes them.

    None where the shapes are not those of attention: (m x k)(k x n), then (m x n)(n x d) or its
    transpose (d x n)(n x m).
    """
    queries = second.n if operand else second.m
    if (first.m, first.n, first.repeats) != (queries, second.k, second.repeats):
        return None
    return Rows(first.m), Rows(first.m, along="n" if operand else "m")


def row_by_row(first: MatrixLayer, second: MatrixLayer) -> Rows | None:
    """Return the rows of two layers that map each row by itself, None if shapes do not agree."""
    return Rows(first.m) if (first.m, first.n) == (second.m, second.k) else None


def separable_rows(
    before: MatrixLayer | None, depthwise: MatrixLayer, after: MatrixLayer | None
) -> tuple[Rows, Rows, Rows] | None:
    """Return the rows of a depthwise layer and of what is before and after it.

    Returns:
        The rows of the stages before the depthwise layer, of that layer, and of those after it;
        None if shapes do not agree.
    """
    layer, stride = depthwise, depthwise.stride_height
    if layer.n != 1 or layer.in_height < layer.kernel_height:
        return None
    height = (layer.in_height - layer.kernel_height) // stride + 1
    width = (layer.in_width - layer.kernel_width) // layer.stride_width + 1
    images, rest = divmod(layer.m, height * width)
    if rest or (after is not None and (after.m, after.k) != (layer.m, layer.repeats)):
        return None
    kept, lag, first = layer.kernel_height - 1, 0, Rows(1)
    if before is not None:
        size = _image_size(before, layer, before.m // images)
        if size is None or before.n != layer.repeats or before.m % images:
            return None
        above = (layer.in_height - size[0]) // 2
        lag = max(0, -(-(layer.kernel_height - above) // stride) - 1)
        first = Rows(images * size[0], size[1], stride)
    count = images * height
    return first, Rows(count, width, 1, lag, kept), Rows(count, width, 1, lag)


def _image_size(before: MatrixLayer, layer: MatrixLayer, pixels: int) -> tuple[int, int] | None:
    """Return height and width, without padding, of what a depthwise layer reads.

    A linear layer before it does not say; its tokens are then the image that the padding leaves.
    """
    if before.in_width:
        widths = [before.in_width]
    else:
        widths = [layer.in_width - pad for pad in range(layer.kernel_width)]
    for width in widths:
        height, rest = divmod(pixels, width)
        if not rest and 0 <= layer.in_height - height < layer.kernel_height:
            return height, width
    return None
