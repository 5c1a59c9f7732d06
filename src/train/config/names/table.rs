//! The table.
//!
//! **Source** peft 0.21.2, trl 1.16.0, transformers 5.24.0, mlx-lm 0.32.2.

use super::field::Here::{As, Flag, PerStep, Refused, Taken};
use super::field::Origin::{LoraConfig, MlxLm, ModelConfig, SftConfig};
use super::field::{Field, Here, Origin, Translation};

const LORA: &[Origin] = &[LoraConfig];
const LORA_AND_MODEL: &[Origin] = &[LoraConfig, ModelConfig];
const SFT: &[Origin] = &[SftConfig];
const SFT_AND_MLX: &[Origin] = &[SftConfig, MlxLm];
const MODEL: &[Origin] = &[ModelConfig];
const MLX: &[Origin] = &[MlxLm];

/// This program does so in any case.
const AS_HERE: &[(&str, &str)] = &[];
const FALSE: &[Translation] = &[("false", AS_HERE)];
const TRUE: &[Translation] = &[("true", AS_HERE)];
const EITHER: &[Translation] = &[("true", AS_HERE), ("false", AS_HERE)];
const ZERO: &[Translation] = &[("0", AS_HERE), ("0.0", AS_HERE)];

const fn field(name: &'static str, of: &'static [Origin], here: Here) -> Field {
    Field { name, of, here, values: &[] }
}

impl Field {
    const fn when(self, values: &'static [Translation]) -> Field {
        Field { values, ..self }
    }
}

const PRECISION: &str = "sums are f32 here; ‹precision = mixed› keeps activations at 16 bits, with factors of 16 bits on GPUs that have them";
const KERNELS: &str = "the program's own kernels run, with fused losses";
const ONE_DEVICE: &str = "a process trains on one device, several as docs/cluster.md says";
const LOADING: &str = "rows are read without worker processes; leave it out";
const NO_HUB: &str = "runs are not uploaded; the adapter's folder can be";
const LOGS: &str = "metrics.jsonl and tensorboard/ are always written; other services are not told";
const NOT_THIS: &str = "this kind of adapter is not trained here";
const MODULES: &str = "only the seven linear layers of a block get adapters: ‹target_modules›";
const SAME_BATCH: &str = "evaluation has the rows of ‹batch_size› at once, which changes no loss";
const TOKENS: &str = "the tokenizer's files say it";
const KEEPS: &str = "checkpoints hold what is needed to go on; the best adapter is in best/";
const EVALUATE: &str = "the command `evaluate` judges an adapter on its own";

