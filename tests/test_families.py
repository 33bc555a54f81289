"""Parity with the reference library, through the real loader, with mutants and the way back."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import girih
from configs import GEMMA4_SIZE, SIZE
from draw import distance
from families import ROWS
from girih.checkpoints.maps import canonical_tensors
from girih.checkpoints.source import open_source
from girih.engine.model import Model
from girih.families import spec_from_config
from girih.nn.build import allocate, fill
from girih.plan import Plan
from girih.spec import Attention, Causal, Sliding, cost
from oracle import PROMPTS, TOLERANCE, reference_greedy, reference_logits, reference_model

MISS = 100


@pytest.fixture(scope="module", params=ROWS)
def case(request, tmp_path_factory):
    row = ROWS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    model = reference_model(row)
    model.save_pretrained(folder)
    return row, folder, model, reference_logits(model)


def worst(ours, theirs):
    return max(distance(mine, other) for mine, other in zip(ours, theirs, strict=True))


def test_logits_agree(case):
    _, folder, _, expected = case
    assert worst(girih.load(folder, "exact").logits(PROMPTS), expected) <= TOLERANCE


def test_greedy_tokens_agree(case):
    _, folder, model, _ = case
    expected, gaps = reference_greedy(model, PROMPTS[0], 24)
    got = girih.load(folder, "exact").generate([PROMPTS[0]], max_tokens=24)[0].tokens
    for ours, theirs, gap in zip(got, expected, gaps, strict=False):
        if ours != theirs:
            assert gap <= 10 * TOLERANCE
            break
    else:
        assert len(got) == 24 or expected[len(got)] == 2, "ended without an end token"


def test_mutants_are_noticed(case, monkeypatch):
    row, folder, _, expected = case
    source = open_source(folder)
    for name, mutant in row.mutants.items():
        spec = mutant.spec(source.spec)
        wanted = spec.tensors()
        pairs = (
            (key, mutant.weights(key, value).contiguous())
            for key, value in canonical_tensors(list(source.bounds))
            if key in wanted
        )
        with monkeypatch.context() as patch:
            mutant.patch(patch)
            module = allocate(spec, Plan(mode="exact", device="cpu"), "meta")
            fill(module, pairs, "cpu")
            got = worst(Model(module).logits(PROMPTS), expected)
        assert got >= MISS * TOLERANCE, f"{name} misses by only {got:.2g}"


def test_the_way_back_changes_nothing(case, tmp_path):
    _, folder, _, expected = case
    girih.convert(folder, tmp_path / "ours", to="girih")
    assert worst(girih.load(tmp_path / "ours", "exact").logits(PROMPTS), expected) <= TOLERANCE
    girih.convert(tmp_path / "ours", tmp_path / "back")
    before, after = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "back"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype and torch.equal(value, after[name]), name
    one, other = (json.loads((f / "config.json").read_text()) for f in (folder, tmp_path / "back"))
    assert one == other


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dtypes_survive_the_way_back(dtype, tmp_path):
    model = reference_model(ROWS["gpt2"]).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path / "there")
    girih.convert(tmp_path / "there", tmp_path / "ours", to="girih")
    girih.convert(tmp_path / "ours", tmp_path / "back")
    before, after = (load_file(tmp_path / f / "model.safetensors") for f in ("there", "back"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype and torch.equal(value, after[name]), name


def test_transformers_reads_what_we_write(case, tmp_path):
    _, folder, model, expected = case
    girih.convert(folder, tmp_path / "ours", to="huggingface")
    again = type(model).from_pretrained(tmp_path / "ours")
    for parameter in again.parameters():  # mapped at odd addresses, where products round otherwise
        parameter.data = parameter.data.clone()
    assert worst(reference_logits(again), expected) == 0


def test_parameters_are_those_of_the_reference(case):
    _, folder, model, _ = case
    kept = model.state_dict()
    buffers = sum(value.numel() for name, value in model.named_buffers() if name in kept)
    assert cost(girih.spec_of(folder)).parameters == model.num_parameters() + buffers


def test_fast_is_near_exact(case):
    _, folder, _, expected = case
    fast = girih.load(folder, "fast").logits(PROMPTS)
    pairs = zip(fast, expected, strict=True)
    apart = torch.cat([(mine - its).abs().amax(-1) / its.abs().max() for mine, its in pairs])
    # Where a rounding chooses another expert, that token gets something else.
    routed = any(".experts." in name for name in girih.spec_of(folder).tensors())
    assert (apart >= 0.25).float().mean() <= (0.1 if routed else 0)
    assert worst(girih.load(folder, girih.Plan(dtype="float32")).logits(PROMPTS), expected) <= 1e-4


def test_shards_are_read(tmp_path):
    model = reference_model(ROWS["llama"])
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    got = girih.load(tmp_path, "exact").logits(PROMPTS)
    assert worst(got, reference_logits(model)) <= TOLERANCE


def test_both_spellings_of_rope_are_read(tmp_path):
    reference_model(ROWS["llama-3"]).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    joined = girih.spec_of(tmp_path)
    settings = config.pop("rope_parameters")
    config |= {"rope_theta": settings.pop("rope_theta"), "rope_scaling": settings}
    path.write_text(json.dumps(config))
    assert girih.spec_of(tmp_path) == joined
    config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")
    path.write_text(json.dumps(config))
    assert girih.spec_of(tmp_path) == joined


def test_a_gpt2_folder_without_its_prefix(tmp_path):
    model = reference_model(ROWS["gpt2"])
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(path).items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 128, 128)
    save_file(tensors, path)
    got = girih.load(tmp_path, "exact").logits(PROMPTS)
    assert worst(got, reference_logits(model)) <= TOLERANCE


def test_a_copy_of_a_tied_head(tmp_path):
    model = reference_model(ROWS["llama-tied"])
    model.save_pretrained(tmp_path / "there")
    path = tmp_path / "there" / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, path)
    girih.convert(tmp_path / "there", tmp_path / "ours", to="girih")
    girih.convert(tmp_path / "ours", tmp_path / "back")
    assert load_file(tmp_path / "back" / "model.safetensors").keys() == tensors.keys()
    tensors["lm_head.weight"][3, 3] += 1
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"lm_head\.weight differs from model\.embed_tokens"):
        girih.load(tmp_path / "there")


def mistral(**more):
    return spec_from_config(SIZE | dict(model_type="mistral") | more)


def test_windows_of_configs():
    """A missing window of Mistral's means 4096, a null one none."""
    assert mistral(sliding_window=None) == mistral(sliding_window=128) == mistral()
    window = mistral(sliding_window=127).stacks[0].layers[0].branches[0].mixer.mask
    assert window == Sliding(left=126), "the token counts itself"
    longer = mistral(max_position_embeddings=4097).stacks[0].layers[2].branches[0].mixer.mask
    assert longer == Sliding(left=4095)
    qwen = SIZE | dict(model_type="qwen2", sliding_window=64)
    assert spec_from_config(qwen) == spec_from_config(qwen | dict(use_sliding_window=False))
    used = spec_from_config(qwen | dict(use_sliding_window=True, max_window_layers=2))
    masks = [layer.branches[0].mixer.mask for layer in used.stacks[0].layers]
    assert masks == [Causal(), Causal(), Sliding(left=63)]
    for wrong, words in (
        (dict(sliding_window=0), "sliding_window 0 is below one"),
        (dict(layer_types=["sliding_attention"] * 2, sliding_window=5), "2 layer_types for 3"),
        (dict(layer_types=["chunked_attention"] * 3), "layer_types chunked_attention is not"),
        (dict(layer_types=["sliding_attention"] * 3, sliding_window=None), "no sliding_window"),
    ):
        with pytest.raises(ValueError, match=words):
            mistral(**wrong)


