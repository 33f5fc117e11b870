"""Sees every operator below autograd: computes shapes only, and notes what it made. It holds no opinion on CUDA."""

# ruff: noqa: SLF001  what PyTorch does with a tensor is decided below its public functions
from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Dict, List, Sequence

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .devices import asks_for_gpu, is_meta, on_device
from .failures import RefusedError
from .ledger import GATHERED, HOST, Allocation, Ledger
from .shapes import Shapes, compute, tensors_in
from .state import STATE, placing
from .uniform import follow, value_of
from .unknowable import ALL_TRUE, DRAWN, DRAWS, guess_of, stand_in_for
from .work import Facts, Work, facts_of
from .workspaces import NOTHING, workspaces_of

if TYPE_CHECKING:
    from .sites import Sites

__all__ = ["Dispatch"]

aten = torch.ops.aten
PLAIN_DISPATCH: Any = torch.Tensor.__torch_dispatch__
VALUE_OF = aten._local_scalar_dense.default
LONGEST_LOOP = 10_000
"""Times in one step that a line may ask whether a generation is over: none asks as often that has a limit."""
TRUTHS = (aten.all.default, aten.all.dim)


class Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Stands where a GPU's kernels would be called."""

    def __init__(self, ledger: Ledger, sites: Sites) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = ledger
        self.sites = sites
        self.guesses: Counter[int] = Counter()
        self.work = Work()
        self.shapes = Shapes()
        self._facts: Dict[Any, Facts] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Otherwise each operator takes a detour through torch._dynamo, which takes a second to import."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator; for a tensor that wraps others, those it makes of it."""
        if STATE.passing:
            return func(*args, **(kwargs or {}))
        if types and any(kind.__torch_dispatch__ is not PLAIN_DISPATCH for kind in types):
            return NotImplemented
        with torch._C.DisableTorchFunction():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any]) -> Any:
        facts = self._facts.get(func)
        if facts is None:
            facts = self._facts[func] = facts_of(func)
        inputs = tensors_in(args)
        if kwargs:
            inputs += tensors_in(tuple(kwargs.values()))
        without_memory = [tensor for tensor in inputs if is_meta(tensor)]
        if inputs and not without_memory and not _is_gpu(kwargs.get("device")):
            return self._compute(func, args, kwargs, facts=facts, inputs=inputs)
        if func is VALUE_OF:
            return self._value(args[0])
        if kwargs.get("device") is not None:
            return self._place(func, args, kwargs, facts=facts, inputs=inputs)
        if len(without_memory) < len(inputs):
            if not is_meta(inputs[0]) and facts.name.endswith("_") and inputs[0].dim():
                return args[0]  # values that nobody has go into a real tensor
            args, kwargs = _as_meta(args), {name: _as_meta((value,))[0] for name, value in kwargs.items()}
        result = self.shapes.result_of(stand_in_for(func) or func, args, kwargs, is_view=facts.is_view)
        if not facts.is_view:
            self._note(facts, args, kwargs, result=result, inputs=inputs)
        _remember(func, facts, args, result=result, inputs=inputs)
        return result

    def _value(self, tensor: torch.Tensor) -> Any:
        known = value_of(tensor)
        if known is not None:
            return known
        site = self.sites.here()
        self.guesses[site] += 1
        if hasattr(tensor, DRAWN):
            STATE.notes.add("generation")
            if self.guesses[site] > LONGEST_LOOP:
                raise RefusedError("endless", "")
        return guess_of(tensor)

    def _place(
        self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any], *, facts: Facts, inputs: List[torch.Tensor]
    ) -> Any:
        """A device named by code that runs where the function mode is off, as hooks of autograd do."""
        device = kwargs["device"]
        if device.type == "cpu" and not inputs:
            return func(*args, **kwargs)
        with placing(STATE.place if device.type == "meta" else asks_for_gpu(device)):
            kwargs = {**kwargs, "device": torch.device("meta")}
            result = self.shapes.result_of(func, args, kwargs, is_view=facts.is_view)
            self._note(facts, args, kwargs, result=result, inputs=inputs)
        follow(facts.name, args, result)
        return result

    def _compute(
        self, func: Any, args: Sequence[Any], kwargs: Dict[str, Any], *, facts: Facts, inputs: List[torch.Tensor]
    ) -> Any:
        """Small constants are real, so that loops and schedules over them take their true course."""
        result = compute(func, args, kwargs)
        if not facts.is_view and (not STATE.gpu or (isinstance(result, torch.Tensor) and is_meta(result))):
            self._note(facts, args, kwargs, result=result, inputs=inputs)
        return result

    def _note(
        self, facts: Facts, args: Sequence[Any], kwargs: Dict[str, Any], *, result: Any, inputs: List[torch.Tensor]
    ) -> None:
        outputs = tensors_in(result if isinstance(result, (tuple, list)) else (result,))
        place = STATE.place
        if place is None:
            place = not STATE.gpu or not inputs or any(on_device(tensor) for tensor in inputs)
        if STATE.muted:
            return
        if facts.is_foreign:
            STATE.kernels.add(facts.full_name)
        site = self.sites.here()
        event = len(self.ledger.events)
        workspaces = workspaces_of(facts.name, args, kwargs, result=result) if place else NOTHING
        self._pass_by(facts.name, workspaces.before, site=site)
        for tensor in outputs:
            self._follow(tensor, facts.name, site=site, place=place)
        self._pass_by(facts.name, workspaces.beside, site=site)
        if place:
            self.work.record(facts, args, kwargs, result=result, inputs=inputs, outputs=outputs, event=event)

    def resized(self, storage: Any) -> None:
        """A storage lost its memory or has some again, as the parameters of sharded training do."""
        number = self.ledger.number_of(storage)
        if number == HOST:
            return
        self.ledger.empty(storage)
        size_bytes = storage.nbytes()
        if size_bytes:
            site, event = self.sites.here(), len(self.ledger.events)
            with_grad = torch.is_grad_enabled()
            again = Allocation(size_bytes, (size_bytes,), "uint8", GATHERED, site, event, with_grad, placed=False)
            self.ledger.add(storage, again)

    def _pass_by(self, operator: str, sizes: List[int], *, site: int) -> None:
        for size_bytes in sizes:
            event = len(self.ledger.events)
            self.ledger.pass_by(Allocation(size_bytes, (), "", operator, site, event, with_grad=False, placed=False))

    def _follow(self, tensor: torch.Tensor, operator: str, *, site: int, place: bool) -> None:
        if STATE.gpu and not is_meta(tensor):
            return
        with contextlib.suppress(NotImplementedError):  # a sparse tensor's parts are followed one by one
            storage = tensor.untyped_storage()
            size_bytes = storage.nbytes()
            if not size_bytes or self.ledger.knows(storage):
                return
            if not place:
                self.ledger.add_host(storage, size_bytes)
                return
            allocation = Allocation(
                size_bytes=size_bytes,
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype)[6:],
                operator=operator,
                site=site,
                event=len(self.ledger.events),
                with_grad=torch.is_grad_enabled(),
                placed=STATE.place is True,
            )
            self.ledger.add(storage, allocation)


