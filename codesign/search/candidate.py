"""Candidates to look at without training anything: a design of a space, or a trial of a study.

What a network asks of hardware depends on its shapes and formats, not on its weights, so the model
is captured with fresh weights: seconds, where a teacher takes minutes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codesign.design import Design
from codesign.errors import UserError
from codesign.search.read import choose_trial, read_study
from codesign.search.rundir import design_of
from codesign.settings import SearchSettings, load_settings
from codesign.settings_tree import SettingsTree
from codesign.space import SearchSpace
from costmodels.workload import Workload


@dataclass(frozen=True)
class Candidate:
    """A design and what its network asks of hardware.

    Attributes:
        title: What it is, in words.
        design: The design.
        workload: Its network, for one image.
        batch: Images that its prices are for.
    """

    title: str
    design: Design
    workload: Workload
    batch: int = 1


def candidate_of_space(space: str, design: str = "", changes: Sequence[str] = ()) -> Candidate:
    """Return a design of a search space.

    Args:
        space: A name in search_spaces, or a YAML file.
        design: A JSON file that holds a design, the name of one of the space's baselines, or
            empty for its first baseline.
        changes: Settings of the space to change, as `key=value`.

    Raises:
        UserError: There is no such space or design, or the design is of another network.
    """
    settings = load_settings([f"space={space}", *changes])
    builder = _Builder(settings)
    if design.endswith(".json"):
        path = Path(design).expanduser()
        return builder.candidate(read_design(path), f"{path.name} on space {settings.study}")
    known = dict(SearchSpace(settings, builder.outline).baselines())
    name = design or next(iter(known), "")
    if name not in known:
        names = ", ".join(f"'{label}'" for label in known) or "none"
        raise UserError(
            f"design='{name}' is no baseline of {settings.study}. Baselines: {names}; or give the "
            "JSON file of a design."
        )
    return builder.candidate(known[name], f"baseline '{name}' of space {settings.study}")


def candidate_of_run(run_dir: Path, trial: str = "knee") -> Candidate:
    """Return a trial of a study.

    Args:
        run_dir: The study's folder.
        trial: "knee", "best:<objective>", or a number.

    Raises:
        UserError: There is no such study or trial, or its design is damaged.
    """
    record = read_study(run_dir)
    chosen = choose_trial(record, trial)
    if chosen.design is None:
        raise UserError(f"trial {chosen.number}: its design file is damaged.")
    tree = SettingsTree(SearchSettings)
    for key, value in record.settings.items():
        tree.assign(key, value, f"in {run_dir / 'settings.yaml'}")
    builder = _Builder(tree.value())
    return builder.candidate(chosen.design, f"trial {chosen.number} of study {record.name}")


def read_design(path: Path) -> Design:
    """Return the design in a JSON file: a bundle's design.json, or a trial's file of a study.

    Raises:
        UserError: The file cannot be read or holds no design.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    stored = values if isinstance(values, Mapping) and "design" in values else {"design": values}
    design = design_of(stored)
    if design is None:
        raise UserError(f"{path} holds no design: give a bundle's design.json or a trial's file.")
    return design


class _Builder:
    """The network of some settings, with fresh weights."""

    def __init__(self, settings: SearchSettings) -> None:
        import torch

        from codesign.data import load_data
        from codesign.graph.capture import capture
        from codesign.graph.outline import outline
        from codesign.train.model import build_model, data_config

        fresh = replace(settings.model, pretrained=False, checkpoint=None)
        with torch.random.fork_rng(devices=[]):  # fresh weights are drawn from the global one
            data = load_data(settings.data, data_config(fresh))
            model = build_model(fresh, data.num_classes)
        self._settings = settings
        self._graph = capture(model, data.input_shape, settings.model.name)
        self.outline = outline(self._graph)

    def candidate(self, design: Design, title: str) -> Candidate:
        """Return a design of this network as a candidate.

        Raises:
            UserError: The design is of another network.
        """
        from codesign.graph.workload import workload
        from codesign.search.evaluator import recipe_of

        self._check(design)
        recipe = recipe_of(self._settings.quantize)
        priced = workload(self._graph, design, recipe)
        return Candidate(title, design, priced, self._settings.cost.batch)

    def _check(self, design: Design) -> None:
        for what, wanted, given in (
            ("layer", [x.name for x in self.outline.layers], [name for name, _ in design.layers]),
            (
                "activation",
                [x.name for x in self.outline.activations],
                [name for name, _ in design.activations],
            ),
        ):
            differing = sorted(set(wanted) ^ set(given))
            if differing:
                model = self._settings.model.name
                raise UserError(
                    f"the design is of another network than {model}: {what} '{differing[0]}' is "
                    f"{'missing from it' if differing[0] in wanted else 'not in that network'}"
                )
