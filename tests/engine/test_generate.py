"""Answers written together equal transformers' own, token for token, family by family, however they are batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from metier.engine.forward import TreeRunner
from metier.engine.generate import Decoding, Written, generate
from metier.engine.slots import Slots
from metier.engine.tree import Ints
from metier.events import Progress
from metier.model.adapt import adapt_model
from metier.recipe.sections import AdaptationSection

TinyBase = Callable[..., Any]
FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "gemma3_text", "phi3", "gpt2"]
NEW = 12
SIZES: dict[str, dict[str, Any]] = {
    "phi3": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300,
        "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.15, "pad_token_id": 0,
        "sliding_window": 7,
    }
}  # fmt: skip


@cache
def made(family: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SIZES[family])).eval()


def network_of(tiny_base: TinyBase, family: str) -> Any:
    """A tiny random network; those of `SIZES` have no folder."""
    return made(family) if family in SIZES else tiny_base(family).network


def random_prompts(count: int, shared: int, seed: int = 0) -> list[Ints]:
    rng = np.random.default_rng(seed)
    start = rng.integers(3, 250, shared)
    return [np.concatenate([start, rng.integers(3, 250, rng.integers(1, 14))]) for _ in range(count)]


def reference(network: Any, prompts: Sequence[Ints], new: int, stop_ids: frozenset[int]) -> list[list[int]]:
    """Greedy answers of transformers' own generation, one prompt at a time, without the token that ended them."""
    answers = []
    for prompt in prompts:
        ids = torch.from_numpy(prompt)[None]
        options = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=sorted(stop_ids), pad_token_id=0)
        out = network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=options)
        answer = out[0, len(prompt) :].tolist()
        answers.append(answer[:-1] if answer[-1] in stop_ids else answer)
    return answers


