"""Recipes that are another one with differences, and what the command line asks of a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hptl_deploy.errors import RecipeError
from hptl_train.recipe import RivalRecipe, Wishes, load_chain, load_recipe


def steps(name: str) -> list[tuple[str, str, str | None, int, float]]:
    return [
        (step.network, step.start, step.transfer, step.iterations, step.l2)
        for step in load_chain(name).steps
    ]


def test_the_rows_differ_from_hptl_by_what_the_paper_says() -> None:
    hptl = load_chain("hptl")
    assert steps("hptl-r") == [
        ("vgg19", "random", None, 120_000, 0.0),
        ("fcn32s", "vgg19", "omega_t1", 12_000, 0.5),
        ("fcn16s", "fcn32s", "omega_t2", 12_000, 0.5),
        ("fcn8s", "fcn16s", "omega_t3", 12_000, 0.5),
    ]
    assert {step.l2_reduction for step in load_chain("hptl-r").steps} == {"mean"}
    assert steps("hptl-2h") == [
        ("fcn32s", "random", None, 12_000, 0.0),
        ("fcn16s", "fcn32s", "omega_t2", 12_000, 0.0),
        ("fcn8s", "fcn16s", "omega_t3", 12_000, 0.0),
    ]
    for row in ("fcn32s", "fcn16s", "fcn8s"):
        # As many iterations on the target domain as the chain's three steps together.
        assert steps(row) == [(row, "random", None, 36_000, 0.0)]
    for row in ("hptl-r", "hptl-2h", "fcn32s", "fcn16s", "fcn8s"):
        assert load_chain(row).model_copy(update={"name": "hptl", "steps": hptl.steps}) == hptl


def test_a_difference_goes_as_deep_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nbase = "hptl"\n[input]\nscale = 3\n'
        "[target_steps]\nbatch = 4\noptimiser = { learning_rate = 0.002 }\n"
        "[source_steps]\niterations = 5\n",
        encoding="utf-8",
    )
    mine, hptl = load_chain(str(path)), load_chain("hptl")
    assert (mine.input.scale, mine.input.mean) == (3, hptl.input.mean)
    assert [step.batch for step in mine.steps] == [16, 4, 4, 4]
    assert [step.optimiser.learning_rate for step in mine.steps] == [0.001, 0.002, 0.002, 0.002]
    assert [step.iterations for step in mine.steps] == [5, 12_000, 12_000, 12_000]
    assert mine.steps[1].optimiser.betas == (0.9, 0.999)


def test_a_base_may_be_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "below.toml").write_text('name = "below"\nbase = "hptl-2h"\n', encoding="utf-8")
    (tmp_path / "above.toml").write_text(
        'name = "above"\nbase = "below.toml"\nseed = 9\n', encoding="utf-8"
    )
    above = load_chain(str(tmp_path / "above.toml"))
    assert (above.seed, above.steps) == (9, load_chain("hptl-2h").steps)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('name = "a"\nbase = "a.toml"\n', "recipe {path}: is its own base"),
        ('name = "a"\nbase = "hptk"\n', "recipe hptk: expected one of "),
        ('name = "a"\nbase = "otsu"\n', "recipe {path}: its base otsu has no steps"),
        ('name = "a"\nbase = 3\n', "recipe {path}: expected base to be a name"),
        (
            'name = "a"\nbase = "hptl"\ntarget_steps = 3\n',
            "recipe {path}: expected target_steps and source_steps to be tables",
        ),
        (
            'name = "a"\nbase = "hptl"\nsteps_kept = ["fcn4s"]\n',
            "recipe {path}: steps_kept: expected a list of vgg19, fcn32s, fcn16s, fcn8s",
        ),
        (
            'name = "a"\nsteps_kept = ["fcn8s"]\n',
            'recipe {path}: steps_kept changes a base, and base = "..." is missing',
        ),
    ],
)
def test_what_cannot_be_derived_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert str(raised.value).startswith(sentence.format(path=path))


def test_published_weights_stand_in_for_step_1(tmp_path: Path) -> None:
    chain = Wishes(vgg19_weights=str(tmp_path / "vgg19.safetensors")).chain(load_chain("hptl"))
    first = chain.steps[0]
    assert (first.network, first.start, first.transfer) == ("fcn32s", "weights", "omega_t1")
    assert first.weights == str((tmp_path / "vgg19.safetensors").resolve())
    assert [step.start for step in chain.steps[1:]] == ["fcn32s", "fcn16s"]


def test_sizes_follow_the_options() -> None:
    hptl = load_chain("hptl")
    chain = Wishes(channels="64,128,64,128,128", fc=256).chain(hptl)
    assert (chain.vgg.channels, chain.vgg.fc) == ((64, 128, 64, 128, 128), 256)
    deeplab = Wishes(width=0.25).chain(load_chain("deeplabv3plus")).deeplab
    assert deeplab is not None
    assert (deeplab.stem, deeplab.widths, deeplab.low_level) == (16, (16, 32, 64, 128), 12)
    assert deeplab.rates == (6, 12, 18)


def test_step_1_and_the_learning_rate_have_paces_of_their_own() -> None:
    wishes = Wishes(budget=0.01, source_iterations=7, one_cycle=2e-3)
    chain = wishes.chain(load_chain("hptl"))
    assert [step.iterations for step in chain.steps] == [7, 120, 120, 120]
    published = load_chain("hptl").steps
    assert chain.steps[0].optimiser == published[0].optimiser
    for step, before in zip(chain.steps[1:], published[1:], strict=True):
        schedule = step.optimiser.schedule
        assert (step.optimiser.learning_rate, schedule.name) == (2e-3, "one-cycle")
        assert step.optimiser.betas == before.optimiser.betas


def test_a_budget_scales_all_iterations_alike() -> None:
    chain = Wishes(budget=0.05).chain(load_chain("hptl"))
    assert [step.iterations for step in chain.steps] == [6000, 600, 600, 600]
    assert Wishes(budget=1e-9).chain(load_chain("fcn8s")).steps[0].iterations == 1


@pytest.mark.parametrize(
    ("recipe", "wishes", "sentence"),
    [
        ("hptl", Wishes(width=0), "--width 0: expected a factor above 0, up to 4"),
        ("hptl", Wishes(budget=0), "--budget 0: expected a factor above 0, such as 0.05"),
        (
            "hptl",
            Wishes(one_cycle=0),
            "--one-cycle 0: expected a learning rate above 0, such as 0.001",
        ),
        (
            "fcn8s",
            Wishes(source_iterations=5),
            "--source-iterations 5: recipe fcn8s has no step with a source domain",
        ),
        ("hptl", Wishes(budget=1, iterations=3), "--iterations and --budget: expected one of them"),
        (
            "hptl",
            Wishes(channels="64,128"),
            "--channels 64,128: expected five whole numbers with commas, such as "
            "64,128,256,512,512",
        ),
        (
            "fcn8s",
            Wishes(source_data="photographs"),
            "--source-data photographs: recipe fcn8s has no step with a source domain",
        ),
        (
            "hptl-2h",
            Wishes(vgg19_weights="vgg.pth"),
            "--vgg19-weights vgg.pth: recipe hptl-2h has no step with a source domain",
        ),
        (
            "hptl",
            Wishes(vgg19_weights="vgg.pth", source_data="none"),
            "--source-data and --vgg19-weights: expected one of them",
        ),
        (
            "deeplabv3plus",
            Wishes(fc=9),
            "--channels, --fc: recipe deeplabv3plus trains no VGG-19 and no FCN",
        ),
    ],
)
def test_a_wish_that_makes_no_sense_is_one_sentence(
    recipe: str, wishes: Wishes, sentence: str
) -> None:
    with pytest.raises(RecipeError) as raised:
        wishes.chain(load_chain(recipe))
    assert str(raised.value) == sentence


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"compute\.precision: Input should be 'auto', 'fp32'"):
        Wishes(precision="fp8").chain(load_chain("hptl"))


def test_a_rival_takes_a_seed_and_nothing_else() -> None:
    otsu = load_recipe("otsu")
    assert isinstance(otsu, RivalRecipe)
    assert Wishes(seed=4).rival(otsu).seed == 4
    with pytest.raises(RecipeError) as raised:
        Wishes(width=0.5, fc=3).rival(otsu)
    assert str(raised.value) == "--fc, --width: recipe otsu has no steps to change"


def test_wishes_for_many_recipes_leave_out_what_means_nothing_to_one() -> None:
    wishes = Wishes(width=0.25, fc=9, source_data="none", seed=1)
    assert wishes.fitting(load_recipe("otsu")) == Wishes(seed=1)
    assert wishes.fitting(load_recipe("fcn8s")) == replace(wishes, source_data=None)
    assert wishes.fitting(load_recipe("hptl")) == wishes
    assert wishes.fitting(load_recipe("deeplabv3plus")) == Wishes(width=0.25, seed=1)


def test_the_command_tells_no_folder() -> None:
    wishes = Wishes(recipe="hptl", vgg19_weights="/home/me/vgg19.pth", budget=0.5)
    assert wishes.command() == (
        "hptl-deploy train DATA --recipe hptl --budget 0.5 --vgg19-weights vgg19.pth"
    )
