"""Two-scale codes behind softmax and GELU.

Inspired by PTQ4ViT (Yuan et al., ECCV 2022, arXiv 2111.12293) and TSPTQ-ViT (Tai et al., ICASSP
2023, arXiv 2305.12901): values in two regions, whose scales have a power-of-two ratio, and one bit
of the code that tells which. Behind GELU and SiLU the regions are the negative and the positive
values, behind softmax the small and the large ones.

Left out: their search of scales by second-order sensitivity (ranges have the least squared error
here) and TSPTQ-ViT's second scale for outlier channels of LayerNorm inputs.
"""

from codesign.quantize.recipe import METHODS, Recipe

METHODS.register("twoscale")(
    Recipe(
        observer="mse",
        softmax="two_scale",
        activation_codes="two_scale",
        bias_correction=False,
    )
)
