"""Which back end renders, what is said where none can, and that renderers leave each other alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs import rendering
from envs.errors import SimulatorMissing, UserError
from envs.rendering import SKY, Renderer, choose_back_end

ROOT = Path(__file__).parents[2]
XML = """
<mujoco>
  <asset><texture type="skybox" builtin="flat" rgb1="0 0 1" width="8" height="48"/></asset>
  <visual><quality shadowsize="1024" offsamples="4"/></visual>
  <worldbody>
    <light pos="1 0 3"/>
    <geom name="floor" type="plane" size="1 1 .1" rgba=".5 .5 .5 1"/>
    <geom name="ball" size=".3" pos="0 0 .5" rgba="1 0 0 1"/>
    <camera name="side" pos="0 -3 1.4" xyaxes="1 0 0 0 .3 1"/>
  </worldbody>
</mujoco>
"""


def renderer(quality="faithful", **options):
    try:
        choose_back_end()
        import mujoco

        model = mujoco.MjModel.from_xml_string(XML)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        return Renderer(model, 32, quality, **options), data
    except SimulatorMissing as missing:
        pytest.skip(str(missing))


def test_geoms_and_sky_are_where_the_picture_shows_them():
    eye, data = renderer()
    image, geoms = eye.picture_and_geoms(data, 0)
    assert np.array_equal(image, eye.picture(data, 0)), "looking for geoms leaves the renderer as it was"
    assert set(np.unique(geoms)) == {SKY, 0, 1}
    assert (image[geoms == SKY].mean(0) > (-1, -1, 200)).all()
    red, green, blue = image[geoms == 1].mean(0)
    assert red > 3 * max(green, blue)
    assert geoms[16, 16] == 1, "the ball is in the middle"
    assert (geoms[0] == SKY).all()
    eye.close()


def test_upside_down_is_the_same_picture():
    (eye, data), (other, same) = renderer(), renderer(upside_down=True)
    assert np.array_equal(eye.picture(data, 0), other.picture(same, 0)[::-1])


def test_closing_a_renderer_leaves_the_others_pictures_alone():
    """Freed in another's context, a renderer's memory is the other's."""
    (first, data), (second, other) = renderer(), renderer("fast")
    before = second.picture(other, 0)
    first.picture(data, 0)
    first.close()
    third, another = renderer()
    assert np.array_equal(second.picture(other, 0), before)
    assert third.picture(another, 0).std() > 20
    second.close()
    third.close()


def test_fast_has_no_shadow():
    (faithful, data), (fast, other) = renderer(), renderer("fast")
    with_shadow, geoms = faithful.picture_and_geoms(data, 0)
    floor = geoms == 0
    assert with_shadow[floor].std() > fast.picture(other, 0)[floor].std() + 5


def test_what_the_user_has_set_is_respected(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert choose_back_end() == "osmesa"
    monkeypatch.setenv("MUJOCO_GL", "elg")
    with pytest.raises(UserError, match="MUJOCO_GL is 'elg', but must be one of egl, osmesa, glfw"):
        choose_back_end()


@pytest.mark.parametrize(
    ("libraries", "chosen"), [({"EGL", "OSMesa"}, "egl"), ({"OSMesa"}, "osmesa"), ({"EGL"}, "egl")]
)
def test_egl_comes_before_osmesa(monkeypatch, libraries, chosen):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "_has_egl", lambda: "EGL" in libraries)
    monkeypatch.setattr(rendering.ctypes.util, "find_library", lambda name: name if name in libraries else None)
    assert choose_back_end() == chosen
    assert os.environ["MUJOCO_GL"] == chosen


def test_without_any_library_the_error_names_debians_packages(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(SimulatorMissing, match=r"libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri .*libosmesa6"):
        choose_back_end()


def in_fresh_process(back_end):
    """Make a renderer where nothing has been imported yet; what was said on stdout and stderr."""
    code = "from tests.envs.test_rendering import renderer; eye, data = renderer(); print(eye.description)"
    inherited = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "PYOPENGL_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT, env={**inherited, "MUJOCO_GL": back_end}, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout, done.stderr


def test_a_back_end_that_does_not_work_here_is_named():
    """A window system: there is none in a test, and MuJoCo's own words would not help."""
    _, said = in_fresh_process("glfw")
    assert "MuJoCo cannot render with glfw" in said
    assert "set the environment variable MUJOCO_GL to another of egl, osmesa, glfw" in said


@pytest.mark.parametrize("back_end", ["egl", "osmesa"])
def test_every_back_end_says_what_it_is_and_ends_quietly(back_end):
    shown, said = in_fresh_process(back_end)
    if "cannot render" in said:
        pytest.skip(said.splitlines()[-1])
    assert shown.startswith(f"{back_end}: ")
    assert said == ""
