"""The settings of a search: every key a user can set, with its type, default and meaning."""

# ruff: noqa: RUF009 (`setting` makes a dataclass field)

from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from codesign import cli
from codesign.errors import UserError
from codesign.settings_tree import SettingsTree, setting

PROGRAM = "codesign.search"


@dataclass
class SamplerSettings:
    """How the next design is chosen."""

    name: str = setting("tpe", "Optuna sampler: tpe, nsga2, gp or random")
    population: int = setting(8, "random trials before tpe and gp learn; population of nsga2")


@dataclass
class ModelSettings:
    """The float model."""

    name: str = setting("mobilevit_xxs", "name of any timm model")
    kwargs: dict[str, Any] = setting({}, "arguments for timm.create_model")
    pretrained: bool = setting(False, "start from timm's pretrained weights (downloads them)")
    checkpoint: str | None = setting(None, "weights file: safetensors or a weights-only .pt")


@dataclass
class DataSettings:
    """The images."""

    name: str = setting("digits", "data set: digits, imagefolder, timm:<reader>, random")
    path: str | None = setting(None, "folder of the images, for data sets that need one")
    image_size: int | None = setting(None, "pixels a side; null: digits 64, else the model's own")


@dataclass
class TeacherSettings:
    """Training of the float teacher, on first use."""

    epochs: int = setting(10, "epochs; 0 takes the weights as they are")
    batch_size: int = setting(64, "images a step")
    learning_rate: float = setting(4e-3, "peak of the one-cycle schedule")
    weight_decay: float = setting(0.05, "AdamW's weight decay")
    label_smoothing: float = setting(0.1, "share of the label spread over all classes")


@dataclass
class QuantizeSettings:
    """Post-training quantisation."""

    method: str = setting("mse_p", "a published method or a plain observer")
    observer: str = setting("", "how ranges are chosen; empty here and below: the method's own")
    norm_inputs: str = setting("", "codes of what norms read: tensor or ptf")
    layer_norm: str = setting("", "arithmetic of LayerNorm: reciprocal or fq_vit")
    softmax: str = setting(
        "", "arithmetic of softmax: table, log_int, shiftmax, log_sqrt2 or two_scale"
    )
    attention_bits: int = setting(0, "width of the codes of probabilities; 0: the method's own")
    activation_codes: str = setting("", "codes behind GELU and its like: uniform or two_scale")
    division: str = setting("", "arithmetic of divisions: exact or log2")
    scales: str = setting("", "free, or power_of_two: requantisation by shifts")
    transforms: list[str] = setting(
        [], "rewrites before calibration, in order; [none] for none, []: the method's own"
    )
    reconstruction: str = setting("", "none or adaround, after calibration")
    reconstruction_steps: int = setting(200, "steps a block; its activation scales get half")
    reconstruction_batch: int = setting(32, "images a step")
    reconstruction_drop: float = setting(0.0, "chance of an activation to stay real (QDrop: 0.5)")
    sensitivities: bool = setting(False, "measure each choice alone first: sensitivities.json")
    calibration_images: int = setting(128, "training images observed")
    calibration_batch: int = setting(32, "images observed at once")


@dataclass
class DistillSettings:
    """Distillation of a quantised design from the teacher."""

    steps: int = setting(24, "optimiser steps; 0 scores what calibration gave")
    batch_size: int = setting(64, "images a step")
    learning_rate: float = setting(1e-3, "peak learning rate of AdamW")
    feature_weight: float = setting(1.0, "weight of the last features' error beside the logits'")
    judge_fraction: float = setting(0.15, "share of the training split that judges the steps")


@dataclass
class HardwareSettings:
    """What the accelerator is built on."""

    board: str = setting("zcu104", "FPGA board: a name of costmodels.boards, or a YAML file")
    clock_mhz: float = setting(200.0, "clock of the accelerator in MHz")


