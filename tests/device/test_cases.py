"""Library functions that take a device give on a GPU what they give on the CPU; the GPU is pretended."""

from unittest import mock

import numpy as np
import pytest
import torch
from device import cases
from device.cases import CASES
from device.pretend import CUDA, PretendCuda
from device.states import set_states

CLOSE = 1e-5  # absolute, and relative beyond 1: log-likelihoods are hundreds of nats
LOOSE = {  # bfloat16 has 8 bits, rounded here and there in another order; autocast is not pretended, so float32 there
    "score_bf16": 5e-3,
    "finetune_cca_bf16": 5e-3,
}


@pytest.mark.parametrize("name", CASES)
def test_a_gpu_computes_what_the_cpu_does(name):
    expected = CASES[name](torch.device("cpu"))
    with PretendCuda() as gpu:
        found = CASES[name](CUDA)
    assert gpu.launches
    assert np.isfinite(expected).mean() > 0.5  # scales at which no candidate was left have none
    close = LOOSE.get(name, CLOSE)
    np.testing.assert_allclose(found, expected, rtol=close, atol=close)


@pytest.mark.parametrize("name", CASES)
def test_no_function_depends_on_the_state_of_a_global_generator(name):
    found = [from_state(name, state) for state in (1, 2)]
    assert np.array_equal(*found, equal_nan=True)


def from_state(name, state):
    """What a case gives on the CPU from a state of the global generators, after its models are made."""
    small_models = cases.small_models

    def then_in_state(*arguments, **options):
        try:
            return small_models(*arguments, **options)
        finally:
            set_states(state)

    set_states(state)
    with mock.patch.object(cases, "small_models", then_in_state):
        return CASES[name](torch.device("cpu"))
