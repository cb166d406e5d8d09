"""Hardware, dtype, threads and seeds: the only file that asks what hardware exists."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.errors import LackingEnvironment
from metier.recipe.sections import HardwareSection
from metier.team import Team, current_team

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a run uses, decided once and written to the lock file."""

    device: str
    """`cpu`, `cuda` or `mps`."""
    dtype: str
    """`float32` or `bfloat16`: frozen weights and activations. What learns is float32."""
    threads: int
    reason: str
    """Why this dtype and device, as a sentence."""
    team: Team = field(default_factory=Team)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch's own value."""
        import torch

        return torch.bfloat16 if self.dtype == "bfloat16" else torch.float32


def choose_hardware(section: HardwareSection) -> Hardware:
    """Decide device, dtype and threads from the recipe and the machine, and set torch's thread count.

    Raises:
        LackingEnvironment: the recipe names a device that this machine does not have.
    """
    import torch

    device = _choose_device(section.device)
    native = _has_native_bfloat16(device)
    if section.dtype == "auto":
        dtype = "bfloat16" if native else "float32"
        reason = f"{device} {'has' if native else 'has no'} native bfloat16"
    else:
        dtype, reason = section.dtype, "set by the recipe"
    team = current_team()
    threads = section.threads or max(1, available_cores() // team.local_size)
    torch.set_num_threads(threads)
    if device == "cpu":
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KEPT_KERNELS))
        _keep_freed_memory()
    return Hardware(device=device, dtype=dtype, threads=threads, reason=reason, team=team)


def _choose_device(wanted: str) -> str:
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if present[name])
    if not present[wanted]:
        raise LackingEnvironment(
            "hardware.device", f"{wanted}, which this machine does not have",
            " or ".join(name for name, there in present.items() if there), 'Set it to "auto".',
        )  # fmt: skip
    return wanted


KEPT_KERNELS = 128
"""oneDNN keeps what it has prepared for a shape of matrix product, 1,024 of them if nobody says otherwise. Batches have
ever other shapes, so what a pass needs twice is among the last hundred, and the others hold a quarter of a gigabyte
(`bench/kernel_cache.py`). It is read when the first product is computed."""
MALLOC_TRIM_THRESHOLD, MALLOC_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt, from its malloc.h."""


@lru_cache
def _keep_freed_memory() -> bool:
    """Let the C library keep what tensors free, for the next tensors; returns whether it listens (glibc does).

    By default large blocks go back to the system when they are freed, and every page of the next one is asked for
    and cleared again (docs/results/plain-path.md has what that costs).
    """
    library = _c_library()
    if library is None:
        return False
    largest = 2**31 - 1
    return bool(library.mallopt(MALLOC_TRIM_THRESHOLD, largest) and library.mallopt(MALLOC_MMAP_THRESHOLD, largest))


def release_freed_memory() -> None:
    """Give memory that is free but kept back to the system: worth it between stages, not between steps."""
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


SMALL_PRODUCT = 1e8
"""Multiplications of a matrix product below which a second thread of BLAS waits longer than it works."""


@contextmanager
def few_threads(multiplications: float) -> Iterator[None]:
    """Let BLAS (numpy, scipy) work in one thread while the block runs, where its products are small.

    Solvers call small products thousands of times, and between two of them BLAS's threads wait by turning: solving the
    head of 553 examples, 384 features and 17 classes at 7 strengths took 15 s of processor time in two threads on a
    busy machine, and 0.2 s in one.

    Args:
        multiplications: Of one product.
    """
    if multiplications >= SMALL_PRODUCT:
        yield
        return
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn needs it too

    with threadpool_limits(limits=1, user_api="blas"):
        yield


LOOK_SECONDS = 0.25
"""Between two looks at how much memory this process holds."""
GROWTH = 0.08
"""Share by which it may have grown since memory was last given back; what was given back has to be taken again."""


@dataclass
class _Tidied:
    """When this process looked at its memory, by the monotonic clock, and what it held when some was given back."""

    at: float = 0.0
    resident: int = 0


_TIDIED = _Tidied()


def tidy_memory() -> None:
    """Between two passes: give freed memory back where it has become scattered and the process has grown by that.

    Freed memory is kept for the next tensors (`choose_hardware`). Passes of ever other sizes leave gaps that the next
    ones do not fit into, and the process grows, to twice what it needs within a few hundred steps.
    """
    now = time.monotonic()
    if now - _TIDIED.at < LOOK_SECONDS:
        return
    _TIDIED.at = now
    held = resident_bytes()
    if held > _TIDIED.resident * (1 + GROWTH):
        release_freed_memory()
        held = _TIDIED.resident = resident_bytes()
    _TIDIED.resident = min(_TIDIED.resident, held)


def resident_bytes() -> int:
    """Memory that this process holds now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def _c_library() -> Any | None:
    """The C library of this process where it is glibc; None elsewhere."""
    if platform.system() != "Linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


@lru_cache
def _has_native_bfloat16(device: str) -> bool:
    """Whether bfloat16 matrix products run in hardware, not through float32."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "mps":
        return False
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags())


@lru_cache
def cpu_flags() -> frozenset[str]:
    """Feature flags of the processor (Linux); empty where the system does not list them."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return frozenset()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


@lru_cache
def cpu_vendor() -> str:
    """Maker of the processor as Linux names it (`GenuineIntel`, `AuthenticAMD`); empty where it does not."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    return ""


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def total_memory_bytes() -> int:
    """Physical memory of the machine in bytes."""
    import psutil

    return int(psutil.virtual_memory().total)


def available_memory_bytes() -> int:
    """Memory in bytes that can be taken without swapping, within the limit of the container where there is one."""
    import psutil

    free = int(psutil.virtual_memory().available)
    room = _container_room(Path("/sys/fs/cgroup"))
    return free if room is None else max(0, min(free, room))


def _container_room(group: Path) -> int | None:
    """What is left below the memory limit of a control group (version 2); None where there is no limit.

    File pages that nobody used lately are given back before the limit counts.
    """
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return None
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        idle = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
        return int(limit) - used + idle
    except (OSError, ValueError, IndexError):
        return None


def free_memory_bytes(device: torch.device) -> int:
    """Memory in bytes that tensors on a device can still take: on a GPU what is free or held by torch and unused."""
    import torch

    if device.type != "cuda":
        return available_memory_bytes()
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unused


def peak_memory_bytes() -> int | None:
    """Highest resident memory of this process so far in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if platform.system() == "Darwin" else peak * 1024)


def energy_joules() -> float | None:
    """What the processors have used since some moment in the past, by their own counters (RAPL, Linux).

    Two readings are compared; a counter that began anew in between makes the difference negative. None where
    the machine has no such counter or does not let this user read it.
    """
    total, found = 0, False
    for zone in Path("/sys/class/powercap").glob("intel-rapl:?"):  # packages; their parts have a second number
        try:
            total += int((zone / "energy_uj").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        found = True
    return total / 1e6 if found else None


def describe_machine() -> dict[str, Any]:
    """What the lock file and `metier doctor` say about this machine."""
    return {
        "system": platform.system(), "machine": platform.machine(), "python": platform.python_version(),
        "cpu": _cpu_name(), "cores": available_cores(), "memory_bytes": total_memory_bytes(),
    }  # fmt: skip


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed that is a function of `seed` and `names` only, never of process or order of calls."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers inside are a function of `seed`; the state outside is untouched."""
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
