"""What other tools call our fields, and values that people try: so that a habit costs one line of reading.

To add one: a row here; the test checks that every path exists.
"""

from __future__ import annotations

from collections.abc import Mapping

_BATCH = "training.per_device_train_batch_size"
_EPOCHS = "training.num_train_epochs"
_LENGTH = "training.max_length"
_TRAIN = "data.train"
_MODEL = "model"
_DTYPE = "hardware.dtype"
_VALIDATION_SIZE = "data.validation_size"

OTHER_NAMES: Mapping[str, str] = {
    # the model
    **dict.fromkeys(
        ("model_name_or_path", "base_model", "model_name", "model_id", "pretrained_model_name_or_path",
         "base_model_name_or_path", "model_path", "checkpoint_dir", "llm_backbone"),
        _MODEL,
    ),
    "model_revision": "model.revision",
    **dict.fromkeys(("quantization_config", "quantization_bit", "quant_method"), "model.quantization"),
    # the data
    **dict.fromkeys(
        ("dataset", "datasets", "dataset_path", "dataset_name", "dataset_dir", "data_path", "data_file", "data_files",
         "train_file", "train_path", "train_data", "train_dataset", "training_file", "training_data"),
        _TRAIN,
    ),
    **dict.fromkeys(
        ("validation_file", "valid_file", "val_file", "eval_file", "eval_data", "eval_dataset", "validation_data",
         "test_datasets"),
        "data.validation",
    ),
    **dict.fromkeys(("test_file", "test_data", "test_dataset"), "data.test"),
    **dict.fromkeys(
        ("val_set_size", "val_size", "valid_size", "eval_size", "validation_split", "val_split",
         "validation_split_percentage", "split_dataset_ratio"),
        _VALIDATION_SIZE,
    ),
    **dict.fromkeys(("test_split", "test_set_size"), "data.test_size"),
    **dict.fromkeys(
        ("text_column", "text_columns", "text_field", "dataset_text_field", "input_column", "input_features",
         "prompt_column", "column_mapping"),
        "data.text",
    ),
    **dict.fromkeys(
        ("label_column", "labels_column", "target_column", "target", "output_features"), "data.label"
    ),
    **dict.fromkeys(("answer_column", "response_column", "completion_column", "output_column"), "data.answer"),
    **dict.fromkeys(("group_column", "group_by"), "data.group"),
    **dict.fromkeys(("label2id", "id2label", "class_names"), "data.label_names"),
    **dict.fromkeys(("max_samples", "max_train_samples"), "data.max_examples"),
    **dict.fromkeys(("max_eval_samples", "max_test_samples", "limit"), "data.max_test_examples"),
    **dict.fromkeys(("truncation", "truncation_side", "excess_length_strategy"), "data.too_long"),
    # what may learn
    **dict.fromkeys(
        ("adapter", "peft_type", "peft_method", "finetuning_type", "tuner_type", "train_type", "tuner"),
        "adaptation.method",
    ),
    **dict.fromkeys(("lora_r", "lora_rank", "rank"), "adaptation.r"),
    "alpha": "adaptation.lora_alpha",
    **dict.fromkeys(("lora_target_modules", "lora_target", "lora_target_linear", "target_module"),
                    "adaptation.target_modules"),
    **dict.fromkeys(("dora", "peft_use_dora", "use_peft_dora"), "adaptation.use_dora"),
    **dict.fromkeys(("rslora", "peft_use_rslora"), "adaptation.use_rslora"),
    **dict.fromkeys(
        ("freeze_layers", "freeze_trainable_layers", "unfrozen_parameters", "num_layers_to_freeze",
         "layers_to_transform", "peft_layers_to_transform", "trainable_layers"),
        "adaptation.layers",
    ),
    # how it learns
    **dict.fromkeys(("lr", "base_lr", "learning_rate_multiplier", "peak_lr"), "training.learning_rate"),
    **dict.fromkeys(
        ("batch_size", "micro_batch_size", "train_batch_size", "per_gpu_train_batch_size", "per_device_batch_size",
         "global_batch_size"),
        _BATCH,
    ),
    **dict.fromkeys(("eval_batch_size", "per_gpu_eval_batch_size"), "training.per_device_eval_batch_size"),
    **dict.fromkeys(("gradient_accumulation", "grad_accum", "grad_accum_steps", "accumulate_grad_batches"),
                    "training.gradient_accumulation_steps"),
    **dict.fromkeys(("n_epochs", "num_epochs", "epochs", "max_epochs", "train_epochs", "num_iterations"), _EPOCHS),
    **dict.fromkeys(("max_iters", "num_steps", "train_steps", "total_steps"), "training.max_steps"),
    **dict.fromkeys(
        ("sequence_len", "max_seq_length", "max_seq_len", "seq_length", "seq_len", "max_sequence_length", "cutoff_len",
         "model_max_length", "block_size", "max_tokens", "max_prompt_length"),
        _LENGTH,
    ),
    **dict.fromkeys(("warmup_ratio", "warmup_proportion", "num_warmup_steps", "warmup", "warmup_iters"),
                    "training.warmup_steps"),
    **dict.fromkeys(("lr_scheduler", "scheduler", "schedule", "lr_schedule"), "training.lr_scheduler_type"),
    **dict.fromkeys(("gradient_clipping", "clip_grad_norm", "gradient_clip_val", "max_norm", "grad_clip"),
                    "training.max_grad_norm"),
    **dict.fromkeys(("wd", "l2"), "training.weight_decay"),
    **dict.fromkeys(("class_weight", "label_weights"), "training.class_weights"),
    **dict.fromkeys(("evaluation_strategy", "eval_strategy", "eval_interval", "evals_per_epoch"),
                    "training.eval_steps"),
    **dict.fromkeys(("save_strategy", "save_interval", "saves_per_epoch", "checkpoint_every"), "training.save_steps"),
    **dict.fromkeys(("logging_steps", "log_interval", "log_every"), "training.log_steps"),
    **dict.fromkeys(("optimizer", "optimizer_type"), "training.optim"),
    **dict.fromkeys(("activation_checkpointing", "use_gradient_checkpointing"), "training.gradient_checkpointing"),
    **dict.fromkeys(("patience", "early_stopping", "early_stop"), "training.early_stopping_patience"),
    # everything else
    **dict.fromkeys(("system_prompt", "system_message", "default_system"), "prompt.system"),
    "instructions": "prompt.instruction",
    **dict.fromkeys(("max_completion_tokens", "max_generate_length"), "generation.max_new_tokens"),
    **dict.fromkeys(("stop_strings", "stop_sequences"), "generation.stop"),
    **dict.fromkeys(("verbalizer", "label_words"), "prompt.label_texts"),
    **dict.fromkeys(("metric", "metrics", "metric_for_best_model", "eval_metric"), "evaluation.primary_metric"),
    **dict.fromkeys(("num_fewshot", "n_shots", "shots"), "evaluation.few_shot.k"),
    **dict.fromkeys(("baselines", "baseline"), "evaluation.systems"),
    **dict.fromkeys(("torch_dtype", "bf16", "fp16", "precision", "mixed_precision"), _DTYPE),
    **dict.fromkeys(("use_cpu", "no_cuda", "device_map", "accelerator"), "hardware.device"),
    **dict.fromkeys(("output_dir", "output_path", "save_dir", "out_dir"), "output.dir"),
    **dict.fromkeys(("run_name", "suffix", "project_name"), "name"),
    **dict.fromkeys(("problem_type", "task_type"), "task"),
    **dict.fromkeys(("random_state", "random_seed", "data_seed"), "seed"),
}  # fmt: skip

