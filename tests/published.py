"""Configs as their authors published them, every key of them, and their parameter counts."""

LLAMA_KIND = dict(
    architectures=["LlamaForCausalLM"], attention_bias=False, attention_dropout=0.0,
    hidden_act="silu", mlp_bias=False, model_type="llama", pretraining_tp=1, rms_norm_eps=1e-05,
    torch_dtype="bfloat16", use_cache=True,
)  # fmt: skip
QWEN_KIND = dict(
    architectures=["Qwen2ForCausalLM"], attention_dropout=0.0, bos_token_id=151643,
    hidden_act="silu", initializer_range=0.02, max_position_embeddings=32768, model_type="qwen2",
    rms_norm_eps=1e-06, rope_theta=1000000.0, torch_dtype="bfloat16", use_cache=True,
    use_sliding_window=False,
)  # fmt: skip
PUBLISHED = {
    "gemma-3-1b-it": (
        dict(
            architectures=["Gemma3ForCausalLM"], attention_bias=False, attention_dropout=0.0,
            attn_logit_softcapping=None, bos_token_id=2, cache_implementation="hybrid",
            eos_token_id=[1, 106], final_logit_softcapping=None, head_dim=256,
            hidden_activation="gelu_pytorch_tanh", hidden_size=1152, initializer_range=0.02,
            intermediate_size=6912, max_position_embeddings=32768, model_type="gemma3_text",
            num_attention_heads=4, num_hidden_layers=26, num_key_value_heads=1, pad_token_id=0,
            query_pre_attn_scalar=256, rms_norm_eps=1e-06, rope_local_base_freq=10000,
            rope_scaling=None, rope_theta=1000000, sliding_window=512, sliding_window_pattern=6,
            torch_dtype="bfloat16", transformers_version="4.50.0.dev0", use_cache=True,
            vocab_size=262144,
        ),
        999_885_952,
    ),
    "SmolLM2-135M": (
        LLAMA_KIND
        | dict(
            _name_or_path="HuggingFaceTB/SmolLM2-135M", bos_token_id=0, eos_token_id=0, head_dim=64,
            hidden_size=576, initializer_range=0.041666666666666664, intermediate_size=1536,
            is_llama_config=True, max_position_embeddings=2048, num_attention_heads=9,
            num_hidden_layers=30, num_key_value_heads=3, rope_interleaved=False, rope_scaling=None,
            rope_theta=100000, tie_word_embeddings=True, transformers_version="4.48.0",
            vocab_size=49152,
        ),
        134_515_008,
    ),
    "Llama-3.2-1B": (
        LLAMA_KIND
        | dict(
            bos_token_id=128000, eos_token_id=128001, head_dim=64, hidden_size=2048,
            initializer_range=0.02, intermediate_size=8192, max_position_embeddings=131072,
            num_attention_heads=32, num_hidden_layers=16, num_key_value_heads=8,
            rope_scaling=dict(
                factor=32.0, high_freq_factor=4.0, low_freq_factor=1.0,
                original_max_position_embeddings=8192, rope_type="llama3",
            ),
            rope_theta=500000.0, tie_word_embeddings=True, transformers_version="4.45.0.dev0",
            vocab_size=128256,
        ),
        1_235_814_400,
    ),
    "Qwen2-7B-Instruct": (
        QWEN_KIND
        | dict(
            eos_token_id=151645, hidden_size=3584, intermediate_size=18944, max_window_layers=28,
            num_attention_heads=28, num_hidden_layers=28, num_key_value_heads=4,
            sliding_window=131072, tie_word_embeddings=False, transformers_version="4.41.2",
            vocab_size=152064,
        ),
        7_615_616_512,
    ),
    "Qwen2.5-0.5B": (
        QWEN_KIND
        | dict(
            eos_token_id=151643, hidden_size=896, intermediate_size=4864, max_window_layers=24,
            num_attention_heads=14, num_hidden_layers=24, num_key_value_heads=2,
            sliding_window=32768, tie_word_embeddings=True, transformers_version="4.40.1",
            use_mrope=False, vocab_size=151936,
        ),
        494_032_768,
    ),
    "Mistral-7B-v0.3": (
        dict(
            architectures=["MistralForCausalLM"], attention_dropout=0.0, bos_token_id=1,
            eos_token_id=2, hidden_act="silu", hidden_size=4096, initializer_range=0.02,
            intermediate_size=14336, max_position_embeddings=32768, model_type="mistral",
            num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=8,
            rms_norm_eps=1e-05, rope_theta=1000000.0, sliding_window=None,
            tie_word_embeddings=False, torch_dtype="bfloat16", transformers_version="4.42.0.dev0",
            use_cache=True, vocab_size=32768,
        ),
        7_248_023_552,
    ),
    "gpt2": (
        dict(
            activation_function="gelu_new", architectures=["GPT2LMHeadModel"], attn_pdrop=0.1,
            bos_token_id=50256, embd_pdrop=0.1, eos_token_id=50256, initializer_range=0.02,
            layer_norm_epsilon=1e-05, model_type="gpt2", n_ctx=1024, n_embd=768, n_head=12,
            n_layer=12, n_positions=1024, resid_pdrop=0.1, summary_activation=None,
            summary_first_dropout=0.1, summary_proj_to_labels=True, summary_type="cls_index",
            summary_use_proj=True,
            task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}},
            vocab_size=50257,
        ),
        124_439_808,
    ),
}  # fmt: skip