@dataclass
class CostSettings:
    """The cost models."""

    batch: int = setting(1, "images that run together; times and DRAM bytes are the batch's")
    cycles: str = setting("closed_form", "cycles of the arrays: closed_form or scalesim (equal)")
    drain: bool = setting(False, "closed_form: output-stationary arrays shift results out by fold")
    overlap: bool = setting(False, "closed_form: the next fold's weights load during this one")
    reports: str = setting("", "folder for SCALE-Sim's reports of the front, run in full; slow")
    fabric: str = setting("yosys", "LUTs of multipliers: yosys (synthesised) or finn (FINN-R)")
    gpus: list[str] = setting(["rtx4090", "a100", "h200", "orin"], "GPUs whose latency is modelled")
    gpu_profile: str = setting(
        "fastertransformer",
        "runtime there: fastertransformer, h200_torch, tensorrt, torch_compile, torch_eager, or a"
        " file of costmodels.calibrate",
    )
    gpu_precision: str = setting("int8", "kernels there: int8, int4 (packed weights), fp16, fp32")


@dataclass
class ActivationSettings:
    """The choice of activation functions."""

    per: str = setting("stage", "one choice per: network, stage, block or site")
    choices: list[str] = setting(
        ["silu", "shift_swish", "hardswish", "relu"], "functions; the model's own is one if listed"
    )


@dataclass
class NetworkSettings:
    """The network's part of the space."""

    weights: dict[str, list[Any]] = setting(
        {"uniform": [3, 4, 5, 6, 8], "log2": [3, 4]},
        'weight scheme: its widths in bits; "4@0.5" gives a scheme its number too',
    )
    activation_bits: list[int] = setting([4, 6, 8], "widths in bits of the codes entering a layer")
    first_and_last_bits: int = setting(8, "bits of the first and last layer; 0 searches them too")
    activations: ActivationSettings = field(default_factory=ActivationSettings)
    fixed: dict[str, Any] = setting(
        {}, "layer pattern: {weight: uniform_8, activation_bits: 8}, taken out of the search"
    )


@dataclass
class AcceleratorSettings:
    """The accelerator's part of the space: the choices of each parameter of the template."""

    mac_rows: list[int] = setting([8, 16, 32], "rows of the MAC array")
    mac_cols: list[int] = setting([8, 16, 32], "columns of the MAC array")
    shift_rows: list[int] = setting([8, 16, 32], "rows of the shift array; 0: none")
    shift_cols: list[int] = setting([8, 16, 32], "columns of the shift array; 0: none")
    dataflow: list[str] = setting(["os", "ws", "is"], "what stays in the PEs: os, ws, is")
    precision: list[str] = setting(["static", "reconfigurable"], "static or reconfigurable PEs")
    mac_pe: list[str] = setting(["dsp"], "multipliers of MAC array and depthwise engine: dsp, lut")
    fused_chains: list[bool] = setting(
        [False], "attention, MBConv and MLPs band by band, on chip, where quicker: false, true"
    )
    input_buffer_kb: list[int] = setting([32, 64, 128], "input buffer in kB, each half")
    weight_buffer_kb: list[int] = setting([32, 64, 128], "weight buffer in kB, each half")
    output_buffer_kb: list[int] = setting([32, 64, 128], "output buffer in kB, each half")
    vector_lanes: list[int] = setting([8, 16, 32], "lanes of the vector unit")
    depthwise_lanes: list[int] = setting([8, 16, 32], "lanes of the depthwise engine; 0: none")


