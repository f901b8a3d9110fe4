"""A systolic array simulated register by register: the product it computes and its clock cycles."""

from dataclasses import dataclass

import numpy as np


@dataclass
class ClockedArray:
    """R x C processing elements; every `clock` moves what all registers hold by one place."""

    rows: int
    cols: int
    cycles: int = 0

    def __post_init__(self):
        self.held = np.zeros((self.rows, self.cols), dtype=np.int64)
        self.shadow = np.zeros_like(self.held)

    def output_stationary(self, first, second, drain):
        """Return first (R x K) @ second (K x C); sums stay, and `drain` shifts them out."""
        depth = first.shape[1]
        right, down = (np.zeros_like(self.held) for _ in range(2))
        sums = np.zeros_like(self.held)
        finished = 0
        for t in range(10**6):
            right[:, 1:], down[1:] = right[:, :-1].copy(), down[:-1].copy()
            right[:, 0] = [at(first, i, t - i) for i in range(self.rows)]
            down[0] = [at(second, t - j, j) for j in range(self.cols)]
            sums += right * down
            self.cycles += 1
            finished += sum(0 <= t - i - j < depth for i, j in np.ndindex(sums.shape))
            if finished == depth * sums.size:
                break
        if not drain:
            return sums
        out = np.zeros_like(sums)
        for step in range(self.rows):
            out[self.rows - 1 - step] = sums[-1]
            sums[1:], sums[0] = sums[:-1].copy(), 0
            self.cycles += 1
        return out

    def load(self, values):
        """Shift values (R x C) down from the top into the shadow registers, a row a cycle."""
        for row in values[::-1]:
            self.shadow[1:] = self.shadow[:-1].copy()
            self.shadow[0] = row
            self.cycles += 1

    def stationary(self, stream, following):
        """Return stream (T x R) @ held (R x C); `following` moves into the shadows meanwhile."""
        self.held = self.shadow.copy()
        pending = [] if following is None else list(following[::-1])
        right, sums = (np.zeros_like(self.held) for _ in range(2))
        out = np.zeros((len(stream), self.cols), dtype=np.int64)
        left = out.size
        for t in range(10**6):
            right[:, 1:], sums[1:] = right[:, :-1].copy(), sums[:-1].copy()
            sums[0] = 0
            right[:, 0] = [at(stream, t - i, i) for i in range(self.rows)]
            sums += right * self.held
            if pending:
                self.shadow[1:] = self.shadow[:-1].copy()
                self.shadow[0] = pending.pop(0)
            self.cycles += 1
            for j in range(self.cols):
                row = t - j - (self.rows - 1)
                if 0 <= row < len(stream):
                    out[row, j] = sums[-1, j]
                    left -= 1
            if not left:
                assert not pending
                return out
        raise AssertionError("the array did not finish")


def at(values, i, j):
    """Return an element, 0 outside."""
    return values[i, j] if 0 <= i < values.shape[0] and 0 <= j < values.shape[1] else 0


def blocks(values, height, width):
    """Yield (top, left, block) of zero-padded blocks, the lower edge last."""
    for top in range(0, values.shape[0], height):
        for left in range(0, values.shape[1], width):
            piece = values[top : top + height, left : left + width]
            block = np.zeros((height, width), dtype=np.int64)
            block[: piece.shape[0], : piece.shape[1]] = piece
            yield top, left, block


def clocked_product(first, second, rows, cols, dataflow, *, drain=False, overlap=False):
    """Return (first @ second, cycles) of a rows x cols array, fold after fold."""
    array = ClockedArray(rows, cols)
    if dataflow == "is":  # the transposed product: activations stay, weights stream
        result, cycles = clocked_product(second.T, first.T, rows, cols, "ws", overlap=overlap)
        return result.T, cycles
    m, n = first.shape[0], second.shape[1]
    out = np.zeros((m + rows, n + cols), dtype=np.int64)
    if dataflow == "os":
        for top, _, a in blocks(first, rows, first.shape[1]):
            for _, left, b in blocks(second, second.shape[0], cols):
                out[top : top + rows, left : left + cols] = array.output_stationary(a, b, drain)
        return out[:m, :n], array.cycles
    folds = list(blocks(second, rows, cols))
    following = [block for *_, block in folds[1:]] + [None]
    for number, ((top, left, block), after) in enumerate(zip(folds, following, strict=True)):
        if number == 0 or not overlap:
            array.load(block)
        stream = np.zeros((m, rows), dtype=np.int64)
        part = first[:, top : top + rows]
        stream[:, : part.shape[1]] = part
        out[:m, left : left + cols] += array.stationary(stream, after if overlap else None)
    return out[:m, :n], array.cycles