def test_an_absent_window_is_that_of_the_reference_library():
    """4096 where layers have one in any case; a null is refused, for it would be no window."""
    for name in ("gemma2", "gemma3_text", "cohere2"):
        config = SIZE | dict(model_type=name, head_dim=8, max_position_embeddings=9000)
        first = spec_from_config(config, ignore=["rms_norm_eps"]).stacks[0].layers[0]
        (mask,) = {b.mixer.mask for b in leaves(first) if isinstance(b.mixer, Attention)}
        assert mask == Sliding(left=4095), name
        with pytest.raises(ValueError, match="sliding_attention, but no sliding_window"):
            spec_from_config(config | dict(sliding_window=None))


def leaves(layer):
    return [one for branch in layer.branches for _, one in branch.leaves("")]


def gemma4(**more):
    return spec_from_config(GEMMA4_SIZE | dict(model_type="gemma4_text") | more)


def test_gemma_4_writes_its_far_heads_in_two_ways():
    """Once for all, as it was published, or layer by layer, as the reference library saves it."""
    every = {str(index): dict(head_dim=16, num_key_value_heads=3) for index in (1, 3, 5)}
    config = dict(attention_k_eq_v=True, num_global_key_value_heads=3)
    assert gemma4(**config) == gemma4(**config, per_layer_config=every)
    last = dict(layer_types=["sliding_attention"] * 6)
    masks = [layer.branches[0].mixer.mask for layer in gemma4(**last).stacks[0].layers]
    assert masks == [Sliding(left=7)] * 5 + [Causal()], "the last layer sees all"
    for wrong, words in (
        (dict(enable_moe_block=True), "the layers have experts, which are not supported yet"),
        (dict(use_bidirectional_attention="all"), "use_bidirectional_attention 'all' is not"),
        (dict(num_kv_shared_layers=6), r"layers\.0\.attn: no layer before it keeps keys"),
        (dict(vocab_size_per_layer_input=96), "of_layers: vocab 96 is below that of 97"),
        (dict(rope_parameters=dict(full_attention={})), "the key sliding_attention is missing"),
    ):
        with pytest.raises(ValueError, match=words):
            gemma4(**wrong)


def test_keys_of_layers_that_borrow_them_are_passed_over(tmp_path):
    """Some trainers leave them in the file; those of other layers are left over, and refused."""
    reference_model(ROWS["gemma4"]).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    for part in ("k_proj", "v_proj", "k_norm"):
        tensors[f"model.layers.5.self_attn.{part}.weight"] = torch.ones(3, 3)
    save_file(tensors, path)
    assert girih.load(tmp_path, "exact").generate([[5, 6]], max_tokens=1)
    tensors["model.layers.1.self_attn.k_proj.bias"] = torch.ones(3)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"layers\.1\.self_attn\.k_proj\.bias has no place"):
        girih.load(tmp_path)


def test_gemma_2_caps_unless_a_null_says_no():
    config = SIZE | dict(model_type="gemma2", head_dim=8, sliding_window=8)
    caps = [dict(), dict(attn_logit_softcapping=None, final_logit_softcapping=None)]
    stacks = [spec_from_config(config | more).stacks[0] for more in caps]
    assert [s.layers[0].branches[0].mixer.softcap for s in stacks] == [50.0, None]
    assert [s.head.softcap for s in stacks] == [30.0, None]
