"""What a model costs: parameters, operations, memory, schedules, wires, the bill."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["bill", "counting", "schedule", "wires"],
    submod_attrs={
        "bill": [
            "PEAK",
            "PRICES",
            "Prices",
            "ServiceDay",
            "TrainingBill",
            "energy_mwh",
            "mtp_flops",
            "utilization",
            "writing_flops",
        ],
        "counting": [
            "ParameterCount",
            "attention_flops",
            "count_attention",
            "count_expert",
            "count_gpus",
            "count_parameters",
            "dollars",
            "gpu_hours",
            "kv_cache_bytes",
            "training_flops",
        ],
        "schedule": [
            "METHODS",
            "Number",
            "Op",
            "Schedule",
            "Span",
            "Times",
            "bubble_formula",
            "bubbles",
            "check",
            "dualpipe",
            "dualpipev",
            "interleaved",
            "makespan",
            "needs",
            "one_f_one_b",
            "peak_activations",
            "simulate",
            "zb1p",
        ],
        "wires": ["all_to_all_seconds", "token_seconds"],
    },
)
