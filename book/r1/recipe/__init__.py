"""What the stages of R1 need beside RL: curation, preference, distillation, choices."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["at_test_time", "curation", "distillation", "preference"],
    submod_attrs={
        "at_test_time": [
            "Counts",
            "auc",
            "best",
            "best_at_k",
            "budget",
            "choices",
            "chunks",
            "clean_steps",
            "counts_of",
            "final_scores",
            "train_verifier",
            "verifier_scores",
            "vote",
            "vote_at_k",
        ],
        "curation": ["cold_start", "keep", "other_data", "reject", "write_up"],
        "distillation": [
            "Tokens",
            "Traces",
            "divergence",
            "draw_traces",
            "flops",
            "on_policy",
            "step_tokens",
        ],
        "preference": [
            "Pair",
            "Preference",
            "agreement",
            "choose",
            "features",
            "fit",
            "pairs_of",
            "preference_loss",
            "taste",
        ],
    },
)
