"""Sizes of tiny models, in the words of the reference library's configs."""

SIZE = dict(
    vocab_size=97,
    hidden_size=48,
    intermediate_size=72,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rms_norm_eps=3e-2,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
YARN = dict(
    rope_type="yarn",
    factor=4.0,
    original_max_position_embeddings=32,
    beta_fast=3.0,
    beta_slow=0.7,
)
LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
LONGROPE = dict(
    rope_type="longrope",
    short_factor=[1.0, 1.2, 1.9, 3.0],
    long_factor=[1.0, 2.5, 4.0, 9.0],
)


DEEPSEEK = SIZE | dict(
    num_key_value_heads=6,
    first_k_dense_replace=3,
    kv_lora_rank=16,
    q_lora_rank=20,
    qk_nope_head_dim=12,
    qk_rope_head_dim=8,
    v_head_dim=10,
)
NEOX = dict(
    vocab_size=97,
    hidden_size=48,
    intermediate_size=72,
    num_hidden_layers=3,
    num_attention_heads=6,
    max_position_embeddings=128,
    layer_norm_eps=3e-2,
    rope_parameters=dict(rope_type="default", rope_theta=300.0, partial_rotary_factor=0.5),
    bos_token_id=1,
    eos_token_id=2,
)
GEMMA4_SIZE = SIZE | dict(
    num_hidden_layers=6,
    head_dim=8,
    global_head_dim=16,
    sliding_window=8,
    layer_types=["sliding_attention", "full_attention"] * 3,
    vocab_size_per_layer_input=97,
    final_logit_softcapping=3.0,
    rope_parameters=dict(
        sliding_attention=dict(rope_type="default", rope_theta=50.0),
        full_attention=dict(rope_type="proportional", rope_theta=300.0, partial_rotary_factor=0.25),
    ),
)
