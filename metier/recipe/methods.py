"""Which options of `adaptation` each method reads. What a method does not read is a fault, never ignored."""

from __future__ import annotations

from collections.abc import Mapping

from metier.recipe.sections import AdaptationMethod, AdaptationSection

_LORA = frozenset({"r", "lora_alpha", "lora_dropout", "use_dora", "use_rslora", "target_modules"})

OPTIONS_READ: Mapping[AdaptationMethod, frozenset[str]] = {
    "full": frozenset({"head"}),
    "freeze": frozenset({"head", "layers"}),
    "lora": frozenset({"head", "layers"}) | _LORA,
    "head": frozenset({"head"}),
}


def options_without_effect(method: AdaptationMethod) -> tuple[str, ...]:
    """The options that `method` does not read, in the section's order."""
    read = OPTIONS_READ[method] | {"method"}
    return tuple(name for name in AdaptationSection.model_fields if name not in read)
