"""A GPU that is not there: code runs as on CUDA, computed by the CPU, and mixed devices are errors as they are there.

    with PretendCuda() as gpu:
        model.to("cuda")  # says that it is on cuda:0

A tensor of the GPU (OnCuda) wraps one of the CPU. Every operator is checked as CUDA does, computed on what is wrapped,
and counted: what would launch kernels, make the host wait, or copy from the host, and the bytes that are held.
"""

import collections
import contextlib
import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda:0")
ROOT = Path(__file__).parents[2]
OURS = (f"{ROOT}/varc/", f"{ROOT}/scripts/")  # whose lines are told in errors and counts
BLOCK = 512  # bytes, in whole numbers of which CUDA's allocator hands out memory
NO_NUMPY = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."

COPIES = ("_to_copy", "copy_", "copy")  # operators that may have tensors of both devices
INDEXED = ("index", "_unsafe_index")
PUT = ("index_put_", "index_put", "_index_put_impl_")
NO_SCALARS = ("cat", "stack", "gather", "bmm", "mm")  # take no scalar of the CPU beside tensors of the GPU
WAITS = (  # operators whose result's size or value the host must know
    *("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select", "equal"),
    *("is_nonzero", "bincount"),
)
NO_KERNEL = (
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "alias", "lift_fresh"),
    "_unsafe_view",
)


class Memory:
    """Stands for one block of the GPU's memory, which is free once no tensor has it."""


class OnCuda(torch.Tensor):
    """A tensor that says that it is on cuda:0; `host` has its numbers."""

    host: torch.Tensor
    memory: Memory

    @staticmethod
    def __new__(cls, host: torch.Tensor, memory: Memory) -> "OnCuda":
        shape = {"strides": host.stride(), "storage_offset": host.storage_offset()}
        kind = {"dtype": host.dtype, "layout": host.layout, "device": "meta", "requires_grad": False}
        tensor = torch.Tensor._make_wrapper_subclass(cls, host.size(), **shape, **kind)
        tensor.host, tensor.memory = host, memory
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if PretendCuda.current is None:
            raise RuntimeError("a tensor of the pretended GPU was used after it")
        return PretendCuda.current.run(func, args, kwargs or {})

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)
    is_cpu = property(lambda self: False)

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, new):
        if not isinstance(new, OnCuda):
            raise RuntimeError("data of a tensor on cuda:0 set to one on the CPU")
        torch.Tensor.data.__set__(self, new)
        self.host, self.memory = new.host, new.memory

    def get_device(self):
        return CUDA.index

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, *, force=False):
        if not force:
            raise TypeError(NO_NUMPY)
        return self.cpu().numpy()

    def __array__(self, *args, **options):
        raise TypeError(NO_NUMPY)

    def __repr__(self, **options):
        return f"OnCuda({self.host!r})"

    def __getitem__(self, key):
        return super().__getitem__(without_lists(key))

    def __setitem__(self, key, value):
        super().__setitem__(without_lists(key), value)

    def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
        made = torch.tensor(data, dtype=dtype or self.dtype).to(device or CUDA)
        return made.requires_grad_(requires_grad)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copied = self.detach().clone().requires_grad_(self.requires_grad)
            is_parameter = getattr(self, "_is_param", False)
            memo[id(self)] = torch.nn.Parameter(copied, self.requires_grad) if is_parameter else copied
        return memo[id(self)]


