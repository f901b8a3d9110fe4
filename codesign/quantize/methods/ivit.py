"""I-ViT (Li and Gu, ICCV 2023, arXiv 2207.01405).

Published: ranges by moving averages of momentum 0.95, symmetric 8-bit codes, Shiftmax, ShiftGELU,
LayerNorm with an integer root, and quantisation-aware training for 30 to 90 epochs.

Here codes are asymmetric, LayerNorm is this project's own (exact root, one reciprocal a row), and
the training is the short distillation of any design. ShiftGELU is an activation function, and
therefore the design's choice: list `shift_gelu` under `network.activations.choices`.
"""

from codesign.quantize.recipe import METHODS, Recipe

METHODS.register("ivit")(Recipe(observer="ema_95", softmax="shiftmax", bias_correction=False))
