"""`girih show`: what it draws and counts, on any page, with nothing but the standard library."""

import json
import subprocess
import sys
from pathlib import Path

import sample
from command import ENV, girih

PARAMETERS = 134_515_008  # 28.3 M embedding (49,152 x 576, tied), 30 layers of 3.54 M, last norm
KV_BYTES = 30 * 2 * 3 * 64 * 2  # layers, keys and values, kv heads, head width, bfloat16
LLAMA_3_8B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0, "torch_dtype": "bfloat16",
}  # fmt: skip


def test_show_draws_and_counts_without_torch_or_numpy() -> None:
    code = "import sys; from girih.cli.main import main; c = main(sys.argv[1:]); "
    code += "print({'torch', 'numpy'} & {*sys.modules}, c)"
    words = [sys.executable, "-c", code, "show", "sample", "--context", "1000"]
    done = subprocess.run(words, env=ENV, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("set() 0\n"), done.stdout + done.stderr
    assert "134,515,008" in done.stdout and "layers 0-29" in done.stdout
    assert "22.5 KiB per token" in done.stdout and "22.0 MiB at 1,000 tokens" in done.stdout
    assert "\x1b" not in done.stdout and " GB" not in done.stdout and " MB" not in done.stdout


def test_show_json_is_exact() -> None:
    done = girih("show", sample.path(), "--json", "--context", "8192", "--batch", "3")
    assert done.returncode == 0 and done.stderr == ""
    shown = json.loads(done.stdout)
    counted = shown["cost"]
    assert counted["parameters"] == PARAMETERS and shown["weights_as_stored"] is True
    assert counted["state_bytes_per_token"] == KV_BYTES
    assert counted["state_bytes"] == 3 * 8192 * KV_BYTES
    rest = sample.path().stat().st_size - counted["weight_bytes"]
    assert 0 < rest < 4 << 20  # the header
    decode = shown["flops_per_token"]["decode"]
    assert decode == 2 * (PARAMETERS - 61 * 576) + 30 * 4 * 9 * 64 * 8192  # 61 norms do no product
    assert (
        sum(run["last"] - run["first"] + 1 for run in shown["graph"]["stacks"][0]["layers"]) == 30
    )
    assert sum(shown["weight_bytes_by_format"].values()) == counted["weight_bytes"]
    assert [*shown["weight_bytes_by_format"]] == ["Q4_1", "Q8_0", "float32"]  # largest first


def test_a_config_alone_can_be_shown(tmp_path: Path) -> None:
    folder = tmp_path / "Llama-3-8B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_3_8B))
    shown = girih("show", folder, "--context", "8192", "--batch", "4").stdout
    assert "without weights" in shown and "8,030,261,248 (8.03 billion)" in shown
    assert "15.0 GiB if stored in bfloat16" in shown
    assert "128.0 KiB per token, 4.0 GiB at 8,192 tokens x 4 sequences" in shown
    assert "19.0 GiB for weights and state" in shown
    packed = girih("show", folder, "--weights", "q4_k").stdout
    assert "4.2 GiB if stored: Q4_K 4.2 GiB, float32 1.0 MiB" in packed  # norms are no matrices


def test_a_drawing_fits_its_page_and_its_encoding() -> None:
    for wide in (60, 80, 100):
        drawn = girih("show", "sample", COLUMNS=str(wide)).stdout.splitlines()[2:]
        assert 0.8 * wide < max(map(len, drawn)) <= wide
        assert "3 kv, causal" in " ".join(" ".join(drawn).split())
    lines = girih("show", "sample").stdout.splitlines()
    assert any(line.startswith("│  └─ mlp") for line in lines)
    plain = girih("show", "sample", PYTHONIOENCODING="ascii").stdout
    assert plain.isascii() and "|  `- mlp" in plain and "?" not in plain
