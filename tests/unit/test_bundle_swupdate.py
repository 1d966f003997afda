"""SWUpdate's bundles: what sw-description may say, what edgekit refuses though it is signed, the device's programs."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle.archives.cpio import read_cpio, write_cpio
from edgekit.bundle.archives.types import Member
from edgekit.bundle.entries import Installation
from edgekit.bundle.swupdate import create, device_files, open_envelope
from edgekit.bundle.swupdate.description import ANY_REVISION, Description, Slots, describe, read_description
from edgekit.bundle.swupdate.libconfig import read_libconfig, write_libconfig
from edgekit.bundle.swupdate.settings import read_settings
from edgekit.bundle.types import CreateRequest, DeviceFiles, Tree
from edgekit.errors import BundleError, IntegrityError
from edgekit.keys.cms import one_form
from edgekit.keys.trust import private_key, read_trust
from tests.bundles import NOW, make_keys, make_release

pytestmark = pytest.mark.unit
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
DIGESTS = {"release.tar": "ab" * 32, "edgekit.sh": "cd" * 32}
FOLDER = Description(name="demo", version="1.2.0", hardware=("rpi4", "rpi5:1.2", "rpi5:1.3"), root="/var/lib/edgekit")
SLOTS = Description(
    name="demo", version="1.2.0-rc.1", hardware=("rpi4:1",), root="/data/edgekit",
    slots=Slots(a="/dev/disk/by-partlabel/model-a", b="/dev/mmcblk0p6", variable="model_slot"),
)  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("swupdate") / "keys")


@pytest.mark.parametrize("said", [FOLDER, SLOTS])
def test_what_is_described_is_read(said: Description) -> None:
    text = write_libconfig(describe(said, DIGESTS)).encode()
    assert read_description(text) == (said, DIGESTS)


def test_a_board_is_a_group_with_its_revisions() -> None:
    software = describe(FOLDER, DIGESTS)["software"]
    assert isinstance(software, dict)
    assert [name for name in software if name.startswith("rpi")] == ["rpi4", "rpi5"]
    boards = [software["rpi4"], software["rpi5"]]
    assert all(isinstance(board, dict) for board in boards)
    assert [board["hardware-compatibility"] for board in boards] == [(ANY_REVISION,), ("1.2", "1.3")]  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('type = "archive"', 'type = "raw"'),
        ('path = "/var/lib/edgekit/incoming/demo"', 'path = "/etc"'),
        ('data = "directory /var/lib/edgekit demo"', 'data = "directory /var/lib/edgekit demo; reboot"'),
        ('type = "shellscript"', 'type = "lua"'),
        ('"1.3"', '"#RE:.*"'),
        ('version = "1.2.0"', 'version = "1.2"'),
        ("description =", "embedded-script ="),
        ("  rpi5 = {", '  output = "/etc/passwd";\n  rpi5 = {'),
        ('sha256 = "' + "cd" * 32, 'sha256 = "' + "CD" * 32),
        ('create-destination = "true";', ""),
        ("rpi4 = {", "rpi4 = { reboot = { };"),
    ],
)
def test_a_description_with_anything_else_is_refused(old: str, new: str) -> None:
    text = write_libconfig(describe(FOLDER, DIGESTS))
    assert old in text
    for changed in {text.replace(old, new), text.replace(old, new, 1)}:
        with pytest.raises(IntegrityError, match=r"sw-description .*\.$"):
            read_description(changed.encode())


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    whole = write_libconfig(describe(FOLDER, DIGESTS))
    for changed in (text, whole + text, whole[: len(text) * 3] + text, "software = {" + text + "};"):
        try:
            group = read_libconfig(changed.encode())
        except IntegrityError:
            continue
        assert read_libconfig(write_libconfig(group).encode()) == group


@pytest.mark.parametrize("text", ["a = {" * 40, "a = " + "(" * 5000, "a = ({" * 100, 'a = "' + "x" * 300_000])
def test_depth_and_size_are_bounded(text: str) -> None:
    with pytest.raises(IntegrityError):
        read_libconfig(text.encode())


def test_a_setting_that_is_there_twice_is_refused() -> None:
    """Which of the two SWUpdate takes is nobody's to guess."""
    with pytest.raises(IntegrityError, match="sw-description says version twice"):
        read_libconfig(b'version = "1"; version = "2";')


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"mode": "c"}, "There is no mode 'c'"),
        ({}, {"slot-a": "/dev/sda1"}, "slot-a is a setting of mode=ab only"),
        ({}, {"mode": "ab", "slot-a": "/dev/sda1", "slot-b": "/dev/sda1"}, "Both slots are one device"),
        ({}, {"mode": "ab", "slot-a": "/dev/sda1 /etc"}, "--setting slot: a: "),
        ({}, {"mode": "ab", "bootenv": "a-b"}, "bootenv=a-b is no variable's name"),
        ({"hardware": ("4pi",)}, {}, "SWUpdate cannot call a board '4pi'"),
        ({"hardware": ("stable",)}, {}, "SWUpdate cannot call a board 'stable'"),
        ({"hardware": ("rpi4:1:2",)}, {}, "'rpi4:1:2' is no board with its revision"),
        ({"hardware": ("rpi4:",)}, {}, "'rpi4:' is no board with its revision"),
        ({"version": "1.0.0-" + "9" * 20}, {}, "SWUpdate cannot compare the version"),
    ],
)
def test_what_swupdate_cannot_take_is_said(changes: dict[str, object], settings: dict[str, str], message: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_settings(make_release(**changes), settings)
    assert message in caught.value.message
    assert caught.value.hint


def signed(keys: Path, folder: Path, said: str, files: dict[str, bytes]) -> bytes:
    """A .swu that the right key signed, whatever it says."""
    folder.mkdir()
    (folder / "sw-description").write_text(said)
    command = ["openssl", "cms", "-sign", "-in", "sw-description", "-outform", "DER", "-nosmimecap", "-binary"]
    command += ["-signer", str(keys / "public/cms.crt"), "-inkey", str(private_key(keys, "cms"))]
    signature = subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout
    members = {"sw-description": said.encode(), "sw-description.sig": one_form(signature, read_trust(keys)), **files}
    return write_cpio([Member(name=name, data=data) for name, data in members.items()])


@needs_openssl
def test_a_good_signature_is_not_enough(keys: Path, tmp_path: Path) -> None:
    files = {"release.tar": b"payload", "edgekit.sh": b"#!/bin/sh\n"}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    text, trust = write_libconfig(describe(FOLDER, digests)), read_trust(keys)
    opened = open_envelope(signed(keys, tmp_path / "good", text, files), trust, NOW)
    assert (opened.payload, opened.version, opened.hardware) == (b"payload", "1.2.0", FOLDER.hardware)
    assert opened.signed_by == ("cms",)
    more = 'scripts = ({ filename = "evil.sh"; type = "shellscript"; }, {'
    cases = {
        "more": (text.replace("scripts = ({", more), files, "sw-description is not|says more"),
        "unlisted": (text, {**files, "evil.sh": b"#"}, "in this order, and nothing else"),
        "order": (text, dict(reversed(files.items())), "in this order, and nothing else"),
        "payload": (
            text,
            {**files, "release.tar": b"PAYLOAD"},
            "release.tar is not the file that sw-description names",
        ),
        "hook": (text, {**files, "edgekit.sh": b"#!/bin/sh\nreboot\n"}, "edgekit.sh is not the file"),
    }
    for name, (said, present, message) in cases.items():
        with pytest.raises(IntegrityError, match=message):
            open_envelope(signed(keys, tmp_path / name, said, present), trust, NOW)


@needs_openssl
def test_two_of_one_release_differ_in_their_signature_only(keys: Path, tmp_path: Path) -> None:
    made = []
    for name in ("first", "second"):
        scratch = tmp_path / name
        scratch.mkdir()
        tree = Tree(release=make_release(), files={})
        request = CreateRequest(tree=tree, payload=b"payload", keys=keys, settings={}, scratch=scratch, now=NOW)
        made.append({member.name: member.data for member in read_cpio(create(request).read_bytes())})
    assert made[0].pop("sw-description.sig") != made[1].pop("sw-description.sig")
    assert made[0] == made[1]


def written(keys: Path, folder: Path, **settings: str) -> DeviceFiles:
    """The device's files, ROOT in ``folder``."""
    release = make_release(installation=Installation(root=str(folder / "root")))
    return device_files(release, read_trust(keys), settings)


def test_a_device_knows_its_ca_its_signer_and_its_floor(keys: Path, tmp_path: Path) -> None:
    made = written(keys, tmp_path)
    configuration = made.files["etc/swupdate.cfg"].decode()
    for line in ('cert-purpose = "codeSigning";', 'forced-signer-name = "cms";', 'no-downgrading = "1.2.0";'):
        assert line in configuration
    assert made.files["etc/hwrevision"] == b"rpi4 1\n"
    assert made.files["etc/edgekit/ca.crt"] == (keys / "public/ca.crt").read_bytes()
    assert not any(b"PRIVATE" in data for data in made.files.values())


def test_the_program_tells_floor_and_slot(keys: Path, tmp_path: Path) -> None:
    from edgekit.agent.layout import Place
    from edgekit.agent.state import Hooks, Named, State, write_state

    program = tmp_path / "program"
    program.write_bytes(written(keys, tmp_path, mode="ab").files["usr/sbin/edgekit-swupdate"])

    def told() -> str:
        return subprocess.run(["sh", program, "arguments"], capture_output=True, text=True, check=True).stdout.strip()

    assert told() == "-e stable,copy-a"
    place = Place(root=str(tmp_path / "root"), name="demo")
    Path(place.folder).mkdir(parents=True)
    write_state(place, State(history=(), hooks=Hooks(), pending=None, floor=Named("1.3.0-rc.1", "0" * 64)))
    slots = tmp_path / "root/slots/demo"
    slots.mkdir(parents=True)
    (slots / "current").symlink_to("a")
    assert told() == "-N 1.3.0-rc.1 -e stable,copy-b"


FAKES = {
    "pidof": "#!/bin/sh\nexit 1\n",
    "swupdate": f"#!{sys.executable}\n"
    "import os, pathlib, socket, time\n"
    "folder = pathlib.Path(os.environ['TMPDIR'])\n"
    "held = [socket.socket(socket.AF_UNIX) for _ in range(2)]\n"
    "for sock, name in zip(held, ('sockinstctrl', 'swupdateprog')): sock.bind(str(folder / name))\n"
    "print('[INFO ] : SWUPDATE successful !', flush=True)\n"
    "time.sleep(60)\n",
    "swupdate-client": "#!/bin/sh\nexit 0\n",
}
"""As far as edgekit-swupdate sees them."""


@pytest.fixture
def short() -> Iterator[Path]:
    """The path of a socket in it has at most 107 bytes, which pytest's own folders may use up."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        yield Path(folder)


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_what_others_left_in_tmp_is_not_written_to(keys: Path, tmp_path: Path, short: Path) -> None:
    """Root's edgekit-swupdate, and a folder in /tmp with links in it that somebody else made."""
    program, tmp, victim = tmp_path / "program", short, tmp_path / "victim"
    program.write_bytes(written(keys, tmp_path).files["usr/sbin/edgekit-swupdate"])
    for name, text in FAKES.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    planted = tmp / "edgekit-swupdate"
    planted.mkdir(parents=True)
    for name in ("log", "lock"):
        (planted / name).symlink_to(victim)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tmp)}
    bundle = tmp_path / "a.swu"
    command = ["sh", str(program), "install", str(bundle)]
    missing = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stderr) == (1, f"edgekit: FAILED: {bundle} is no file that can be read.\n")
    bundle.touch()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[INFO ] : SWUPDATE successful !\n"), done.stderr
    assert not victim.exists()
    assert list(tmp.iterdir()) == [planted], "nothing of its own stays"
    usage = subprocess.run(command[:3], env=environment, capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert "edgekit-swupdate install FILE" in usage.stderr


def monitored(name: str, action: int, *, status: int) -> str:
    """What `swupdate-ipc monitor` prints of one update: START, its end, DONE."""
    info = f'{{ "update": "forced", "part": "bApp", "version": "1.3.0", "name": "{name}", "id" : "{action}" }}'
    fields = '"dwl_percent": 0, "nsteps": 3, "source": 2'
    start, *ends = (f'[{{ "magic": 0, "status": {number}, {fields} }}' for number in (1, status, 6))
    return "".join(f"{line}\n" for line in (f"{start}, {info}]", *(f"{end}]" for end in ends)))


@pytest.mark.parametrize("full", [False, True])
def test_hawkbit_is_told_of_models_that_were_installed_and_of_nothing_else(
    keys: Path, tmp_path: Path, *, full: bool
) -> None:
    program, asked, action = tmp_path / "program", tmp_path / "asked", tmp_path / "root/swupdate.action"
    program.write_bytes(written(keys, tmp_path).files["usr/sbin/edgekit-swupdate"])
    fake = tmp_path / "bin/swupdate-ipc"
    fake.parent.mkdir()
    answer = f'echo "$*" >>{asked}; echo "Server returns ACK"'
    begun = f"until grep -qs hawkbitcfg {asked}; do sleep 0.02; done; cat {tmp_path}/said; exec sleep 60"
    fake.write_text(f"#!/bin/sh\ncase $1 in monitor) {begun} ;; *) {answer} ;; esac\n")
    fake.chmod(0o755)
    success, failure = 3, 4
    messages = monitored("system", 7, status=success) + monitored("demo", 8, status=failure)
    (tmp_path / "said").write_text(messages + monitored("demo", 9, status=success))
    action.parent.mkdir()
    action.write_text("6\n")  # of before a reboot
    if full:  # nothing can be noted
        action.with_name("swupdate.action.new").mkdir()
    with subprocess.Popen(["sleep", "60"]) as daemon:
        command = ["sh", str(program), "follow", str(daemon.pid)]
        environment = {"PATH": f"{fake.parent}:{os.environ['PATH']}"}
        with subprocess.Popen(command, env=environment) as follower:
            assert daemon.wait(10) == -signal.SIGTERM
        assert follower.returncode == 0
    said = "2 success closed demo  is active"
    told = [f"sendtohawkbit 6 {said}", "hawkbitcfg -e", f"sendtohawkbit 9 {said}"]
    assert asked.read_text().splitlines() == told
    assert not action.exists()


@pytest.fixture
def hook(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The hook of a .swu as SWUpdate calls it."""
    path = Path(__file__).parents[2] / "edgekit/bundle/swupdate/hook.sh"

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["sh", path, *words], capture_output=True, text=True, check=False, cwd=tmp_path)

    return run


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_the_hook_is_quiet_unless_something_failed(
    hook: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    incoming = tmp_path / "incoming/demo"
    for status in (0, 3):
        assert hook("preinst", "directory", str(tmp_path), "demo").returncode == 0
        assert not incoming.exists()
        incoming.mkdir()
        # suricatta puts it into JSON as it is: no colours, no half characters, no quotes
        (incoming / "install.sh").write_text(f"printf 'said\\033: \\303\\042%s\\n' \"$*\" >&2; exit {status}\n")
        done = hook("postinst", "directory", str(tmp_path), "demo")
        assert done.returncode == status
        assert (done.stderr if status else done.stdout) == f"said: --root {tmp_path}\n"
        assert (done.stdout if status else done.stderr) == ""
        assert not incoming.exists()


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_what_others_are_called_is_in_no_model_s_way(
    hook: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    for name in ("demo.log", "demo.lock", "demo"):  # the first two were killed behind their preinst
        assert hook("preinst", "directory", str(tmp_path), name).returncode == 0
        (tmp_path / "incoming" / name).mkdir()
    (tmp_path / "incoming/demo/install.sh").touch()
    assert hook("postinst", "directory", str(tmp_path), "demo").returncode == 0


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_the_hook_never_fills_the_active_slot(
    hook: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    (tmp_path / "slots/demo").mkdir(parents=True)
    (tmp_path / "slots/demo/current").symlink_to("b")
    done = hook("preinst", "ab", str(tmp_path), "demo", "b", "/dev/none")
    assert done.returncode == 1
    assert done.stderr.startswith("edgekit: FAILED: slot b is the active one; install into the other")
    assert hook("preinst", "ab", str(tmp_path), "demo", "a", "/dev/none").returncode == 0
