"""FQ-ViT (Lin et al., IJCAI 2022, arXiv 2111.13824).

Published: ranges from the smallest and the largest value, a power-of-two factor for each channel
of what LayerNorms read (PTF), LayerNorm with an 8-bit multiplier, and Log-Int-Softmax with 4-bit
codes. Weights are per channel; convolutions and linears are simulated in float there, and GELU
stays float.

Here all of it is in integers: GELU is a table, layers requantise by 16-bit multipliers, and the
16th probability code is zero. Factors also go to what is only added to such a tensor. Weight scales
are this project's own search, in place of the largest weight.
"""

from codesign.quantize.recipe import METHODS, Recipe

METHODS.register("fqvit")(
    Recipe(
        observer="minmax",
        norm_inputs="ptf",
        layer_norm="fq_vit",
        softmax="log_int",
        attention_bits=4,
        bias_correction=False,
    )
)