_SPEED = "The engine shares repeated text by itself."
_QUANTISED = "Write `model: {name: …, quantization: nf4}` (or int8); the adapter stays `method: lora`."
_PROCESSES = "This version runs in one process."
_NO_HUB = "metier uploads nothing."
_TRACKERS = "This version has no trackers; the run folder's `events.jsonl` and `history.jsonl` hold every number."
_MASK = "Only the answer is learned; `metier check` shows which tokens."

WITHOUT_FIELD: Mapping[str, str] = {
    **dict.fromkeys(("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "bnb_4bit_compute_dtype"), _QUANTISED),
    **dict.fromkeys(("packing", "sample_packing", "padding_free", "group_by_length", "pad_to_sequence_len",
                     "length_column_name"), _SPEED),
    **dict.fromkeys(("flash_attention", "flash_attn", "attn_implementation", "xformers_attention", "use_unsloth",
                     "use_liger_kernel"), "How attention is computed is chosen by itself; lock.json says how."),
    **dict.fromkeys(("gradient_checkpointing_kwargs", "activation_offloading"),
                    "Memory is set by `training.gradient_checkpointing` and `training.tokens_per_microbatch`."),
    **dict.fromkeys(("deepspeed", "fsdp", "fsdp_config", "ddp", "num_processes"), _PROCESSES),
    **dict.fromkeys(("report_to", "wandb_project", "wandb_entity", "wandb_name", "mlflow_tracking_uri",
                     "use_tensorboard", "logging_dir"), _TRACKERS),
    **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hf_token"), _NO_HUB),
    **dict.fromkeys(("train_on_inputs", "completion_only_loss", "assistant_only_loss", "roles_to_train"), _MASK),
    **dict.fromkeys(("num_labels", "num_classes"), "The labels are found in the data."),
    **dict.fromkeys(("tokenizer", "tokenizer_name", "tokenizer_type", "processing_class", "model_type",
                     "chat_template", "template"), "It comes with the model."),
    **dict.fromkeys(("trust_remote_code",), "metier never runs code that comes with a model."),
    **dict.fromkeys(("resume_from_checkpoint", "auto_resume_from_checkpoints"), "Use `metier run --resume`."),
    **dict.fromkeys(("overwrite_output_dir", "overwrite_cache"), "Remove the run folder, or choose another --output."),
    **dict.fromkeys(("load_best_model_at_end", "greater_is_better"), "The best validation is always kept."),
    **dict.fromkeys(("num_workers", "dataloader_num_workers", "num_proc", "dataset_num_proc",
                     "preprocessing_num_workers"), "CPU threads are set by `hardware.threads`."),
    **dict.fromkeys(("modules_to_save", "lora_modules_to_save"), "A head, where there is one, is always saved."),
    **dict.fromkeys(("do_train", "do_eval", "do_predict", "stage"), "Stages are chosen with `metier run --until`."),
    **dict.fromkeys(("full_determinism", "deterministic"), "Every random number follows from `seed`."),
    **dict.fromkeys(("neftune_noise_alpha", "label_smoothing_factor", "layerwise_lr_decay"),
                    "This version does not have it yet."),
}  # fmt: skip

OTHER_VALUES: Mapping[tuple[str, str], str] = {
    ("adaptation.method", "qlora"): _QUANTISED,
    ("adaptation.method", "dora"): "Write `method: lora` and `use_dora: true`.",
    ("adaptation.method", "rslora"): "Write `method: lora` and `use_rslora: true`.",
    ("adaptation.method", "none"): "Write `training: none` and name `systems`, for `metier compare RECIPE`.",
    ("adaptation.method", "linear"): "Did you mean `head`?",
    ("adaptation.method", "linear_probe"): "Did you mean `head`?",
    ("adaptation.method", "probe"): "Did you mean `head`?",
    ("adaptation.method", "partial"): "Did you mean `freeze`?",
    ("adaptation.method", "full_finetuning"): "Did you mean `full`?",
    ("evaluation.primary_metric", "f1"): "Did you mean `macro_f1`?",
    ("evaluation.primary_metric", "f1_macro"): "Did you mean `macro_f1`?",
    ("evaluation.primary_metric", "f1_micro"): "Did you mean `micro_f1`?",
    ("evaluation.primary_metric", "f1_weighted"): "Did you mean `weighted_f1`?",
    ("evaluation.primary_metric", "precision"): "Did you mean `macro_precision`?",
    ("evaluation.primary_metric", "recall"): "Did you mean `macro_recall`?",
    ("hardware.dtype", "bf16"): "Did you mean `bfloat16`?",
    ("hardware.dtype", "fp32"): "Did you mean `float32`?",
    ("hardware.dtype", "float16"): "float16 is not offered: its small range needs loss scaling. Use bfloat16.",
    ("hardware.dtype", "fp16"): "float16 is not offered: its small range needs loss scaling. Use bfloat16.",
    ("hardware.device", "gpu"): "Did you mean `cuda`?",
    ("model.quantization", "4bit"): "Did you mean `nf4`?",
    ("model.quantization", "8bit"): "Did you mean `int8`?",
    ("training.optim", "adamw"): "Did you mean `adamw_torch`?",
    ("training.optim", "adamw_torch_fused"): "Did you mean `adamw_torch`?",
    ("training.optim", "adamw_8bit"): "Did you mean `adamw_bnb_8bit`?",
    ("training.optim", "paged_adamw_32bit"): "Did you mean `paged_adamw_8bit`?",
    ("training.lr_scheduler_type", "cosine_with_restarts"): "Did you mean `cosine`?",
}
"""What to say when a field of that path has that value."""

SHORT_FORMS: Mapping[str, str] = {
    "data": "data: {{train: {}}}",
    "adaptation": "adaptation: {{method: {}}}",
    "output": "output: {{dir: {}}}",
    "prompt": "prompt: {{instruction: {}}}",
    "hardware": "hardware: {{device: {}}}",
    "privacy": "privacy: {{policy: {}}}",
}
"""What a section that was given as one text probably meant."""

NOTES: Mapping[str, str] = {
    "warmup_ratio": "A value below 1 is a share of all steps.",
    "warmup_proportion": "A value below 1 is a share of all steps.",
    "evaluation_strategy": "Without it there is one validation an epoch.",
    "eval_strategy": "Without it there is one validation an epoch.",
    "save_strategy": "Without it there is a checkpoint at every validation.",
    "learning_rate_multiplier": "It is the rate itself, not a factor.",
    "val_set_size": "It is a share between 0 and 1.",
    "bf16": "Write `bfloat16` or `float32`.",
    "fp16": "Write `bfloat16` or `float32`.",
}
"""One more sentence where the name alone would mislead."""
