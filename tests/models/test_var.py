import json

import pytest
import torch
from parity import DATA

from varc.models.var import VAR, VARConfig, tokens_at

PATCH_NUMS = (1, 2, 3)


def small(shared_adaln=False):
    torch.manual_seed(3)
    model = VAR(VARConfig(2, 32, 4, 5, 16, 8, PATCH_NUMS, shared_adaln)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("name", ["var_d16", "var_d20", "var_d24", "var_d30", "var_d36"])
def test_names_and_shapes_are_the_public_checkpoints(name):
    depth = int(name.removeprefix("var_d"))
    patch_nums = (1, 2, 3, 4, 6, 9, 13, 18, 24, 32) if depth == 36 else (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    with torch.device("meta"):
        state = VAR(VARConfig(depth, 64 * depth, depth, 1000, 4096, 32, patch_nums, depth == 36)).state_dict()
    found = {key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()}
    assert found == json.loads((DATA / "checkpoint_keys.json").read_text())[name]


@pytest.mark.parametrize("shared_adaln", [False, True])
@torch.inference_mode()
def test_logits_depend_on_earlier_scales_only(shared_adaln):
    model = small(shared_adaln)
    teacher_input = torch.randn(1, 13, 8)
    labels = torch.tensor([2])
    logits = model(labels, teacher_input)
    changed = teacher_input.clone()
    changed[:, 4:] += 1  # the input of the last scale
    other = model(labels, changed)
    assert torch.equal(other[:, :5], logits[:, :5])
    assert ((other[:, 5:] - logits[:, 5:]).abs().amax(-1) > 1e-3).all()
    # within a scale every token sees every other one: changing one position changes all nine
    changed = teacher_input.clone()
    changed[:, -1] += 1
    assert ((model(labels, changed)[:, 5:] - logits[:, 5:]).abs().amax(-1) > 1e-5).all()


@torch.inference_mode()
def test_first_scales_alone_give_the_same_logits():
    model, teacher_input, labels = small(), torch.randn(2, 13, 8), torch.tensor([0, 5])
    whole = model(labels, teacher_input)
    for scales in (1, 2):
        length = tokens_at(PATCH_NUMS, scales)
        assert torch.allclose(model(labels, teacher_input[:, : length - 1]), whole[:, :length], atol=1e-5)


@torch.inference_mode()
def test_the_class_matters_and_the_last_index_is_unconditional():
    model, teacher_input = small(), torch.randn(1, 13, 8).expand(6, -1, -1)
    logits = model(torch.arange(6), teacher_input)
    for a in range(6):
        for b in range(a):
            assert (logits[a] - logits[b]).abs().max() > 1e-3
    with pytest.raises(IndexError):
        model(torch.tensor([6]), teacher_input[:1])


@torch.inference_mode()
def test_shared_adaln_is_one_projection_plus_an_offset_per_block():
    shared, plain = small(True), small()
    state = plain.state_dict()
    for i, block in enumerate(shared.blocks):
        state |= {f"blocks.{i}.{key}": value for key, value in block.state_dict().items() if key != "ada_gss"}
        state[f"blocks.{i}.ada_lin.1.weight"] = shared.shared_ada_lin[1].weight
        state[f"blocks.{i}.ada_lin.1.bias"] = shared.shared_ada_lin[1].bias + block.ada_gss.flatten()
    state |= {key: value for key, value in shared.state_dict().items() if key in state and "blocks" not in key}
    plain.load_state_dict(state)
    teacher_input, labels = torch.randn(2, 13, 8), torch.tensor([1, 5])
    assert torch.allclose(plain(labels, teacher_input), shared(labels, teacher_input), atol=1e-5)


@torch.inference_mode()
def test_attention_scale_is_capped_at_100():
    model, teacher_input, labels = small(), torch.randn(1, 13, 8), torch.tensor([1])
    for block in model.blocks:
        block.attn.scale_mul_1H11.fill_(5.0)  # above log 100 = 4.6
    capped = model(labels, teacher_input)
    for block in model.blocks:
        block.attn.scale_mul_1H11.fill_(9.0)
    assert torch.equal(model(labels, teacher_input), capped)