class Call(NamedTuple):
    """A call of an operator."""

    operator: Any
    name: str  # such as "add_"
    args: tuple
    kwargs: dict
    tensors: list  # all tensors among the arguments
    ours: list  # those of them that are on the GPU
    asked: str | None  # the type of the device that the result was asked to be on

    @classmethod
    def of(cls, operator: Any, args: tuple, kwargs: dict) -> "Call":
        if kwargs.get("device") is not None:
            asked = torch.device(kwargs["device"])
            if asked.type == "meta":  # from C++ code, that asks for what an OnCuda says of itself there
                asked = CUDA
            kwargs = {**kwargs, "device": asked}
        tensors = list(tensors_in((*args, *kwargs.values())))
        ours = [t for t in tensors if isinstance(t, OnCuda)]
        asked = kwargs["device"].type if kwargs.get("device") is not None else None
        return cls(operator, operator._schema.name.split("::")[1], args, kwargs, tensors, ours, asked)

    @property
    def on_cuda(self) -> bool:
        """Whether the result is on the GPU."""
        if self.name in ("copy_", "copy"):
            return isinstance(self.args[0], OnCuda)
        if self.name == "_local_scalar_dense":
            return False
        return self.asked == "cuda" or (bool(self.ours) and self.asked != "cpu")

    @property
    def writes(self) -> list:
        """The arguments that the operator writes to."""
        written = written_arguments(self.operator)
        return [self.args[i] if i < len(self.args) else self.kwargs.get(name) for i, name in written]

    def computed(self) -> Any:
        """The result on the CPU."""
        kwargs = dict(self.kwargs)
        if self.asked == "cuda":
            kwargs["device"] = "cpu"
            kwargs.pop("pin_memory", None)
        kwargs = {name: each(inner, value) for name, value in kwargs.items()}
        return self.operator(*each(inner, self.args), **kwargs)

    def by_mask(self) -> bool:
        """Whether it indexes by a mask, whose number of elements the host must know."""
        indices = self.args[1] if self.name in ("index", "index_put_") else ()
        return any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices)

    def makes(self, out: Any) -> bool:
        """Whether its result `out` is new, or written to: not a view of an argument."""
        first = next(iter(out), None) if isinstance(out, (tuple, list)) else out
        is_new = isinstance(first, torch.Tensor) and not any(same_memory(t.host, first) for t in self.ours)
        return is_new or self.operator._schema.is_mutable


