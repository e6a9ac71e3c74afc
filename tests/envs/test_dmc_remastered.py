"""DMC Remastered in place: the picture of a simulator built anew for the same seeds, at a fraction of the cost."""

import csv
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import envs
from envs import control, rendering, visuals
from envs.adapters import dmc_remastered
from envs.contract import trajectory
from envs.errors import SimulatorMissing, UserError
from envs.textures import MANIFEST, VARIABLE, Folder, Generated

SAMPLES = Path(__file__).parent / "data" / "dmcr"
EVERYTHING = visuals.FACTORS


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Six of DMC Remastered's own textures."""
    path = tmp_path_factory.mktemp("manifest") / "six.csv"
    with MANIFEST.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if (SAMPLES / row["path"]).exists()]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return Folder(SAMPLES, path)


def make(task, textures=None, **options):
    vary = tuple(options.pop("vary", EVERYTHING))
    textures = textures or Generated()
    try:
        return dmc_remastered.Remastered(
            task,
            0,
            textures,
            vary,
            options.pop("visual_seeds", (1, 1_000_000)),
            options.pop("dynamics_seeds", (1, 100_000)),
            options.pop("rendering", "faithful"),
            500,
            False,
        )
    except SimulatorMissing as missing:
        pytest.skip(str(missing))


def rebuilt(environment, task, textures, shadow_size):
    """The picture of the environment's state by a simulator whose XML was written for its look."""
    import mujoco

    domain, look = control.domain_of(task)[0], environment.look
    numbers = lambda values: " ".join(map(repr, map(float, values)))  # noqa: E731

    def edit(trees):
        dmc_remastered.prepare(trees, domain, EVERYTHING)
        assets = trees["materials"][0]
        assets.find("material[@name='grid']").set("reflectance", repr(look.reflectance))
        for name in ("self", "effector", "target"):
            colour = look.body if name == "self" else getattr(look, name)
            assets.find(f"material[@name='{name}']").set("rgba", numbers(colour))
        for name in ("ambient", "diffuse", "specular"):
            trees["visual"].find(".//headlight").set(name, numbers(getattr(look, name)))
        trees["visual"].find(".//quality").set("shadowsize", str(shadow_size))
        camera, light = (next(trees["model"].iter(kind)) for kind in ("camera", "light"))
        camera.set("pos", numbers(look.camera))
        if look.euler:
            camera.set("euler", numbers(look.euler))
        if look.tilt:
            camera.set("xyaxes", f"1 0 0 0 {look.tilt} 1")
        for name, value in (
            ("pos", look.light), ("diffuse", look.light_diffuse), ("specular", look.light_specular)
        ):  # fmt: skip
            if value:
                light.set(name, numbers(value))

    model, files = control.scene(task, edit)
    for name, image in (("sky.png", textures.sky(look.sky)), ("floor.png", textures.floor(look.floor))):
        files[name] = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    built = mujoco.MjModel.from_xml_string(model.decode(), files)
    for field in ("geom_rgba", "geom_size", "geom_pos", "site_size", "site_pos"):  # which a task changes by itself
        getattr(built, field)[:] = getattr(environment._physics.model, field)
    data = mujoco.MjData(built)
    data.qpos[:] = environment._physics.data.qpos
    data.mocap_pos[:] = environment._physics.data.mocap_pos
    mujoco.mj_forward(built, data)
    renderer = rendering.Renderer(built, control.SIZE, "faithful")
    picture = renderer.picture(data, control.CAMERA)
    renderer.close()
    return picture


# A task of every domain.
@pytest.mark.parametrize("task", {control.domain_of(task)[0]: task for task in envs.tasks("dmc_remastered")}.values())
def test_the_picture_is_that_of_a_rebuilt_simulator(task, samples):
    environment = make(task, samples)
    environment.reset(seed=1)
    image = environment.reset(seed=2)[0]["image"].astype(int)
    difference = np.abs(image - rebuilt(environment, task, samples, shadow_size=2048))
    assert difference.max() <= 2
    assert difference.mean() < 0.01
    environment.close()


