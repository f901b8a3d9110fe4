"""sensitivities.json: what each single choice of the space does to the float network."""

from codesign.search.problem import Problem
from codesign.search.progress import Progress
from codesign.search.rundir import RunDirectory
from codesign.space import SearchSpace

FILE = "sensitivities.json"
_LINES = 10


def write_sensitivities(
    problem: Problem, space: SearchSpace, files: RunDirectory, progress: Progress
) -> None:
    """Measure every choice of the space alone and write the run's file, unless it is there.

    An interrupted measurement goes on where it was.
    """
    path = files.path / FILE
    if path.exists():
        return
    said = 0

    def report(done: int, total: int) -> None:
        nonlocal said
        if done * _LINES // total > said:
            said = done * _LINES // total
            progress.say(f"sensitivities: {100 * said // _LINES} % measured")

    choices = space.single_choices
    progress.say(f"measuring {sum(map(len, choices.values()))} choices, one at a time")
    files.write_json(path, problem.sensitivities(choices, report).to_json())
