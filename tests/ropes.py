"""The rows of `families.py` that are about the scaling of rotary encodings."""

from configs import LLAMA3, LONGROPE, SIZE, YARN
from girih.spec import DynamicScaling, LongScaling, Rope, YarnScaling
from mutants import ROPE, Mutant, Row, on

ROPES = {
    "llama-3": Row(
        "llama",
        SIZE | dict(rope_parameters=LLAMA3 | dict(rope_theta=300.0)),
        ROPE | {"scaling left out": Mutant(spec=on(Rope, scaling=None))},
    ),
    "llama-linear": Row(
        "llama",
        SIZE | dict(rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=300.0)),
        {"scaling left out": Mutant(spec=on(Rope, scaling=None))},
        gguf="llama",
    ),
    "llama-yarn": Row(
        "llama",
        SIZE | dict(rope_parameters=YARN | dict(rope_theta=300.0)),
        {
            "scaling left out": Mutant(spec=on(Rope, scaling=None)),
            "no temperature": Mutant(spec=on(YarnScaling, temperature=1.0)),
            "bounds not rounded": Mutant(spec=on(YarnScaling, whole=False)),
        },
    ),
    "qwen2-yarn": Row(
        "qwen2",
        SIZE
        | dict(rope_parameters=YARN | dict(rope_theta=300.0, truncate=False, attention_factor=1.4)),
        {
            "bounds rounded": Mutant(spec=on(YarnScaling, whole=True)),
            "temperature of the factor": Mutant(spec=on(YarnScaling, temperature=1.1386)),
        },
    ),
    "llama-dynamic": Row(
        "llama",
        SIZE
        | dict(max_position_embeddings=16)
        | dict(rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=300.0)),
        {
            "scaling left out": Mutant(spec=on(Rope, scaling=None)),
            "factor": Mutant(spec=on(DynamicScaling, factor=3.0)),
            "original context": Mutant(spec=on(DynamicScaling, original_context=15)),
        },
    ),
    "llama-dynamic-short": Row(
        "llama",
        SIZE | dict(rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=300.0)),
        {"stretched before": Mutant(spec=on(DynamicScaling, original_context=16))},
    ),
    "phi3-long": Row(
        "phi3",
        SIZE
        | dict(original_max_position_embeddings=16)
        | dict(rope_parameters=LONGROPE | dict(rope_theta=300.0)),
        {
            "short factors": Mutant(spec=on(LongScaling, long=lambda kept: kept.short)),
            "no temperature": Mutant(spec=on(LongScaling, temperature=1.0)),
            "scaling left out": Mutant(spec=on(Rope, scaling=None)),
        },
    ),
    "phi3-short": Row(
        "phi3",
        SIZE
        | dict(original_max_position_embeddings=64, max_position_embeddings=256)
        | dict(rope_parameters=LONGROPE | dict(rope_theta=300.0, attention_factor=1.4)),
        {
            "long factors": Mutant(spec=on(LongScaling, short=lambda kept: kept.long)),
            "temperature of the factor": Mutant(spec=on(LongScaling, temperature=1.1547)),
        },
    ),
}
