"""Video behind the tasks: where it is shown, in which order, and what is said of folders that cannot be shown."""

import av
import numpy as np
import pytest

import envs
from envs.adapters.dmc_background import generated_frames
from envs.errors import SimulatorMissing, UserError
from envs.video_files import read


def make(task="cheetah_run", **options):
    try:
        return envs.make("dmc_background", task, 0, **{"rendering": "fast", "videos": "generated", **options})
    except SimulatorMissing as missing:
        pytest.skip(str(missing))


def film(path, greys, size=(48, 32)):
    """A video of plain grey frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for grey in greys:
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def folder(tmp_path):
    """Two videos, whose frames are told apart by their grey: 0, 10, 20, ... and 200, 205, ..."""
    film(tmp_path / "dark.mp4", range(0, 100, 10))
    (tmp_path / "more").mkdir()
    film(tmp_path / "more" / "bright.AVI", range(200, 250, 5), size=(64, 64))
    (tmp_path / "notes.txt").write_text("no video")
    return tmp_path


def shown(environment, steps):
    """The grey of the background in the upper left corner, agent step by agent step."""
    still = np.zeros(environment.action_space.shape)
    images = [environment.step(still)[0]["image"] for _ in range(steps)]
    assert all((image[0, 0] == image[0, 0, 0]).all() for image in images), "grey"
    return [int(image[0, 0, 0]) for image in images]


def test_frames_follow_each_other_from_a_random_start_and_begin_again_at_their_end(folder):
    environment = make(videos=str(folder), total_frames=20)
    order = [int(frame[0, 0]) for frame in environment._frames]
    starts = set()
    for seed in range(4):
        first = int(environment.reset(seed=seed)[0]["image"][0, 0, 0])
        greys = [first, *shown(environment, 21)]
        start = order.index(first)
        assert greys == [order[(start + i) % 20] for i in range(22)]
        starts.add(start)
    assert len(starts) > 1
    assert "20 frames of 2 videos, SHA-256" in environment.provenance["videos"]
    environment.close()


def test_every_videos_frames_are_there_in_their_order(folder):
    frames, files = read(str(folder), 50, 8, np.random.default_rng(0), "here")
    dark, bright = np.arange(0, 100, 10), np.arange(200, 250, 5)
    greys = frames[:, 4, 4].astype(int)
    for clip in greys.reshape(5, 10):
        assert np.abs(clip - (dark if clip[0] < 150 else bright)).max() <= 4  # what the codec loses
    assert len(files) == 5, "twenty frames are shown two and a half times"
    orders = {tuple(read(str(folder), 20, 8, np.random.default_rng(s), "")[1]) for s in range(8)}
    assert len(orders) == 2, "which comes first is random"


@pytest.mark.parametrize("sky", ["segmentation", "colour_key"])
def test_video_replaces_the_sky_and_nothing_else(sky):
    """The same state before two videos: it differs exactly in the background, also through an episode's motion."""
    first, second = make(sky=sky), make(sky=sky)
    second._frames = 255 - first._frames
    for environment in (first, second):
        environment.reset(seed=3)
    push = np.full(6, 0.7)
    for _ in range(15):
        one, other = (environment.step(push)[0]["image"].astype(int) for environment in (first, second))
        background = (one + other == 255).all(2)
        assert np.array_equal(one[~background], other[~background])
        assert 0.4 < background.mean() < 0.95
        _, geoms = first._renderer.picture_and_geoms(first._physics.data.ptr, 0)
        floor = geoms == first._physics.model.ptr.geom("ground").id
        assert floor.sum() > 100
        assert not background[floor].any(), "the floor is whole"
    for environment in (first, second):
        environment.close()


def test_the_colour_key_is_the_authors():
    """Blue above red and above green, in the picture without video."""
    environment = make(sky="colour_key")
    image = environment.reset(seed=3)[0]["image"]
    plain = environment._renderer.picture(environment._physics.data.ptr, 0)
    key = (plain[..., 2] > plain[..., 1]) & (plain[..., 2] > plain[..., 0])
    assert np.array_equal(image[~key], plain[~key])
    assert np.array_equal(image[key][:, 0], environment._frames[environment._start][key])
    environment.close()


def test_a_blue_floor_is_replaced_too():
    """Reacher is seen from above: without it there would be no video at all."""
    for sky in ("segmentation", "colour_key"):
        environment = make("reacher_easy", sky=sky)
        corner = environment.reset(seed=1)[0]["image"][5:20, 5:20]
        assert np.array_equal(corner[..., 0], corner[..., 2])
        assert corner.std() > 1
        environment.close()


def test_generated_video_moves_and_is_declared():
    frames = generated_frames(300, np.random.default_rng(0)).astype(int)
    assert np.abs(np.diff(frames[:250], axis=0)).mean() > 1
    assert np.abs(frames[0] - frames[250:]).mean() > 10, "another clip"
    environment = make()
    assert environment.provenance["videos"] == "generated"
    assert "generated video in place of natural video" in environment.provenance["deviations"]
    environment.close()


def test_another_seed_shows_other_videos(tmp_path):
    for number, grey in enumerate(range(0, 250, 25)):
        film(tmp_path / f"{number}.mp4", [grey] * 4)
    chosen = {tuple(read(str(tmp_path), 8, 8, np.random.default_rng(s), "")[1]) for s in range(4)}
    assert len(chosen) > 1
    same = [read(str(tmp_path), 8, 8, np.random.default_rng(7), "")[0] for _ in range(2)]
    assert np.array_equal(*same)


def test_without_videos_the_error_says_where_to_put_them():
    with pytest.raises(SimulatorMissing, match=r"Kinetics-400.*`videos`.*dmc_background\.yaml.*generated"):
        envs.make("dmc_background", "cheetah_run", 0)


def test_what_is_wrong_with_a_folder_is_said_by_name(tmp_path):
    with pytest.raises(SimulatorMissing, match=r"option videos .*nowhere is not a folder"):
        make_with(tmp_path / "nowhere")
    with pytest.raises(SimulatorMissing, match=r"holds no video \(\.avi, "):
        make_with(tmp_path)


@pytest.mark.parametrize(("content", "said"), [(b"", "cannot be read"), (b"not a video" * 99, "cannot be read")])
def test_a_broken_video_is_named(tmp_path, content, said):
    (tmp_path / "broken.mp4").write_bytes(content)
    with pytest.raises(UserError, match=rf"option videos of dmc_background: .*broken\.mp4 {said}.*repair or remove it"):
        make_with(tmp_path)


def test_a_video_that_was_cut_short_is_named(tmp_path):
    path = film(tmp_path / "cut.mp4", range(0, 200, 2))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"cut\.mp4 cannot be read"):
        read(str(tmp_path), 300, 8, np.random.default_rng(0), "here")


def make_with(folder):
    return envs.make("dmc_background", "cheetah_run", 0, videos=str(folder))
