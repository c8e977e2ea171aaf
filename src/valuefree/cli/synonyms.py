"""The nearest known option to a name that is not known: by meaning, then by spelling."""

import difflib
from collections.abc import Collection

# Option → its names in TRL, transformers, axolotl and others. A name may stand for several options: the first one,
# in this order, that the verb or objective has is meant.
MEANINGS = {
    "lr": "learning_rate",
    "epochs": "num_train_epochs num_epochs n_epochs",
    "max_steps": "num_train_steps total_steps",
    "generation_batch_size": "per_device_eval_batch_size eval_batch_size",
    "accumulation": "gradient_accumulation_steps grad_accum",
    "out": "output output_dir output_file save_dir o",
    "overwrite": "overwrite_output_dir force",
    "resume": "resume_from_checkpoint",
    "model": "model_name model_name_or_path model_path model_id base_model pretrained_model_name_or_path",
    "reference": "ref_model model_ref",
    "bf16": "precision mixed_precision fp16",
    "attn_implementation": "flash_attention attn_impl",
    "data": "dataset dataset_name datasets dataset_path train_file train_data input input_file",
    "split": "dataset_split dataset_train_split",
    "prompt": "dataset_prompt_field",
    "response": "completion dataset_text_field",
    "desirable": "label",
    "objective": "loss_type loss method algorithm algo rl trainer",
    "desirable_weight": "desirable_lambda",
    "undesirable_weight": "undesirable_lambda",
    "max_length": "max_seq_length max_seq_len sequence_len seq_length model_max_length",
    "max_prompt_length": "max_source_length",
    "max_response_length": "max_completion_length max_target_length response_length",
    "lora_rank": "lora_r lora_dim use_peft use_lora",
    "warmup_steps": "warmup warmup_ratio num_warmup_steps",
    "eval_steps": "evaluation_steps eval_strategy evaluation_strategy",
    "test_prompts": "eval_fraction test_size",
    "validation_prompts": "val_set_size",
    "patience": "early_stopping_patience",
    "metric_for_best_model": "load_best_model_at_end",
    "save_steps": "save_strategy",
    "logging_steps": "log_every",
    "gradient_checkpointing": "use_gradient_checkpointing",
    "report_to": "wandb",
    "seed": "random_seed",
    "samples": "num_return_sequences num_generations num_samples",
    "reward_function": "reward_model reward_model_path reward_funcs",
    "server": "api_base base_url vllm_server_base_url",
    "api_key_env": "api_key",
    "timeout_seconds": "timeout",
    "concurrency": "num_workers",
    "batch_size": (
        "per_device_train_batch_size per_device_eval_batch_size train_batch_size micro_batch_size eval_batch_size"
    ),
    "dtype": "torch_dtype precision",
    "prompts": "dataset dataset_name datasets dataset_path input input_file",
    "reward": "score label",
    "max_new_tokens": "max_completion_length max_tokens response_length",
    "samples_per_prompt": "num_return_sequences num_generations num_samples",
    "score": "reward_model reward_model_path reward_funcs",
    "source": "dataset dataset_name datasets dataset_path input input_file",
    "tau": "kl_coef init_kl_coef kl_coeff kl_weight",
    "beta": "kl_coef init_kl_coef kl_coeff kl_weight",
}


def nearest_option(name: str, known: Collection[str], *, spelling: bool = True) -> str | None:
    """The known option (names with underscores) that `name` means, else the one that is spelled most like it."""
    plain = name.lstrip("-").replace("-", "_").lower()
    meant = next((option for option, words in MEANINGS.items() if option in known and plain in words.split()), None)
    if meant or not spelling:
        return meant
    return next(iter(difflib.get_close_matches(plain, known, n=1)), None)
