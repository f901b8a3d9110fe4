"""P2-ViT (Shi et al., arXiv 2405.19915): every scale a power of two.

Published: activations and weights on power-of-two scales chosen by adaptive rounding, so that
requantisation is a shift; smoothing of LayerNorm outputs by powers of two; FQ-ViT's power-of-two
factors, 8-bit LayerNorm multipliers and 4-bit Log-Int-Softmax; a search of 4- and 8-bit weights.

Here the smoothing exponent is chosen for each LayerNorm, and the scale below the factors is a
power of two as well (the published code leaves it free). The bits of weights are the design's.
Products whose ratio holds another number than scales (means, an attention factor that is no power
of two) keep a multiplier.
"""

from codesign.quantize.recipe import METHODS, Recipe

METHODS.register("p2vit")(
    Recipe(
        observer="minmax",
        norm_inputs="ptf",
        layer_norm="fq_vit",
        softmax="log_int",
        attention_bits=4,
        scales="power_of_two",
        transforms=("smoothing",),
        bias_correction=False,
    )
)