def some_stop_ids(network: Any, prompts: Sequence[Ints]) -> frozenset[int]:
    """Tokens that end some answers early: what an untrained model writes is known only afterwards."""
    free = reference(network, prompts, NEW, frozenset({319}))
    return frozenset(answer[len(answer) // 2] for answer in free[:2])


def ids_of(answers: Sequence[Written]) -> list[list[int]]:
    return [answer.ids.tolist() for answer in answers]


@pytest.mark.parametrize("shared", [0, 40], ids=["nothing shared", "a shared beginning"])
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers(tiny_base: TinyBase, notices: Any, family: str, shared: int) -> None:
    network, prompts = network_of(tiny_base, family), random_prompts(9, shared)
    prompts.append(prompts[2])
    stop_ids = some_stop_ids(network, prompts)
    wanted = reference(network, prompts, NEW, stop_ids)
    assert min(len(answer) for answer in wanted) < NEW, "some end by themselves"
    runner = TreeRunner(network, observers=[notices])
    for size in (1, 3, 8):
        decoding = Decoding(max_new_tokens=NEW, stop_ids=stop_ids, batch_size=size)
        answers = generate(runner, prompts, decoding, budget=30 if size == 3 else 2048)
        assert ids_of(answers) == wanted, size
        for answer in answers:
            assert answer.stop == ("length" if len(answer.ids) == NEW else "end of turn")
            assert answer.text is None
    assert notices.messages == [] and not runner.plain and runner.writes


@pytest.mark.parametrize("family", ["mistral", "gemma3_text", "llama"])
def test_a_prefix_in_parts_that_windows_leave_behind(
    tiny_base: TinyBase, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """Windows of 5 tokens end inside the prefix, at its edge and after it, in one batch."""
    monkeypatch.setattr("metier.engine.generate.SHORTEST_PREFIX", 1)
    monkeypatch.setattr("metier.engine.slots.ROOM", 2)
    network, stop_ids = tiny_base(family).network, frozenset({319})
    rng = np.random.default_rng(5)
    start = rng.integers(3, 250, 6)
    prompts = [np.concatenate([start, rng.integers(3, 250, length)]) for length in (1, 1, 2, 3, 9, 20)]
    wanted = reference(network, prompts, NEW, stop_ids)
    for size in (2, 6):
        decoding = Decoding(max_new_tokens=NEW, stop_ids=stop_ids, batch_size=size)
        assert ids_of(generate(TreeRunner(network), prompts, decoding)) == wanted


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prompts=st.lists(st.lists(st.integers(3, 9), min_size=1, max_size=6), min_size=1, max_size=7),
    size=st.integers(1, 5), budget=st.integers(1, 20), new=st.integers(1, 5), prefix=st.sampled_from([1, 32]),
)  # fmt: skip
def test_any_prompts(
    tiny_base: TinyBase, monkeypatch: pytest.MonkeyPatch,
    prompts: list[list[int]], size: int, budget: int, new: int, prefix: int,
) -> None:  # fmt: skip
    """Equal prompts, prompts that begin others, single tokens."""
    monkeypatch.setattr("metier.engine.generate.SHORTEST_PREFIX", prefix)
    network, rows = made("phi3"), [np.array(prompt, dtype=np.int64) for prompt in prompts]
    stop_ids = frozenset({11, 12, *range(100, 160)})
    decoding = Decoding(max_new_tokens=new, stop_ids=stop_ids, batch_size=size)
    answers = generate(TreeRunner(network), rows, decoding, budget=budget)
    assert ids_of(answers) == reference(network, rows, new, stop_ids)


def test_order_does_not_matter(tiny_base: TinyBase) -> None:
    network, prompts = tiny_base("llama").network, random_prompts(7, 0)
    decoding = Decoding(max_new_tokens=NEW, stop_ids=frozenset({5}), batch_size=3)
    first = ids_of(generate(TreeRunner(network), prompts, decoding))
    assert ids_of(generate(TreeRunner(network), prompts[::-1], decoding))[::-1] == first


def test_tokens_and_seconds_add_up(tiny_base: TinyBase) -> None:
    """A shared beginning is computed once; the last token of an answer that is long enough never is."""
    network, prompts = tiny_base("llama").network, random_prompts(5, 40)
    seen: list[Progress] = []
    decoding = Decoding(max_new_tokens=4, stop_ids=frozenset({319}), batch_size=2)
    answers = generate(TreeRunner(network), prompts, decoding, observers=[seen.append])  # type: ignore[list-item]
    distinct = 40 + sum(len(prompt) - 40 for prompt in prompts)
    assert sum(answer.computed for answer in answers) == distinct + sum(len(answer.ids) - 1 for answer in answers)
    assert all(answer.seconds > 0 for answer in answers)
    assert seen[-1] == Progress(label="writing", done=5, total=5)
    assert [event.done for event in seen] == sorted(event.done for event in seen)


def test_little_memory_makes_fewer_rows(tiny_base: TinyBase, monkeypatch: pytest.MonkeyPatch) -> None:
    network, prompts = tiny_base("llama").network, random_prompts(5, 0)
    decoding = Decoding(max_new_tokens=4, stop_ids=frozenset({319}), batch_size=5)
    wanted = ids_of(generate(TreeRunner(network), prompts, decoding))
    token = 3 * 2 * 2 * 8 * 4  # layers, keys and values, heads, head size, float32
    row = token * (max(map(len, prompts)) + 4)
    sizes = []
    for memory in (0, 4 * row, 100 * row):
        monkeypatch.setattr("metier.engine.generate.available_memory_bytes", lambda free=memory: free)
        monkeypatch.setattr("metier.engine.generate.Slots", lambda *args: sizes.append(args[0]) or Slots(*args))
        assert ids_of(generate(TreeRunner(network), prompts, decoding)) == wanted
    assert [size for number, size in enumerate(sizes) if number % 2] == [1, 2, 5], "every other one is the check's"


def test_no_prompts(tiny_base: TinyBase) -> None:
    assert generate(TreeRunner(tiny_base("llama").network), [], Decoding(max_new_tokens=1, stop_ids=frozenset())) == []


def test_what_cannot_be(tiny_base: TinyBase) -> None:
    runner, decoding = TreeRunner(tiny_base("llama").network), Decoding(max_new_tokens=1, stop_ids=frozenset())
    with pytest.raises(ValueError, match="at least one token"):
        generate(runner, [np.empty(0, dtype=np.int64)], decoding)
    with pytest.raises(ValueError, match="stop texts need `read`"):
        generate(runner, random_prompts(1, 0), replace(decoding, stop_texts=("x",)))
    with pytest.raises(ValueError, match="at least 1"):
        replace(decoding, max_new_tokens=0)


@pytest.mark.parametrize("changes", [{}, {"top_p": 0.8, "top_k": 20, "repetition_penalty": 1.3}], ids=["plain", "all"])
def test_sampling_is_a_function_of_seed_and_number(tiny_base: TinyBase, changes: dict[str, Any]) -> None:
    network, prompts = tiny_base("llama").network, random_prompts(8, 0)
    decoding = Decoding(max_new_tokens=NEW, stop_ids=frozenset({5}), temperature=0.9, batch_size=8, **changes)
    first = ids_of(generate(TreeRunner(network), prompts, decoding))
    for size in (1, 3):
        assert ids_of(generate(TreeRunner(network), prompts, replace(decoding, batch_size=size))) == first
    assert ids_of(generate(TreeRunner(network), prompts[4:], decoding, numbers=range(4, 8))) == first[4:]
    assert ids_of(generate(TreeRunner(network, plain=True), prompts, decoding)) == first
    assert ids_of(generate(TreeRunner(network), prompts, replace(decoding, seed=18))) != first
    same = ids_of(generate(TreeRunner(network), [prompts[0]] * 4, decoding))
    assert len({tuple(ids) for ids in same}) > 1, "the same prompt twice is drawn twice"


def test_repetition_penalty_equals_transformers(tiny_base: TinyBase) -> None:
    network, prompts = tiny_base("qwen2").network, random_prompts(6, 0)
    decoding = Decoding(max_new_tokens=NEW, stop_ids=frozenset({319}), repetition_penalty=1.5, batch_size=4)
    answers = ids_of(generate(TreeRunner(network), prompts, decoding))
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.from_numpy(prompt)[None]
        options = GenerationConfig(max_new_tokens=NEW, do_sample=False, repetition_penalty=1.5, pad_token_id=0)
        out = network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=options)
        assert answer == out[0, len(prompt) :].tolist()
    assert answers != reference(network, prompts, NEW, frozenset({319}))


def letters(ids: Sequence[int]) -> str:
    """Two letters a token, so that a stop text may begin inside one."""
    return "".join(f"{chr(97 + token % 7)}{chr(97 + token // 7 % 7)}" for token in ids)


@pytest.mark.parametrize("plain", [False, True], ids=["together", "one by one"])
def test_stop_texts(tiny_base: TinyBase, plain: bool) -> None:
    network, prompts = tiny_base("llama").network, random_prompts(6, 0)
    decoding = Decoding(max_new_tokens=NEW, stop_ids=frozenset({319}), batch_size=4)
    whole = [letters(answer.ids.tolist()) for answer in generate(TreeRunner(network), prompts, decoding)]
    stops = (whole[0][5:8], whole[1][4:7], "never")
    stopping = replace(decoding, stop_texts=stops)
    answers = generate(TreeRunner(network, plain=plain), prompts, stopping, read=letters)
    cuts = [min((text.find(stop) for stop in stops if stop in text), default=None) for text in whole]
    assert cuts[0] is not None and cuts[0] <= 5 and None in cuts
    for text, cut, answer in zip(whole, cuts, answers, strict=True):
        if cut is None:
            assert (answer.stop, answer.text, letters(answer.ids.tolist())) == ("length", None, text)
        else:
            assert (answer.stop, answer.text) == ("stop text", text[:cut])
            assert letters(answer.ids.tolist()) == text[: cut - cut % 2]


@pytest.mark.parametrize("family", ["mamba", "gemma2"])
def test_a_family_that_does_not_fit(tiny_base: TinyBase, notices: Any, family: str) -> None:
    network, prompts = tiny_base(family).network, random_prompts(5, 3)
    stop_ids, own = some_stop_ids(network, prompts), network.generation_config
    runner = TreeRunner(network, observers=[notices])
    decoding = Decoding(max_new_tokens=NEW, stop_ids=stop_ids, batch_size=4)
    for _ in range(2):
        assert ids_of(generate(runner, prompts, decoding)) == reference(network, prompts, NEW, stop_ids)
    why = "runs plainly" if family == "mamba" else "writes one answer at a time: TreeUnsupportedError: Gemma2Attention"
    assert len(notices.messages) == 1 and why in notices.messages[0]
    assert network.generation_config is own


def test_a_family_that_fits_trees_but_not_slots(
    tiny_base: TinyBase, notices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out by two steps that are compared; trees go on."""
    from metier.engine.slots import SlotStep

    network, prompts, stop_ids = tiny_base("llama").network, random_prompts(3, 0), frozenset({319})
    attend = SlotStep.attend
    monkeypatch.setattr(SlotStep, "attend", lambda *args: attend(*args) * 2)
    runner = TreeRunner(network, observers=[notices])
    decoding = Decoding(max_new_tokens=NEW, stop_ids=stop_ids)
    assert ids_of(generate(runner, prompts, decoding)) == reference(network, prompts, NEW, stop_ids)
    assert not runner.plain and runner.writes is False
    assert len(notices.messages) == 1 and "writes one answer at a time: logits of written" in notices.messages[0]


def trained(tiny_base: TinyBase, dtype: str) -> Any:
    """A model with an adapter that is not zero."""
    model = adapt_model(AdaptationSection(method="lora", r=4), tiny_base("llama", dtype=dtype), seed=5)
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            if "lora_B" in name:
                parameter.copy_(torch.linspace(-0.2, 0.2, parameter.numel()).reshape(parameter.shape))
    return model


def test_with_a_trained_adapter(tiny_base: TinyBase) -> None:
    model, prompts, stop_ids = trained(tiny_base, "float32"), random_prompts(6, 40), frozenset({319})
    model.network.train(True)
    decoding = Decoding(max_new_tokens=NEW, stop_ids=stop_ids, batch_size=4)
    answers = ids_of(generate(TreeRunner(model.network), prompts, decoding))
    assert model.network.training, "given back as it came"
    model.network.eval()
    assert answers == reference(model.network, prompts, NEW, stop_ids)
    assert answers != reference(tiny_base("llama").network, prompts, NEW, stop_ids)


@pytest.mark.parametrize("autocast", [False, True], ids=["bfloat16", "autocast"])
@pytest.mark.parametrize("shared", [0, 40])
def test_low_precision_stays_near(tiny_base: TinyBase, notices: Any, autocast: bool, shared: int) -> None:
    """Not token for token, but what is written is nearly as likely as what the exact model would write."""
    network = trained(tiny_base, "float32" if autocast else "bfloat16").network
    prompts, exact = random_prompts(6, shared), trained(tiny_base, "float32").network
    runner = TreeRunner(network, autocast=autocast, observers=[notices])
    answers = generate(runner, prompts, Decoding(max_new_tokens=NEW, stop_ids=frozenset({319}), batch_size=4))
    assert notices.messages == [] and runner.writes
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.from_numpy(np.concatenate([prompt, answer.ids]))[None]
        with torch.no_grad():
            logits = exact(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
        given_up = logits.max(dim=1).values - logits[torch.arange(NEW), torch.from_numpy(answer.ids)]
        assert float(given_up.max()) < 0.3


def test_the_trunk_is_set_aside_and_given_back(tiny_base: TinyBase) -> None:
    network, trunk = tiny_base("llama").network, object()
    runner = TreeRunner(network, trunk=trunk)  # type: ignore[arg-type]
    generate(runner, random_prompts(2, 0), Decoding(max_new_tokens=2, stop_ids=frozenset()))
    assert runner.trunk is trunk
    assert network.config._attn_implementation == "sdpa"