/// Every name, by where it comes from.
pub static FIELDS: &[Field] = &[
    // LoraConfig.
    field("task_type", LORA, Refused("causal language models are trained here"))
        .when(&[("CAUSAL_LM", AS_HERE)]),
    field("peft_type", LORA, Refused(NOT_THIS)).when(&[("LORA", AS_HERE)]),
    field("auto_mapping", LORA, Refused("PEFT notes it; leave it out")),
    field("peft_version", LORA, Refused("PEFT notes it; leave it out")),
    field("base_model_name_or_path", LORA, As("model")),
    field(
        "revision",
        LORA,
        Refused("the hub's main revision is taken; give a folder with another"),
    ),
    field("inference_mode", LORA, Refused("adapters are trained")).when(FALSE),
    field("r", LORA, As("rank")),
    field("target_modules", LORA, Taken),
    field("exclude_modules", LORA, Refused("name the layers that you want in ‹target_modules›")),
    field("lora_alpha", LORA_AND_MODEL, Taken),
    field("lora_dropout", LORA_AND_MODEL, Taken),
    field("fan_in_fan_out", LORA, Refused("weights lie as in torch's Linear")).when(FALSE),
    field("bias", LORA, Refused("biases stay frozen")).when(&[("none", AS_HERE)]),
    field("use_rslora", LORA_AND_MODEL, Taken),
    field("modules_to_save", LORA, Refused(MODULES)),
    field("init_lora_weights", LORA, Refused("B begins at zero, A as PEFT's default")).when(TRUE),
    field("layers_to_transform", LORA, Taken),
    field("layers_pattern", LORA, Refused("the layers are those of a Llama; leave it out")),
    field("rank_pattern", LORA, Taken),
    field("alpha_pattern", LORA, Taken),
    field("megatron_config", LORA, Refused(ONE_DEVICE)),
    field("megatron_core", LORA, Refused(ONE_DEVICE)).when(&[("megatron.core", AS_HERE)]),
    field("trainable_token_indices", LORA, Refused(MODULES)),
    field("loftq_config", LORA, Refused(NOT_THIS)),
    field("eva_config", LORA, Refused(NOT_THIS)),
    field("corda_config", LORA, Refused(NOT_THIS)),
    field("lora_ga_config", LORA, Refused(NOT_THIS)),
    field("use_dora", LORA_AND_MODEL, Taken),
    field("velora_config", LORA, Refused(NOT_THIS)),
    field("alora_invocation_tokens", LORA, Refused(NOT_THIS)),
    field("use_qalora", LORA, Refused(NOT_THIS)).when(FALSE),
    field("qalora_group_size", LORA, Refused(NOT_THIS)).when(&[("16", AS_HERE)]),
    field("monteclora_config", LORA, Refused(NOT_THIS)),
    field("layer_replication", LORA, Refused("the model keeps its layers")),
    field("runtime_config", LORA, Refused("PEFT's own; leave it out")),
    field("lora_bias", LORA, Refused("biases stay frozen")).when(FALSE),
    field("target_parameters", LORA, Refused(MODULES)),
    field("use_bdlora", LORA, Refused(NOT_THIS)).when(FALSE),
    field("arrow_config", LORA, Refused(NOT_THIS)),
    field("kasa_config", LORA, Refused(NOT_THIS)),
    field("ensure_weight_tying", LORA, Refused(MODULES)).when(FALSE),
    // SFTConfig, with TrainingArguments.
    field("output_dir", SFT, Flag("out")),
    field("per_device_train_batch_size", SFT, As("batch_size")),
    field("num_train_epochs", SFT, Taken),
    field("max_steps", SFT, Taken).when(&[("-1", AS_HERE)]),
    field("learning_rate", SFT_AND_MLX, Taken),
    field("lr_scheduler_type", SFT, Taken)
        .when(&[("constant_with_warmup", &[("lr_scheduler_type", "constant")])]),
    field("lr_scheduler_kwargs", SFT, Refused("schedules have no further settings")),
    field("warmup_steps", SFT, Taken),
    field("optim", SFT, Taken).when(&[
        ("adamw_torch", &[("optim", "adamw")]),
        ("adamw_torch_fused", &[("optim", "adamw")]),
        ("paged_adamw_32bit", &[("optim", "adamw")]),
        ("adamw_8bit", &[("optim", "adamw8bit")]),
        ("adamw_bnb_8bit", &[("optim", "adamw8bit")]),
        ("paged_adamw_8bit", &[("optim", "adamw8bit")]),
    ]),
    field(
        "optim_args",
        SFT,
        Refused("AdamW's settings are ‹adam_beta1›, ‹adam_beta2›, ‹adam_epsilon›"),
    ),
    field("weight_decay", SFT, Taken),
    field("adam_beta1", SFT, Taken),
    field("adam_beta2", SFT, Taken),
    field("adam_epsilon", SFT, Taken),
    field("optim_target_modules", SFT, Refused("AdamW trains all of the adapter")),
    field("gradient_accumulation_steps", SFT, Taken),
    field("average_tokens_across_devices", SFT, Refused(ONE_DEVICE)).when(EITHER),
    field("max_grad_norm", SFT, Taken),
    field("label_smoothing_factor", SFT, Refused("the loss is the plain cross-entropy")).when(ZERO),
    field("bf16", SFT, Refused(PRECISION)).when(FALSE),
    field("fp16", SFT, Refused(PRECISION)).when(FALSE),
    field("bf16_full_eval", SFT, Refused(PRECISION)).when(FALSE),
    field("fp16_full_eval", SFT, Refused(PRECISION)).when(FALSE),
    field("tf32", SFT, Refused(PRECISION)).when(FALSE),
    field("activation_checkpointing", SFT, Refused("give ‹gradient_checkpointing›")),
    field("activation_checkpointing_kwargs", SFT, Refused("there is one kind of it")),
    field("gradient_checkpointing", SFT, Taken).when(&[
        ("true", &[("gradient_checkpointing", "on")]),
        ("false", &[("gradient_checkpointing", "off")]),
    ]),
    field("gradient_checkpointing_kwargs", SFT, Refused("there is one kind of it")),
    field("torch_compile", SFT, Refused(KERNELS)).when(FALSE),
    field("torch_compile_backend", SFT, Refused(KERNELS)),
    field("torch_compile_mode", SFT, Refused(KERNELS)),
    field("use_liger_kernel", SFT, Refused(KERNELS)).when(FALSE),
    field("liger_kernel_config", SFT, Refused(KERNELS)),
    field("use_cache", SFT, Refused("training keeps no keys and values")).when(FALSE),
    field("neftune_noise_alpha", SFT, Refused("embeddings get no noise")),
    field("torch_empty_cache_steps", SFT, Refused("memory is allocated once")),
    field("auto_find_batch_size", SFT, Refused("`plan` says before the run what fits")).when(FALSE),
    field("logging_strategy", SFT, Refused("lines are written by ‹logging_steps›"))
        .when(&[("steps", AS_HERE)]),
    field("logging_steps", SFT, Taken),
    field("logging_first_step", SFT, Refused("give ‹logging_steps = 1›")).when(FALSE),
    field("log_on_each_node", SFT, Refused(ONE_DEVICE)).when(EITHER),
    field("logging_nan_inf_filter", SFT, Refused("a loss that is not finite ends the run"))
        .when(FALSE),
    field("include_num_input_tokens_seen", SFT, Refused("metrics.jsonl counts target tokens"))
        .when(&[("no", AS_HERE), ("false", AS_HERE)]),
    field("log_level", SFT, Refused("give -v or -q")).when(&[("passive", AS_HERE)]),
    field("log_level_replica", SFT, Refused(ONE_DEVICE)).when(&[("warning", AS_HERE)]),
    field("disable_tqdm", SFT, Refused("give -q")).when(FALSE),
    field("report_to", SFT_AND_MLX, Refused(LOGS)).when(&[
        ("none", AS_HERE),
        ("tensorboard", AS_HERE),
        ("[\"tensorboard\"]", AS_HERE),
        ("[\"none\"]", AS_HERE),
    ]),
    field("run_name", SFT, Refused("a run is called as its folder: ‹out›")),
    field("project", SFT, Refused(LOGS)),
    field("trackio_space_id", SFT, Refused(LOGS)),
    field("trackio_bucket_id", SFT, Refused(LOGS)),
    field("trackio_static_space_id", SFT, Refused(LOGS)),
    field("eval_strategy", SFT, Refused("evaluation is after each epoch, or by ‹eval_steps›"))
        .when(&[("epoch", AS_HERE), ("steps", AS_HERE)]),
    field("eval_steps", SFT, Taken),
    field("eval_delay", SFT, Refused("evaluation begins before the first step")).when(ZERO),
    field("per_device_eval_batch_size", SFT, Refused(SAME_BATCH)),
    field("prediction_loss_only", SFT, Refused(EVALUATE)).when(EITHER),
    field("eval_on_start", SFT, Refused("evaluation begins before the first step")).when(TRUE),
    field("eval_do_concat_batches", SFT, Refused(EVALUATE)).when(EITHER),
    field("eval_use_gather_object", SFT, Refused(ONE_DEVICE)).when(FALSE),
    field("eval_accumulation_steps", SFT, Refused("losses are summed on the device")),
    field("include_for_metrics", SFT, Refused(EVALUATE)),
    field("batch_eval_metrics", SFT, Refused(EVALUATE)).when(FALSE),
    field("save_only_model", SFT, Refused(KEEPS)).when(FALSE),
    field("save_strategy", SFT, Refused(KEEPS))
        .when(&[("steps", AS_HERE), ("epoch", &[("save_steps", "epoch")])]),
    field("save_steps", SFT, Taken),
    field("save_on_each_node", SFT, Refused(ONE_DEVICE)).when(FALSE),
    field("save_total_limit", SFT, Taken),
    field("enable_jit_checkpoint", SFT, Refused("Ctrl-C saves a checkpoint")).when(FALSE),
    field("push_to_hub", SFT, Refused(NO_HUB)).when(FALSE),
    field(
        "hub_token",
        SFT,
        Refused("private models are read with the token of the hub's own login"),
    ),
    field("hub_private_repo", SFT, Refused(NO_HUB)).when(FALSE),
    field("hub_model_id", SFT, Refused(NO_HUB)),
    field("hub_strategy", SFT, Refused(NO_HUB)).when(&[("every_save", AS_HERE)]),
    field("hub_always_push", SFT, Refused(NO_HUB)).when(FALSE),
    field("hub_revision", SFT, Refused(NO_HUB)),
    field("load_best_model_at_end", SFT, Refused(KEEPS)).when(FALSE),
    field("metric_for_best_model", SFT, Refused("the lowest evaluation loss is best"))
        .when(&[("loss", AS_HERE), ("eval_loss", AS_HERE)]),
    field("greater_is_better", SFT, Refused("the lowest evaluation loss is best")).when(FALSE),
    field("ignore_data_skip", SFT, Refused("‹resume› goes on at the row where the run stopped"))
        .when(FALSE),
    field("restore_callback_states_from_checkpoint", SFT, Refused("‹resume› restores everything"))
        .when(FALSE),
    field("full_determinism", SFT, Refused("runs are deterministic on a device; leave it out"))
        .when(TRUE),
    field("seed", SFT_AND_MLX, Taken),
    field("data_seed", SFT, Refused("‹seed› decides the order of rows, too")),
    field("use_cpu", SFT, Refused("`info` lists adapters; ‹device› chooses a software one"))
        .when(FALSE),
    field("accelerator_config", SFT, Refused(ONE_DEVICE)),
    field("parallelism_config", SFT, Refused(ONE_DEVICE)),
    field("dataloader_drop_last", SFT, Refused("every row is trained on")).when(FALSE),
    field("dataloader_num_workers", SFT, Refused(LOADING)).when(ZERO),
    field("dataloader_pin_memory", SFT, Refused(LOADING)).when(EITHER),
    field("dataloader_persistent_workers", SFT, Refused(LOADING)).when(EITHER),
    field("dataloader_prefetch_factor", SFT, Refused(LOADING)),
    field("dataloader_multiprocessing_context", SFT, Refused(LOADING)),
    field("dataloader_in_order", SFT, Refused(LOADING)).when(TRUE),
    field(
        "remove_unused_columns",
        SFT,
        Refused("columns that no row is made of are named in a line"),
    )
    .when(EITHER),
    field("label_names", SFT, Refused("the targets are the rows' own: ‹loss›")),
    field("train_sampling_strategy", SFT, Refused("rows are shuffled in each epoch"))
        .when(&[("random", AS_HERE), ("group_by_length", &[("group_by_length", "true")])]),
    field("length_column_name", SFT, Refused("lengths are counted; leave it out"))
        .when(&[("length", AS_HERE)]),
    field("ddp_find_unused_parameters", SFT, Refused(ONE_DEVICE)).when(FALSE),
    field("ddp_bucket_cap_mb", SFT, Refused(ONE_DEVICE)),
    field("ddp_broadcast_buffers", SFT, Refused(ONE_DEVICE)).when(FALSE),
    field("ddp_static_graph", SFT, Refused(ONE_DEVICE)).when(FALSE),
    field("ddp_backend", SFT, Refused(ONE_DEVICE)),
    field("ddp_timeout", SFT, Refused(ONE_DEVICE)).when(&[("1800", AS_HERE)]),
    field("fsdp", SFT, Refused(ONE_DEVICE)),
    field("fsdp_config", SFT, Refused(ONE_DEVICE)),
    field("deepspeed", SFT, Refused(ONE_DEVICE)),
    field("debug", SFT, Refused("‹verify› compares every operation with its twin")),
    field("skip_memory_metrics", SFT, Refused("`plan` says to the byte what a run takes"))
        .when(TRUE),
    field("do_train", SFT, Refused("the command is `train`")).when(TRUE),
    field("do_eval", SFT, Refused("give ‹eval_data›")).when(FALSE),
    field("do_predict", SFT, Refused(EVALUATE)).when(FALSE),
    field("resume_from_checkpoint", SFT, Refused("‹resume› goes on with the run in ‹out›"))
        .when(FALSE),
    field("local_rank", SFT, Refused(ONE_DEVICE)).when(&[("-1", AS_HERE)]),
    field("model_init_kwargs", SFT, Refused("‹quant› and ‹precision› say how the model is kept")),
    field("trust_remote_code", SFT_AND_MLX, Refused("no code of a model's folder is run"))
        .when(FALSE),
    field("router_aux_loss_coef", SFT, Refused("there are no experts")),
    field(
        "chat_template_path",
        SFT,
        Refused("put the template as chat_template.jinja into the model's folder"),
    ),
    field("dataset_text_field", SFT, Refused("give ‹map = text=COLUMN›"))
        .when(&[("text", AS_HERE)]),
    field("dataset_kwargs", SFT, Refused("columns are named by ‹map›")),
    field("dataset_num_proc", SFT, Refused(LOADING)),
    field("eos_token", SFT, Refused(TOKENS)),
    field("max_length", SFT, Taken),
    field("truncation_mode", SFT, Refused("rows keep their beginning"))
        .when(&[("keep_start", AS_HERE)]),
    field("shuffle_dataset", SFT, Refused("rows are shuffled in each epoch")).when(FALSE),
    field("packing", SFT, Taken),
    field("packing_strategy", SFT, Refused("rows are packed whole, and none attends to another"))
        .when(&[("bfd", AS_HERE)]),
    field("padding_free", SFT, Refused("no micro-batch is padded")).when(EITHER),
    field("pad_to_multiple_of", SFT, Refused("no micro-batch is padded"))
        .when(&[("auto", AS_HERE)]),
    field("eval_packing", SFT, Refused("evaluation rows are not packed, which changes no loss"))
        .when(EITHER),
    field("completion_only_loss", SFT, Refused("give ‹loss›"))
        .when(&[("true", &[("loss", "completion")]), ("false", &[("loss", "all")])]),
    field(
        "assistant_only_loss",
        SFT,
        Refused("the loss is on what the assistant says; for all of a chat give ‹loss = all›"),
    )
    .when(&[("true", &[("loss", "completion")])]),
    field("loss_type", SFT, Refused("the loss is the plain cross-entropy"))
        .when(&[("nll", AS_HERE)]),
    field(
        "activation_offloading",
        SFT,
        Refused("give ‹gradient_checkpointing› or ‹precision = mixed›"),
    )
    .when(FALSE),
    field("pad_token", SFT, Refused("no micro-batch is padded")),
    // ModelConfig.
    field("model_name_or_path", MODEL, As("model")),
    field(
        "model_revision",
        MODEL,
        Refused("the hub's main revision is taken; give a folder with another"),
    )
    .when(&[("main", AS_HERE)]),
    field("dtype", MODEL, Refused(PRECISION)).when(&[("float32", AS_HERE), ("auto", AS_HERE)]),
    field("attn_implementation", MODEL, Refused(KERNELS)),
    field("use_peft", MODEL, Refused("an adapter is what is trained")).when(TRUE),
    field("lora_r", MODEL, As("rank")),
    field("lora_target_modules", MODEL, As("target_modules")),
    field("lora_target_parameters", MODEL, Refused(MODULES)),
    field("lora_modules_to_save", MODEL, Refused(MODULES)),
    field("lora_task_type", MODEL, Refused("causal language models are trained here"))
        .when(&[("CAUSAL_LM", AS_HERE)]),
    field(
        "load_in_8bit",
        MODEL,
        Refused("frozen layers have 4 bits, or the checkpoint's: ‹quant›"),
    )
    .when(FALSE),
    field("load_in_4bit", MODEL, Refused("give ‹quant›"))
        .when(&[("true", &[("quant", "nf4")]), ("false", &[("quant", "none")])]),
    field("bnb_4bit_quant_type", MODEL, Refused("4 bits are NF4 here")).when(&[("nf4", AS_HERE)]),
    field("use_bnb_nested_quant", MODEL, Refused("scales of NF4 are always quantized, too"))
        .when(TRUE),
    field("bnb_4bit_quant_storage", MODEL, Refused("codes lie as bytes"))
        .when(&[("uint8", AS_HERE)]),
    // mlx_lm.lora, and the keys of its configuration.
    field("model", MLX, Taken),
    field("train", MLX, Refused("the command is `train`")).when(TRUE),
    field("data", MLX, Taken),
    field("fine_tune_type", MLX, Refused("adapters are trained: lora or dora"))
        .when(&[("lora", &[("use_dora", "false")]), ("dora", &[("use_dora", "true")])]),
    field(
        "optimizer",
        MLX,
        Refused("mlx-lm's optimizers correct no bias; AdamW here does: ‹optim›"),
    ),
    field(
        "optimizer_config",
        MLX,
        Refused("give ‹adam_beta1›, ‹adam_beta2›, ‹adam_epsilon›, ‹weight_decay›"),
    ),
    field("mask_prompt", MLX, Refused("give ‹loss›"))
        .when(&[("true", &[("loss", "completion")]), ("false", &[("loss", "all")])]),
    field(
        "num_layers",
        MLX,
        Refused(
            "counts the last blocks, which get adapters; name their numbers: ‹layers_to_transform›",
        ),
    )
    .when(&[("-1", AS_HERE)]),
    field("batch_size", MLX, Taken),
    field("iters", MLX, PerStep("max_steps")),
    field("val_batches", MLX, Refused("all of ‹eval_data› is evaluated")).when(&[("-1", AS_HERE)]),
    field("steps_per_report", MLX, PerStep("logging_steps")),
    field("steps_per_eval", MLX, PerStep("eval_steps")),
    field("grad_accumulation_steps", MLX, As("gradient_accumulation_steps")),
    field(
        "resume_adapter_file",
        MLX,
        Refused("PEFT's folder of an adapter goes on by ‹init_adapter›; a run by ‹resume›"),
    ),
    field("adapter_path", MLX, Refused("the adapter comes into RUNDIR/adapter; give ‹out›")),
    field("save_every", MLX, PerStep("save_steps")),
    field("test", MLX, Refused(EVALUATE)).when(FALSE),
    field("test_batches", MLX, Refused(EVALUATE)),
    field("max_seq_length", MLX, As("max_length")),
    field("config", MLX, Flag("config")),
    field("grad_checkpoint", MLX, Refused("give ‹gradient_checkpointing›")).when(&[
        ("true", &[("gradient_checkpointing", "on")]),
        ("false", &[("gradient_checkpointing", "off")]),
    ]),
    field("clear_cache_threshold", MLX, Refused("memory is allocated once")).when(ZERO),
    field("project_name", MLX, Refused(LOGS)),
    field("lr_schedule", MLX, Refused("give ‹lr_scheduler_type›, ‹warmup_steps›")),
    field(
        "lora_parameters",
        MLX,
        Refused("give ‹rank›, ‹lora_dropout›, ‹target_modules›, and ‹lora_alpha› = scale × rank"),
    ),
    field(
        "scale",
        MLX,
        Refused("is alpha / rank there, and no setting here: ‹lora_alpha› = scale × rank"),
    ),
];