class Numbered(TorchFunctionMode):
    """Reads "cuda" as "cuda:0", since a torch without CUDA has nobody to ask which is the current device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cuda:
            func, args = torch.Tensor.to, (args[0], CUDA)
        return func(*map(numbered, args), **{name: numbered(value) for name, value in (kwargs or {}).items()})


class PretendCuda(TorchDispatchMode):
    """The GPU, there while the block runs.

    total: bytes of its memory. used: those that other processes hold. cached: those that this process's allocator
    holds unused. capacity: tensors of more bytes in all are a torch.OutOfMemoryError; None: no limit.

    launches, syncs, copies: how often operators would launch kernels, make the host wait, copy from the host, by what
    and where. live, peak: bytes of the tensors that there are, and their maximum so far.
    """

    current: "PretendCuda | None" = None

    def __init__(self, total: int = 80 * 2**30, used: int = 0, capacity: int | None = None, cached: int = 0):
        super().__init__()
        self.total, self.used, self.capacity, self.cached = total, used, capacity, cached
        self.launches, self.syncs, self.copies = (collections.Counter() for _ in range(3))
        self.live = self.peak = 0
        self.patches = contextlib.ExitStack()

    # Memory

    def take(self, size: int) -> Memory:
        """A block of memory, free again once nothing refers to it. Raises OutOfMemoryError beyond the capacity."""
        size = -(-size // BLOCK) * BLOCK
        if self.capacity is not None and self.live + size > self.capacity:
            raise torch.OutOfMemoryError(f"CUDA out of memory (pretended): {self.live} + {size} > {self.capacity}")
        self.live += size
        self.peak = max(self.peak, self.live)
        memory = Memory()
        weakref.finalize(memory, self.free, size)
        return memory

    def free(self, size: int) -> None:
        self.live -= size

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        """What the driver calls free, and all memory; what the allocator holds is not free, used or not."""
        return max(0, self.total - self.used - self.cached - self.live), self.total

    def memory_allocated(self, device: Any = None) -> int:
        return self.live

    def max_memory_allocated(self, device: Any = None) -> int:
        return self.peak

    def memory_reserved(self, device: Any = None) -> int:
        return self.live + self.cached

    def memory_stats(self, device: Any = None) -> dict[str, int]:
        """The numbers of torch.cuda.memory_stats that are known here."""
        return {
            "allocated_bytes.all.current": self.live,
            "allocated_bytes.all.peak": self.peak,
            "reserved_bytes.all.current": self.live + self.cached,
        }

    def empty_cache(self) -> None:
        self.cached = 0

    # Operators

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.run(func, args, kwargs or {})

    def run(self, operator: Any, args: tuple, kwargs: dict) -> Any:
        """What an operator returns: checked, computed on the CPU, counted, and wrapped where it is on the GPU."""
        call = Call.of(operator, args, kwargs)
        if operator is torch.ops.prim.device.default:
            return call.tensors[0].device
        parts = self.decomposed(call)
        if parts is not NotImplemented:
            return parts
        check_devices(call, self.copies)
        out = call.computed()
        self.count(call, out)
        return self.returned(call, out)

    def decomposed(self, call: Call) -> Any:
        """The result by the operators that this one consists of; NotImplemented where it has its own kernel.

        Autograd takes operators apart before they come here; without it, in inference mode, they come whole.
        """
        if call.name.startswith("upsample") or not is_composite(call.operator):
            return NotImplemented
        with again(self):
            return call.operator.decompose(*call.args, **call.kwargs)

    def returned(self, call: Call, out: Any) -> Any:
        """The result as the caller gets it: operators in place return their very arguments."""
        written = call.writes
        if isinstance(out, torch.Tensor) and written:
            return written[0]
        if not call.on_cuda:
            return out
        return each(lambda t: self.wrapped(t, call.ours) if isinstance(t, torch.Tensor) else t, out)

    def wrapped(self, host: torch.Tensor, sources: list) -> OnCuda:
        """A tensor of the GPU: in the memory of the sources that it is a view of, or else in new memory."""
        memory = next((t.memory for t in sources if same_memory(t.host, host)), None)
        if memory is None:
            memory = self.take(host.untyped_storage().nbytes())
        with torch.inference_mode(False):
            return OnCuda(host, memory)

    def count(self, call: Call, out: Any) -> None:
        """Counts a call as a launch, a wait, or a copy from the host; a view is none."""
        name = call.name
        if name == "_to_copy" and call.asked == "cpu" and call.ours:
            self.syncs[f"to the CPU at {place()}"] += 1
        elif name == "_to_copy" and call.asked == "cuda" and not call.ours:
            self.copies[f"from the CPU at {place()}"] += 1
        elif name == "copy_" and 0 < len(call.ours) < len(call.tensors):
            (self.copies if call.on_cuda else self.syncs)[f"copy_ at {place()}"] += 1
        elif call.ours or call.asked == "cuda":
            if name in WAITS or call.by_mask():
                self.syncs[f"{name} at {place()}"] += 1
            if name not in NO_KERNEL and call.makes(out):
                self.launches[name] += 1

    # What else a program sees of CUDA

    def faked(self) -> dict[str, Callable[..., Any]]:
        """Functions of torch.cuda, by name."""
        memory = ("mem_get_info", "memory_allocated", "max_memory_allocated", "memory_reserved", "memory_stats")
        return {
            **{name: getattr(self, name) for name in (*memory, "empty_cache")},
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: CUDA.index,
            "set_device": lambda device: None,
            "synchronize": lambda device=None: None,
            "get_device_name": lambda device=None: "Pretended GPU",
            "is_bf16_supported": lambda including_emulation=True: True,
            "manual_seed_all": lambda seed: None,
        }

    def __enter__(self):
        torch._C._ensureCUDADeviceGuardSet()  # or a torch with CUDA would ask the driver for its devices
        self.patches.enter_context(Numbered())
        for name, function in self.faked().items():
            self.patches.enter_context(mock.patch.object(torch.cuda, name, function))
        for owner, name, made in (
            (F, "scaled_dot_product_attention", functools.partial(attention_for, self)),
            (F, "conv2d", traced_conv2d_for),
            (torch.func, "jvp", jvp_for),
        ):
            self.patches.enter_context(mock.patch.object(owner, name, made(getattr(owner, name))))
        self.patches.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(x, device="cuda") is a copy from the CPU
        PretendCuda.current = self
        return super().__enter__()

    def __exit__(self, *args):
        try:
            return super().__exit__(*args)
        finally:
            PretendCuda.current = None
            self.patches.close()


def check_devices(call: Call, copies: collections.Counter) -> None:
    """Raises RuntimeError for tensors of both devices where CUDA refuses them; host indices count as copies."""
    others = [t for t in call.tensors if not isinstance(t, OnCuda)]
    if not call.ours or not others or call.name in COPIES:
        return
    first_on_cuda = isinstance(call.args[0], OnCuda)
    if call.name in INDEXED:
        if not first_on_cuda:
            raise RuntimeError(f"indices should be on the same device as the indexed tensor (cpu) at {place()}")
        copies[f"index by a host tensor at {place()}"] += 1
    elif call.name in PUT:
        if not first_on_cuda or not (isinstance(call.args[2], OnCuda) or call.args[2].ndim == 0):
            raise RuntimeError(f"Expected all tensors to be on the same device: {call.name} at {place()}")
        copies[f"index_put by a host tensor at {place()}"] += 1
    elif any(t.ndim > 0 for t in others) or call.name in NO_SCALARS:
        found = ", ".join(f"{t.device.type}{tuple(t.shape)}" for t in call.tensors)
        raise RuntimeError(f"Expected all tensors to be on the same device: {call.name}({found}) at {place()}")


def attention_for(gpu: PretendCuda, original: Callable[..., Any]) -> Callable[..., Any]:
    """F.scaled_dot_product_attention, which on CUDA is one kernel; with gradients as plain products."""

    def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
        if not isinstance(q, OnCuda):
            return original(q, k, v, attn_mask, dropout_p, **options)
        tensors = [t for t in (q, k, v, attn_mask) if t is not None]
        if not all(isinstance(t, OnCuda) for t in tensors):
            raise RuntimeError(f"Expected all tensors to be on the same device: attention at {place()}")
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            assert not (dropout_p or enable_gqa), "not pretended"
            if is_causal:
                attn_mask = q.new_full((q.shape[-2], k.shape[-2]), -torch.inf).triu(1)
            scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
            return (scores if attn_mask is None else scores + attn_mask).softmax(-1) @ v
        gpu.launches["attention"] += 1
        return gpu.wrapped(original(*map(inner, (q, k, v, attn_mask)), dropout_p, **options), [])

    return attention


def traced_conv2d_for(original: Callable[..., Any]) -> Callable[..., Any]:
    """F.conv2d, which torch.jit's tracer (fvcore counts by it) does not see where a mode computes it; its inner
    operator it does."""

    def conv2d(images, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if torch._C._get_tracing_state() is None:
            return original(images, weight, bias, stride, padding, dilation, groups)
        sizes = [(size, size) if isinstance(size, int) else size for size in (stride, padding, dilation)]
        return torch._convolution(images, weight, bias, *sizes, False, (0, 0), groups, False, False, False, False)

    return conv2d


def jvp_for(original: Callable[..., Any]) -> Callable[..., Any]:
    """torch.func.jvp, which takes no wrapped tensors: for those by two derivatives in reverse.

    v -> J^T v is linear, and the derivative of its product with the tangents is J times them.
    """

    def jvp(function, primals, tangents):
        if not isinstance(primals[0], OnCuda):
            return original(function, primals, tangents)
        with torch.inference_mode(False), torch.enable_grad():
            inputs = [p.detach().requires_grad_() for p in primals]
            out = function(*inputs)
            v = torch.zeros_like(out, requires_grad=True)
            backward = torch.autograd.grad(out, inputs, v, create_graph=True)
            (product,) = torch.autograd.grad(backward, v, tangents)
        return function(*primals), product

    return jvp


@functools.cache
def is_composite(operator: Any) -> bool:
    """Whether an operator is made of others, and has no kernel of its own."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), "CompositeImplicitAutograd")


