"""Pictures of MuJoCo scenes, without a window, by the back end that this machine has.

EGL drives an NVIDIA card where there is one, and Mesa's software renderer elsewhere; OSMesa is that renderer without
EGL, and as fast (docs/performance.md). A `MUJOCO_GL` that is set already is respected.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import os
import weakref
from typing import Any

import numpy as np

from envs.errors import SimulatorMissing, UserError

QUALITIES = ("faithful", "fast")
PACKAGES = "libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri (EGL), or libosmesa6 (OSMesa)"
BACK_ENDS = ("egl", "osmesa", "glfw")
SKY = -1  # geom number of what no geom covers


def choose_back_end() -> str:
    """Set `MUJOCO_GL`, unless it is set, and return it; to be called before MuJoCo is imported.

    Raises SimulatorMissing where no library can render, and UserError for a `MUJOCO_GL` that is not known.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if not chosen:
        chosen = "egl" if _has_egl() else "osmesa" if ctypes.util.find_library("OSMesa") else ""
        if not chosen:
            raise SimulatorMissing(
                f"MuJoCo finds no OpenGL library to render with: install Debian's {PACKAGES}, or run in the "
                "benchmark's container image."
            )
        os.environ["MUJOCO_GL"] = chosen
    if chosen not in BACK_ENDS:
        raise UserError(
            f"the environment variable MUJOCO_GL is {chosen!r}, but must be one of {', '.join(BACK_ENDS)}, or unset: "
            "the best that the machine has is used then."
        )
    return chosen


def deviations(quality: str) -> list[str]:
    """How pictures of that quality differ from what the scene asks for."""
    return [] if quality == "faithful" else ["rendered without shadows, reflections and multisampling"]


def _has_egl() -> bool:
    """Whether EGL is installed and offers a device, a card or Mesa's software."""
    name = ctypes.util.find_library("EGL")
    if name is None:
        return False
    try:
        find = ctypes.CDLL(name).eglGetProcAddress
    except (OSError, AttributeError):
        return False
    find.restype = ctypes.c_void_p
    address = find(b"eglQueryDevicesEXT")
    if not address:
        return False
    count = ctypes.c_int(0)
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))(address)
    return bool(query(0, None, ctypes.byref(count))) and count.value > 0


class Renderer:
    """Renders one model into pictures of `size` x `size` pixels.

    quality: `faithful` is what the scene asks for; `fast` is without shadows, reflections and multisampling.
    upside_down: give the rows from bottom to top, for a camera that is mounted upside down.
    Raises SimulatorMissing if no OpenGL context can be had.
    """

    def __init__(self, model: Any, size: int, quality: str, *, upside_down: bool = False) -> None:
        back_end = choose_back_end()
        import mujoco

        self._mujoco, self._size, self._quality, self._upside_down = mujoco, size, quality, upside_down
        if quality == "fast":
            model.vis.quality.offsamples = 0
            model.vis.quality.shadowsize = 0
        # Smaller than the scene's own where that is larger: every pixel of it is cleared and resolved for each picture.
        model.vis.global_.offwidth = model.vis.global_.offheight = size
        try:
            # Not mujoco.GLContext, which is fixed when MuJoCo is first imported, by whomever.
            self._gl = importlib.import_module(f"mujoco.{back_end}").GLContext(size, size)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        except Exception as error:  # each back end has errors of its own
            raise SimulatorMissing(
                f"MuJoCo cannot render with {back_end} ({error}): install Debian's {PACKAGES}, or set the environment "
                f"variable MUJOCO_GL to another of {', '.join(BACK_ENDS)}."
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self.description = f"{back_end}: {_card()}"
        self._scene = mujoco.MjvScene(model, maxgeom=max(1000, 5 * model.ngeom))
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._model = model
        self._rectangle = mujoco.MjrRect(0, 0, size, size)
        self._plain = {mujoco.mjtRndFlag.mjRND_SHADOW: False, mujoco.mjtRndFlag.mjRND_REFLECTION: False}
        if quality == "fast":
            self._set(self._plain)
        # At the interpreter's end, too, and before the back end ends itself.
        self.close = weakref.finalize(self, _free, self._gl, self._context)

    def picture(self, data: Any, camera: int) -> np.ndarray:
        """A new uint8 (size, size, 3) array of what the camera of that number sees."""
        self._look(data, camera)
        return self._read()

    def picture_and_geoms(self, data: Any, camera: int) -> tuple[np.ndarray, np.ndarray]:
        """The picture, and int32 (size, size) with the number of the geom that each pixel's centre shows, or SKY."""
        self._look(data, camera)
        picture = self._read()
        flags = self._mujoco.mjtRndFlag
        as_they_were = {flag: self._scene.flags[flag] for flag in (*self._plain, flags.mjRND_SEGMENT)}
        self._set({**self._plain, flags.mjRND_SEGMENT: True, flags.mjRND_IDCOLOR: True})
        codes = self._read().astype(np.int32) @ (1, 256, 65536)  # 0 is nothing, else the place in the scene plus 1
        self._set({**as_they_were, flags.mjRND_IDCOLOR: False})
        shown = self._scene.geoms[: self._scene.ngeom]
        numbers = [SKY, *(geom.objid if geom.objtype == self._mujoco.mjtObj.mjOBJ_GEOM else -2 for geom in shown)]
        return picture, np.array(numbers, np.int32)[codes]

    def upload_texture(self, index: int) -> None:
        """Take over what was changed in `model.tex_data` for the texture of that number."""
        self._gl.make_current()
        self._mujoco.mjr_uploadTexture(self._model, self._context, index)

    def _look(self, data: Any, camera: int) -> None:
        self._gl.make_current()
        self._camera.fixedcamid = camera
        everything = self._mujoco.mjtCatBit.mjCAT_ALL
        self._mujoco.mjv_updateScene(self._model, data, self._option, None, self._camera, everything, self._scene)

    def _read(self) -> np.ndarray:
        rows = np.empty((self._size, self._size, 3), np.uint8)
        self._mujoco.mjr_render(self._rectangle, self._scene, self._context)
        self._mujoco.mjr_readPixels(rows, None, self._rectangle, self._context)  # from bottom to top
        return rows if self._upside_down else np.ascontiguousarray(rows[::-1])

    def _set(self, flags: dict[Any, bool]) -> None:
        for flag, value in flags.items():
            self._scene.flags[flag] = value


def _free(gl: Any, context: Any) -> None:
    """Free the scene's memory on the card in its own context: freed in another's, it takes that one's memory along."""
    gl.make_current()
    context.free()
    gl.free()


def _card() -> str:
    """What OpenGL calls the device that it renders on."""
    from OpenGL import GL

    return GL.glGetString(GL.GL_RENDERER).decode()
