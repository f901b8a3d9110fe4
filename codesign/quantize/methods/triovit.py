"""Trio-ViT (Shi et al., arXiv 2405.03882), for softmax-free EfficientViT.

Published: least |error|**2.4 ranges, channel-wise migration in front of depthwise convolutions,
filter-wise shifting behind them, 4-bit log2 divisors in the linear attention, and reconstruction of
blocks (BRECQ with AdaRound, 20,000 steps).

Here the divisor's exponent is read off its 8-bit code by the leading one, as the paper's hardware
does (its code rounds elsewhere). Reconstruction is left out: biases are corrected to the float
means instead, and `quantize.reconstruction=adaround` adds it.
"""

from codesign.quantize.recipe import METHODS, Recipe

METHODS.register("triovit")(
    Recipe(
        observer="mse_p",
        division="log2",
        transforms=("channel_migration", "filter_shift"),
    )
)