@functools.cache
def written_arguments(operator: Any) -> list[tuple[int, str]]:
    """Position and name of the arguments that an operator writes to."""
    arguments = enumerate(operator._schema.arguments)
    return [(i, a.name) for i, a in arguments if a.alias_info is not None and a.alias_info.is_write]


@contextlib.contextmanager
def again(mode: TorchDispatchMode) -> Iterator[None]:
    """Enters a mode within its own __torch_dispatch__, where it is off."""
    TorchDispatchMode.__enter__(mode)
    try:
        yield
    finally:
        TorchDispatchMode.__exit__(mode, None, None, None)


def numbered(value: Any) -> Any:
    """A device as it is, but with its number; anything else as it is."""
    if isinstance(value, (str, torch.device)) and str(value) == "cuda":
        return CUDA
    return value


def without_lists(key: Any) -> Any:
    """An index whose lists and arrays are host tensors, as torch makes them."""
    if isinstance(key, tuple):
        return tuple(without_lists(part) for part in key)
    return torch.as_tensor(key) if isinstance(key, (list, np.ndarray)) else key


def each(function: Callable[[Any], Any], value: Any) -> Any:
    """The function of a value, or of each within a tuple or list, as operators take and give them."""
    if isinstance(value, (tuple, list)):
        return type(value)(each(function, part) for part in value)
    return function(value)


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The tensors among values, and within tuples and lists."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_in(value)


def inner(value: Any) -> Any:
    """What a tensor of the GPU wraps; anything else as it is."""
    return value.host if isinstance(value, OnCuda) else value


def same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors share their storage."""
    return a is b or a.untyped_storage()._cdata == b.untyped_storage()._cdata


def place() -> str:
    """File and line of the innermost frame of the project; "?" where there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(OURS):
            return f"{frame.f_code.co_filename.removeprefix(f'{ROOT}/')}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