def _remember(func: Any, facts: Facts, args: Sequence[Any], *, result: Any, inputs: List[torch.Tensor]) -> None:
    """What is known of the values of a result."""
    if not facts.is_view:
        follow(facts.name, args, result)
    if func in TRUTHS:
        setattr(result, ALL_TRUE, True)
    if facts.name in DRAWS or STATE.drawing:
        _mark_drawn(result, facts.name, inputs)


def _mark_drawn(result: Any, name: str, inputs: List[torch.Tensor]) -> None:
    """What is made of chosen numbers is chosen too, as long as it is no activation."""
    if name not in DRAWS and not any(hasattr(tensor, DRAWN) for tensor in inputs):
        return
    STATE.drawing = True
    for tensor in tensors_in(result if isinstance(result, (tuple, list)) else (result,)):
        if not tensor.is_floating_point():
            setattr(tensor, DRAWN, True)


def _is_gpu(device: Any) -> bool:
    return device is not None and device.type == "cuda"


def _as_meta(values: Sequence[Any]) -> List[Any]:
    """Real tensors beside those without memory lose theirs; a real scalar may stay, as beside a GPU's tensor."""
    return [
        [_without_memory(item) for item in value] if isinstance(value, (list, tuple)) else _without_memory(value)
        for value in values
    ]


def _without_memory(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dim() and not is_meta(value):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return value
