"""Where the numbers of an example lie: in the arrays, and in the memory files line by line."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from codesign.export.memories import locate
from codesign.export.worked_example.first_layer import FirstLayer, Index

Entry = Mapping[str, Any]


class Places:
    """Finds numbers of the first layer in the memory files.

    Args:
        layer: The first layer.
        memories: What each file of mem/ holds, as in hardware.json.
        golden: Likewise of golden/mem/.
    """

    def __init__(
        self, layer: FirstLayer, memories: Iterable[Entry], golden: Iterable[Entry]
    ) -> None:
        self.layer = layer
        self.memories = {e["role"]: e for e in memories if e["layer"] == layer.node.name}
        self.golden = {e["layer"]: e for e in golden}

    def code(self, node: str, index: Index) -> str:
        """Return where a golden code stands, "line 20, lane 3"; nothing without such a file."""
        return _spot(self.golden[node], index) if node in self.golden else ""

    def line_of(self, index: Index | None) -> str:
        """Return where an input code stands, short: "20:3"."""
        entry = self.golden.get(self.layer.source.name)
        if entry is None or index is None:
            return "-"
        line, lane = locate(entry, index)
        return f"{line}:{lane}"

    def rows(self, index: Index) -> list[tuple[str, str, str]]:
        """Return (what, array, memory file) of everything one output is computed from."""
        channel, layer = index[self.layer.channel_axis], self.layer
        name = layer.node.name
        rows = [("weights", f"`{name}/weight`[{channel}]", self._weights(channel))]
        for role in ("bias", "multiplier", "shift"):
            array = f"`{name}/{role}`[{channel}]"
            rows.append((role, array, self._constant(role, (channel,))))
        if layer.node.format.shifts:
            array = f"`shifts`[{channel}] of the format of `{name}` in graph.json"
            place = self._constant("channel_shift", (channel,))
            rows.append(("shift of the output's channel", array, place))
        source = layer.source.name
        rows.append(("input codes", f"`{source}`[0] of golden/golden.npz", self._file(source)))
        return rows

    def _constant(self, role: str, index: Index) -> str:
        entry = self.memories.get(role)
        return f"{entry['path']}: {_spot(entry, index)}" if entry else ""

    def _weights(self, channel: int) -> str:
        """Return the lines of a channel's weights; those of a mixed layer are in two files."""
        kind = self.layer.kind(channel)
        entry = self.memories.get("weight") or self.memories.get(f"weight_{kind}")
        if entry is None:
            return ""
        same = [c for c in range(channel) if self.layer.kind(c) == kind]
        row = channel if entry["role"] == "weight" else len(same)
        first, last = (row, *[0] * (len(entry["shape"]) - 1)), (row, *_ends(entry["shape"][1:]))
        return f"{entry['path']}: {_spot(entry, first)}, to {_spot(entry, last)}"

    def _file(self, node: str) -> str:
        entry = self.golden.get(node)
        return f"{entry['path']}: where `line:lane` says" if entry else ""


def _spot(entry: Entry, index: Index) -> str:
    line, lane = locate(entry, index)
    return f"line {line} lane {lane}"


def _ends(shape: Sequence[int]) -> list[int]:
    return [size - 1 for size in shape]
