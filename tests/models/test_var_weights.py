from dataclasses import replace

import pytest

from varc.errors import InputError
from varc.models.var import VARConfig
from varc.models.var_weights import check_fit
from varc.models.vqvae import VQVAEConfig

VQVAE = VQVAEConfig((1, 2, 3, 4), ch=8, z_channels=16, vocab_size=32)
VAR = VARConfig(2, 64, 4, 10, 32, 16, (1, 2, 3, 4))


@pytest.mark.parametrize(("key", "value"), [("patch_nums", (1, 2, 3, 5)), ("vocab_size", 64), ("z_channels", 8)])
def test_a_var_of_other_tokens_is_no_pair_with_a_vqvae(key, value):
    check_fit("var.pth", VAR, "vae.pth", VQVAE)
    other = replace(VAR, **{key: value})
    with pytest.raises(InputError, match=f"var.pth: {key} is .*, but that of vae.pth is .*; they are no pair"):
        check_fit("var.pth", other, "vae.pth", VQVAE)
