"""sensitivities.json of a run: every choice of the space, written once."""

import json

from rich.console import Console

from codesign.design import ActivationSite, LayerInfo, NetworkOutline
from codesign.quantize.sensitivity import Damage, Sensitivities
from codesign.search.progress import Progress
from codesign.search.rundir import RunDirectory
from codesign.search.sensitivities import write_sensitivities
from codesign.settings import SearchSettings
from codesign.space import SearchSpace

OUTLINE = NetworkOutline(
    (LayerInfo("a", "conv", "a", 9, 9), LayerInfo("b", "linear", "b", 9, 9)),
    (ActivationSite("a.act", "a", "silu"),),
)


class Measured:
    """A problem whose every choice does as much damage as its name is long."""

    def __init__(self):
        self.calls = 0

    def sensitivities(self, choices, progress):
        self.calls += 1
        keys = [(name, choice) for name, listed in choices.items() for choice in listed]
        for done in range(len(keys)):
            progress(done + 1, len(keys))
        return Sensitivities({key: Damage(float(len(str(key[1]))), 1.0) for key in keys}, 5, "m")


def test_the_file_has_every_choice_and_is_written_once(tmp_path):
    space = SearchSpace(SearchSettings(space="x", study="x"), OUTLINE)
    problem, console = Measured(), Console(quiet=True)
    for _ in range(2):
        write_sensitivities(problem, space, RunDirectory(tmp_path), Progress(console))
    assert problem.calls == 1
    found = Sensitivities.from_json(json.loads((tmp_path / "sensitivities.json").read_text()))
    wanted = {(name, c) for name, listed in space.single_choices.items() for c in listed}
    assert set(found.damages) == wanted
    assert found["a.act", "relu"].divergence == 4.0 and found["b", 8].divergence == 1.0
