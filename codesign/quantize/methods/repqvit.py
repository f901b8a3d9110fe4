"""RepQ-ViT (Li et al., ICCV 2023, arXiv 2212.08254).

Published: channel-wise scales and zero points of LayerNorm outputs, reparameterised to one of each;
log-sqrt2 codes behind softmax; ranges by the best of three percentiles; weights per channel.

Here probabilities have 4 bits, as in its W4A4 setting, whatever the layers have; set
`quantize.attention_bits=8` otherwise. LayerNorm, GELU and softmax are float there and integer here.
"""

from codesign.quantize.recipe import METHODS, Recipe

METHODS.register("repqvit")(
    Recipe(
        observer="percentile_mse",
        softmax="log_sqrt2",
        attention_bits=4,
        transforms=("reparameterize",),
        bias_correction=False,
    )
)
