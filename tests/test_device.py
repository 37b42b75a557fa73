import pytest
import torch

from varc.device import check_precision, pick_device
from varc.errors import InputError

CPU = torch.device("cpu")


def test_bf16_is_an_error_where_the_processor_lacks_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    check_precision("float32", CPU)
    with pytest.raises(InputError, match="precision: bf16: this cpu has no bfloat16"):
        check_precision("bf16", CPU)


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    with pytest.raises(InputError, match="device: cuda was asked for"):
        pick_device("cuda")