@dataclass
class SearchSettings:
    """Everything a search is told."""

    space: str = setting("", "search space: a name in search_spaces or a YAML file (required)")
    study: str = setting("", "name of the study and its folder (default: the space's name)")
    runs_dir: str = setting("runs", "folder of the studies and caches")
    trials: int = setting(28, "completed trials wanted, those of earlier runs included")
    seed: int = setting(0, "seed of the sampler and of the teacher")
    workers: int = setting(0, "designs evaluated at a time; 0: one per core (GPU: 4 per device)")
    executor: str = setting("ray", "ray (parallel) or serial (in this process)")
    ray_address: str = setting("", "address of a running Ray cluster; empty starts a local one")
    device: str = setting("auto", "auto, cpu or cuda")
    storage: str = setting("", "Optuna storage URL, or journal:FILE; empty: SQLite in the run")
    retries: int = setting(1, "times a design is evaluated again after its worker died")
    timeout_s: float = setting(1800.0, "seconds an evaluation may take; 0: no limit")
    report: bool = setting(True, "write report.html and report.png at the end")
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    quantize: QuantizeSettings = field(default_factory=QuantizeSettings)
    distill: DistillSettings = field(default_factory=DistillSettings)
    hardware: HardwareSettings = field(default_factory=HardwareSettings)
    cost: CostSettings = field(default_factory=CostSettings)
    objectives: dict[str, str] = setting(
        {"accuracy": "max", "fpga.latency_ms": "min", "fpga.dsp": "min"}, "metric: max or min"
    )
    constraints: dict[str, Any] = setting(
        {"fpga.lut_pct": 70, "fpga.dsp_pct": 80, "fpga.bram_pct": 80, "fpga.uram_pct": 80},
        "metric: limit, or {min: x, max: y}; a cost over its limit is never trained",
    )
    network: NetworkSettings = field(default_factory=NetworkSettings)
    accelerator: AcceleratorSettings = field(default_factory=AcceleratorSettings)

    @property
    def run_dir(self) -> Path:
        """The folder of the study."""
        return Path(self.runs_dir) / self.study

    def to_json(self) -> dict[str, Any]:
        """Return the settings as nested JSON-able values."""
        return asdict(self)


def load_settings(arguments: list[str]) -> SearchSettings:
    """Return the settings of a command line: defaults, then the space's YAML, then `key=value`.

    Args:
        arguments: Words such as "space=mobilevit_mixed" and "model.name=vit_tiny_patch16_224".
            `--help` and `--cfg` print and leave with code 0.

    Raises:
        UserError: A key is unknown, a value is wrong, or the space does not exist.
    """
    from codesign.settings_check import check_settings

    options, overrides = cli.split_options(arguments)
    if "--help" in options:
        cli.leave(cli.help_text(SearchSettings, PROGRAM, "space=NAME"))
    tree = SettingsTree(SearchSettings)
    source = _space_source(overrides)
    for key, value in _read_space(source).items():
        tree.assign(key, value, f"in {source}")
    for key, text in overrides:
        tree.assign_text(key, text, "on the command line")
    settings = tree.value()
    settings.study = settings.study or Path(settings.space).stem
    check_settings(settings)
    if "--cfg" in options:
        cli.leave(yaml.safe_dump(settings.to_json(), sort_keys=False))
    return settings


def available_spaces() -> list[str]:
    """Return the names of the spaces in ./search_spaces and of those that are installed."""
    names = {p.stem for p in Path("search_spaces").glob("*.yaml")}
    shipped = resources.files("search_spaces").iterdir()
    return sorted(names | {Path(p.name).stem for p in shipped if p.name.endswith(".yaml")})


def _space_source(overrides: list[tuple[str, str]]) -> Path:
    """Return the YAML file that `space=` names."""
    name = dict(overrides).get("space", "")
    known = ", ".join(available_spaces())
    if not name:
        raise UserError(f"which space? Give space=NAME, one of: {known}; or space=FILE.yaml.")
    if "/" in name or name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"space={name}: there is no such file. Spaces known by name: {known}.")
        return Path(name)
    local = Path("search_spaces") / f"{name}.yaml"
    path = local if local.is_file() else Path(str(resources.files("search_spaces") / local.name))
    if not path.is_file():
        raise UserError(f"unknown space '{name}'. Spaces: {known}; or give a YAML file's path.")
    return path


def _read_space(path: Path) -> dict[str, Any]:
    """Return the keys of a space file."""
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings: expected lines such as 'trials: 28'.")
    return content