def test_the_size_of_the_shadow_map_hardly_shows(samples):
    environment = make("cheetah_run", samples)
    for seed in (1, 2, 3):
        image = environment.reset(seed=seed)[0]["image"].astype(int)
        assert environment.look.shadow_size != 2048
        difference = np.abs(image - rebuilt(environment, "cheetah_run", samples, environment.look.shadow_size))
        assert difference.mean() < 0.1
    environment.close()


def test_a_reset_costs_a_fraction_of_building_the_simulator():
    """Processor time: the machine may be busy."""
    environment = make("cheetah_run")

    def rebuild():
        started = time.process_time()
        make("cheetah_run").close()
        return time.process_time() - started

    def reset():
        started = time.process_time()
        environment.reset()
        return time.process_time() - started

    assert np.median([rebuild() for _ in range(3)]) > 2.5 * np.median([reset() for _ in range(5)])
    environment.close()


def test_a_visual_seed_is_dmc_remastereds():
    """What `get_assets` and `get_model` of QData/dmc_remastered at commit cec0684 give for visual seed 13."""
    look = visuals.draw("cheetah", 13, skies=119, floors=383)
    assert (look.sky, look.floor) == (33, 148)  # pexels-photo-1374295.png and the floor, in files sorted by name
    assert look.reflectance == 0.34262899648226847
    assert look.body == (0.8493361613899302, 0.1857241738737354, 0.2305586089654681, 0.9210204795040277)
    assert look.effector == (0.22516293556211264, 0.734023602212773, 0.13021302275975688, 0.7867899795421045)
    assert look.target == (0.21390753049174072, 0.29465675376336253, 0.4315803283922126, 0.8828286879617546)
    assert look.ambient == (0.6971997721397374, 0.6378027966485179, 0.6639432427462244)
    assert look.diffuse == (0.5476121068097453, 0.5353030832122694, 0.5345645285767722)
    assert look.specular == (0.2663813411462089, 0.274564271705946, 0.2683421570647289)
    assert look.shadow_size == 1810
    assert look.camera == (-0.12049575414226321, -2.925896802814185, 0.09204095900805537)
    assert look.light == (1.3973446455597207, -1.2571033045050584, 1.9222344358618724)
    hopper = visuals.draw("hopper", 13, skies=119, floors=383)
    assert hopper.camera == (-0.07229745248535792, -2.7258968028141854, 0.8736327672064443)
    assert hopper.euler == (93.4933616138993, -3.142758261262646, -2.694413910345319)
    assert (hopper.sky, hopper.light) == (33, None)


def test_looks_change_with_every_episode_and_the_dynamics_do_not_know():
    environment = make("walker_run", rendering="fast", dynamics_seeds=(7, 7))
    pictures, rewards, looks = set(), set(), set()
    for _ in range(3):
        pictures.add(environment.reset()[0]["image"].tobytes())
        looks.add(environment.look)
        rewards.add(tuple(environment.step(np.full(6, 0.5))[1] for _ in range(20)))
    assert (len(pictures), len(looks), len(rewards)) == (3, 3, 1)
    environment.close()


@pytest.mark.parametrize("factor", EVERYTHING)
def test_a_factor_varies_alone(factor):
    """Reacher shows all of them: its target, too."""
    options = {"rendering": "fast", "dynamics_seeds": (7, 7)}
    plain, varied = make("reacher_easy", vary=(), **options), make("reacher_easy", vary=(factor,), **options)
    first, second = plain.reset()[0]["image"].astype(int), varied.reset()[0]["image"].astype(int)
    # Neither sky nor, without reflections, reflectance is in sight from above.
    seen = factor not in ("bg", "reflectance")
    assert (np.abs(first - second).mean() > 0.5) == seen
    for environment in (plain, varied):
        environment.close()


