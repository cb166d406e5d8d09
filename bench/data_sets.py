"""The 35 data sets of the data folder, each with the recipe that reads it: at most three lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MOST_LINES = 3
"""Lines of a recipe: the task where it is not classification, and one for each field of `data`."""


@dataclass(frozen=True)
class DataSet:
    """One data set, or a part of one that is read by itself."""

    name: str
    """Name of the set in the data folder's README."""
    recipe: str
    """`key: value` lines: `task`, and the fields of `data`; paths are relative to the data folder."""
    part: str = ""
    """Which part it is; empty: the set, or what can be read of it as one."""

    @property
    def title(self) -> str:
        """What the table calls it."""
        return f"{self.name}, {self.part}" if self.part else self.name

    @property
    def file(self) -> str:
        """Name of its results."""
        return self.title.replace(", ", "-").replace(" ", "_") + ".json"

    @property
    def lines(self) -> tuple[str, ...]:
        """The recipe's lines."""
        return tuple(self.recipe.strip().splitlines())

    def values(self, data: Path) -> dict[str, Any]:
        """The recipe as `Recipe.model_validate` takes it.

        Args:
            data: The data folder.
        """
        fields = yaml.safe_load(self.recipe)
        task = fields.pop("task", "classification")
        for name in ("train", "test", "answers"):
            if name in fields:
                fields[name] = str(data / fields[name])
        return {"task": task, "data": fields}


SETS = (
    DataSet("banking77", "train: customer_support/banking77\nlabel: category"),
    DataSet("bitext_intents", "train: customer_support/bitext_intents\ntext: utterance\nlabel: intent"),
    DataSet(
        "bitext_intents",
        "train: customer_support/bitext_intents/older_release_messy.csv\ntext: utterance\nlabel: intent",
        "older release",
    ),
    DataSet("bitext_responses", "task: generation\ntrain: customer_support/bitext_responses"),
    DataSet("multidogo_software", "train: customer_support/multidogo_software\ntext: utterance\nlabel: intent"),
    DataSet(
        "abcd_policy", "task: text\ntrain: customer_support/abcd_policy/guidelines.json\ntext: subflows", "guidelines"
    ),
    DataSet("mts_dialog", "task: generation\ntrain: medical/mts_dialog\ntest: medical/mts_dialog/test*.csv"),
    DataSet(
        "pubmedqa_labeled",
        "train: medical/pubmedqa_labeled/ori_pqal.json\ntext: [CONTEXTS, QUESTION]\nlabel: final_decision",
    ),
    DataSet("medical_abstracts", "train: medical/medical_abstracts\nlabel: condition_label"),
    DataSet("medquad", "task: generation\ntrain: medical/medquad"),
    DataSet(
        "medquad",
        "task: generation\ntrain: medical/medquad/raw_xml/*.xml\nrecords: .//QAPair",
        "40 XML documents",
    ),
    DataSet("plain_english_contracts", "task: generation\ntrain: legal/plain_english_contracts/*.json"),
    DataSet(
        "cuad_clauses",
        "train: legal/cuad_clauses/clauses_train.jsonl\ntest: legal/cuad_clauses/clauses_test.jsonl\ngroup: contract",
    ),
    DataSet("fomc_stance", 'train: finance/fomc_stance/*.xlsx\nignore_labels: ["-"]'),
    DataSet("tat_qa", "task: generation\ntrain: finance/tat_qa/tatqa_dataset_dev.json\nrecords: questions"),
    DataSet("nl2bash", "task: generation\ntrain: technical/nl2bash/all.nl\nanswers: technical/nl2bash/all.cm"),
    DataSet("tldr_pages", "task: generation\ntrain: technical/tldr_pages"),
    DataSet("handbook_18f", "task: text\ntrain: technical/handbook_18f"),
    DataSet("gsm8k", "task: generation\ntrain: general/gsm8k"),
    DataSet(
        "piqa",
        'train: general/piqa/valid.jsonl\nanswers: general/piqa/valid-labels.lst\ntext: "{goal} A: {sol1} B: {sol2}"',
    ),
    DataSet("mmlu_redux", "train: general/mmlu_redux/*.csv\ntext: [question, choices]\nlabel: answer"),
    DataSet("boolq", "train: general/boolq/dev_1000.json\nlabel: label"),
    DataSet("ifeval", "task: text\ntrain: general/ifeval/input_data.jsonl\ntext: prompt"),
    DataSet("mt_bench", "task: text\ntrain: general/mt_bench/*_questions.jsonl\ntext: turns"),
    DataSet("crows_pairs", "train: bias/crows_pairs/crows_pairs_anonymized.csv\ntext: sent_more\nlabel: bias_type"),
    DataSet("bbq", "train: bias/bbq/*.jsonl\ntext: [context, question, ans0, ans1, ans2]\nlabel: label"),
    DataSet("winogender", "task: text\ntrain: bias/winogender/all_sentences.tsv\ntext: sentence"),
    DataSet("bold_prompts", "task: text\ntrain: bias/bold_prompts/*.json\ntext: text"),
    DataSet("xstest", "train: safety/xstest/xstest_prompts.csv\ntext: prompt\nlabel: label"),
    DataSet(
        "simple_safety_tests", "train: safety/simple_safety_tests/test_cases.csv\ntext: prompts_final\nlabel: harm_area"
    ),
    DataSet("advbench", "task: text\ntrain: safety/advbench/advbench_behaviors.csv\ntext: Behavior"),
    DataSet("presidio_synth", "task: text\ntrain: pii/presidio_synth/synth_dataset_v2.json\ntext: full_text"),
    DataSet("self_instruct", "task: generation\ntrain: instruction/self_instruct/*.jsonl"),
    DataSet("sharegpt_demo", "task: chat\ntrain: instruction/sharegpt_demo/glaive_toolcall_en_demo.json", "tool calls"),
    DataSet("sharegpt_demo", "task: generation\ntrain: instruction/sharegpt_demo/identity.json", "identity"),
    DataSet("dpo_en_demo", "task: preference\ntrain: preference/dpo_en_demo"),
    DataSet(
        "taskmaster4_rewards",
        "train: preference/taskmaster4_rewards/*.json\ntext: [context, generation]\nlabel: reward",
    ),
    DataSet(
        "sequence_a",
        "task: generation\ntrain: continual/sequence_a/*/train.jsonl\ntest: continual/sequence_a/*/test.jsonl",
    ),
)
"""In the order of the README."""
