"""What trains and measures: optimizer, checkpoints, records, two ways to train."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "asking",
        "checkpoint",
        "distributed",
        "evaluation",
        "finetuning",
        "likelihood",
        "optimizer",
        "pretraining",
        "records",
        "survey",
    ],
    submod_attrs={
        "asking": ["Amend", "Answer", "Asked", "ask"],
        "checkpoint": ["load_checkpoint", "save_checkpoint"],
        "distributed": [
            "RowsApart",
            "add_up",
            "apart",
            "gather",
            "own_rows",
            "processes",
            "share",
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
        "finetuning": ["Example", "sft", "sft_loss", "stack"],
        "likelihood": ["aggregate", "token_logprobs"],
        "optimizer": [
            "apply_gradient",
            "clip_gradient",
            "learning_rate",
            "load_state",
            "new_optimizer",
            "rl_optimizer",
            "save_state",
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
