"""What trains and measures: optimizer, checkpoints, records, two ways to train."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "asking",
        "checkpoint",
        "distributed",
        "evaluation",
        "files",
        "finetuning",
        "likelihood",
        "optimizer",
        "pretraining",
        "records",
        "survey",
    ],
    submod_attrs={
        "asking": ["Amend", "Answer", "Asked", "ask"],
        "checkpoint": ["load_checkpoint", "save_checkpoint", "to_transformers"],
        "distributed": [
            "average",
            "average_gradients",
            "clip_gradients",
            "gather",
            "own_rows",
            "share_experts",
            "shared_weights",
            "start",
            "stop",
        ],
        "evaluation": [
            "answer_often",
            "evaluate",
            "evaluate_kinds",
            "majority_right",
            "pass_at_k",
            "validate",
        ],
        "files": ["write_atomically"],
        "finetuning": ["Example", "sft", "sft_loss", "stack"],
        "likelihood": ["aggregate", "token_logprobs"],
        "optimizer": [
            "apply_gradient",
            "learning_rate",
            "new_optimizer",
            "rl_optimizer",
        ],
        "pretraining": [
            "Balance",
            "balance_loss",
            "bias_speed",
            "further_weight",
            "packed_batch",
            "pretrain",
            "train_step",
        ],
        "records": ["check_notes", "provenance", "read_log", "read_rows", "write_log"],
        "survey": ["answers_to", "describe_answers", "survey_questions"],
    },
)