def test_visual_seed_0_is_the_suites_own_look():
    original, other = make("cheetah_run", visual_seeds=(0, 0), rendering="fast"), make("cheetah_run", rendering="fast")
    assert original.look is None
    image = original.reset(seed=0)[0]["image"].astype(int)
    assert original.look is None
    assert image[0].std(0).max() < 6, "a plain sky, but for its stars"
    assert trajectory(original, 0, 3) != trajectory(other, 0, 3)
    for environment in (original, other):
        environment.close()


def test_without_textures_the_error_says_how_to_get_them(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SimulatorMissing, match=r"git clone .* checkout cec0684.*`textures`.*DMCR_TEXTURES.*generated"):
        envs.make("dmc_remastered", "cheetah_run", 0)


@pytest.mark.parametrize("options", [{"vary": ["camera", "light"]}, {"visual_seeds": [0, 0]}])
def test_where_no_texture_is_seen_none_is_needed(monkeypatch, options):
    monkeypatch.delenv(VARIABLE, raising=False)
    environment = envs.make("dmc_remastered", "walker_run", 0, rendering="fast", **options)
    like = make("walker_run", rendering="fast", **{key: tuple(value) for key, value in options.items()})
    assert trajectory(environment, 5, 3) == trajectory(like, 5, 3)
    assert environment.provenance["deviations"] == ["rendered without shadows, reflections and multisampling"]
    for one in (environment, like):
        one.close()


@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_folder_without_all_textures_is_refused(tmp_path, monkeypatch, way):
    monkeypatch.setenv(VARIABLE, str(SAMPLES))
    options = {"textures": str(SAMPLES)} if way == "option" else {}
    with pytest.raises(SimulatorMissing, match=r"496 of the 502 textures .* are not in .*dmcr.*git clone"):
        envs.make("dmc_remastered", "cheetah_run", 0, **options)
    with pytest.raises(SimulatorMissing, match="does not exist"):
        envs.make("dmc_remastered", "cheetah_run", 0, textures=str(tmp_path / "nowhere"))


def test_a_changed_texture_is_named(samples, tmp_path):
    folder = shutil.copytree(SAMPLES, tmp_path / "dmcr")
    changed = folder / "floors" / "grass_grass_0096_01_thumb.png"
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(SimulatorMissing, match=r"1 of the 6 .* first is floors/grass_grass_0096_01_thumb.png.*SHA-256"):
        Folder(folder, samples.manifest)


def test_generated_textures_are_asked_for_by_name_and_declared():
    environment = make("cheetah_run", rendering="fast")
    assert environment.provenance["textures"] == "generated"
    assert environment.provenance["deviations"][-1] == "generated textures in place of DMC Remastered's"
    textures = Generated()
    pictures = [textures.sky(index) for index in range(3)]
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert min(picture.std((0, 1)).max() for picture in pictures) > 10
    environment.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vary": ["bg", "sky"]}, r"option vary is \['bg', 'sky'\], but must be a list of some of bg, floor, body"),
        ({"vary": "bg"}, "option vary is 'bg'"),
        ({"vary": ["bg", "bg"]}, "option vary is"),
        ({"visual_seeds": [0, 5]}, r"option visual_seeds is \[0, 5\].* from 1 to 4294967295, or \[0, 0\]"),
        ({"visual_seeds": [5, 1]}, "option visual_seeds"),
        ({"dynamics_seeds": [1]}, r"option dynamics_seeds is \[1\], but must be \[first, last\]"),
        ({"dynamics_seeds": [1, True]}, "option dynamics_seeds"),
        ({"textures": 5}, "option textures is 5, but must be text"),
        ({"rendering": "best"}, "option rendering is 'best', but must be one of faithful, fast"),
    ],
)
def test_a_wrong_option_is_told_with_what_is_allowed(options, said):
    with pytest.raises(UserError, match=said):
        envs.make("dmc_remastered", "cheetah_run", 0, **{"textures": "generated", **options})
