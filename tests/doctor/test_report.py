"""The three forms of a report, from constructed facts; and that none of them names anybody."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui import __version__
from mpstui.doctor.checks import findings
from mpstui.doctor.report import as_json, as_markdown, as_text, exit_code, without_names
from mpstui.doctor.report.text import WIDTH
from mpstui.domain.conditions import Conditions, Gauge, Power
from mpstui.domain.facts import DeviceFact, DoctorFacts, TorchFacts
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import Machine, PythonEnvironment
from mpstui.domain.ops import OpResult, OpsRun, OpStatus
from mpstui.runs.privacy import _names

SECRET = "bob"
HOST = "bobs-macbook"
MACHINE = Machine(
    name="AMD EPYC",
    system="Debian GNU/Linux 12",
    arch="x86_64",
    python="3.12.4",
    python_arch="x86_64",
    translated=None,
    cores_physical=None,
    cores_logical=16,
    memory_bytes=2**35,
    torch="2.14.1",
    torchvision=None,
)
DEVICES = (
    DeviceFact(
        device="cpu", built=True, available=True, usable=True, name="AMD EPYC", milliseconds=1.734
    ),
    DeviceFact(device="cuda", built=True, available=False, usable=False, reason="no driver"),
    DeviceFact(device="hpu", built=False, available=False, usable=False, reason="not built"),
)
FACTS = DoctorFacts(
    machine=MACHINE,
    torch=TorchFacts(
        version="2.14.1+cu130",
        cuda="13.0",
        git=None,
        default_accelerator=None,
        threads=8,
        devices=DEVICES,
        import_seconds=1.9,
    ),
    torch_state="known",
)
BROKEN = DoctorFacts(
    machine=MACHINE,
    torch_state="failed",
    torch_error=f"ImportError: /home/{SECRET}/venv/lib/libtorch.so: undefined symbol: x",
)


Form = Callable[[DoctorFacts, Sequence[Finding]], str]
FORMS = (as_text, as_json, as_markdown)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The user bob, at home in /srv/secrets/bob, on his own computer."""
    monkeypatch.setattr(getpass, "getuser", lambda: SECRET)
    monkeypatch.setattr(socket, "gethostname", lambda: f"{HOST}.local")
    monkeypatch.setenv("HOME", f"/srv/secrets/{SECRET}")
    monkeypatch.setenv("USERPROFILE", f"/srv/secrets/{SECRET}")
    _names.cache_clear()
    yield monkeypatch
    _names.cache_clear()


def finding(
    status: Status,
    name: str = "torch",
    group: str = "Torch",
    summary: str | None = None,
    reason: str = "because",
) -> Finding:
    return Finding(
        id=name,
        group=group,
        status=status,
        title=name,
        summary=f"{name} is so" if summary is None else summary,
        reason=reason,
        commands=("unset X",),
    )


FINDINGS = [
    finding(Status.NOT_APPLICABLE, "apple-silicon", "Prerequisites"),
    finding(Status.OK),
    finding(Status.WARN, "vision"),
]


def test_text_is_marked_and_aligned_in_each_group() -> None:
    assert as_text(FACTS, FINDINGS).splitlines() == [
        "mpstui doctor",
        "AMD EPYC · Debian GNU/Linux 12 x86_64 · 16 threads · 32 GB · Python 3.12.4",
        "",
        "Prerequisites",
        "  · apple-silicon  apple-silicon is so",
        "",
        "Torch",
        "  ✓ torch   torch is so",
        "  ! vision  vision is so",
        "            because",
        "            $ unset X",
        "",
        "Devices",
        "  device  built  available  usable  forward+backward  name or reason",
        "  cpu     yes    yes        yes     1.73 ms           AMD EPYC",
        "  cuda    yes    no         no      —                 no driver",
        "  named by torch, not built:",
        "    hpu",
        "",
        "1 ok, 1 with a warning, 1 not applicable",
    ]


def test_text_folds_what_does_not_apply_for_the_same_reason() -> None:
    findings = [
        finding(Status.NOT_APPLICABLE, name, "Prerequisites", summary=summary)
        for name, summary in [
            ("apple-silicon", "not a Mac"),
            ("arm64", "not a Mac"),
            ("xpu", "no Intel GPU"),
            ("metal", "not a Mac"),
        ]
    ] + [finding(Status.NOT_APPLICABLE, "fallback", "Torch", summary="not a Mac")]
    lines = as_text(FACTS, findings).splitlines()
    start = lines.index("Prerequisites")
    # Only neighbours of one group are folded, so that findings keep their places.
    assert lines[start : start + 6] == [
        "Prerequisites",
        "  · apple-silicon, arm64: not a Mac",
        "  · xpu            no Intel GPU",
        "  · metal          not a Mac",
        "",
        "Torch",
    ]
    assert lines[-1] == "5 not applicable"


@pytest.mark.parametrize("status", [Status.OK, Status.WARN, Status.FAIL, Status.UNKNOWN])
def test_text_folds_nothing_that_applies(status: Status) -> None:
    findings = [finding(status, name, summary="the same") for name in ("one", "two")]
    lines = as_text(FACTS, findings).splitlines()
    assert f"  {status.mark} one  the same" in lines
    assert f"  {status.mark} two  the same" in lines


def test_text_wraps_sentences_and_leaves_commands_and_links_whole() -> None:
    sentence = " ".join(f"long-hyphened-{number}" for number in range(40))  # broken at blanks only
    command = f"python -m pip install {' '.join(f'package{number}' for number in range(20))}"
    link = f"https://pytorch.org/{'long-' * 20}page"
    wide = msgspec.structs.replace(
        finding(Status.FAIL, summary=sentence),
        reason=f"because {sentence}",
        remedy=f"do {sentence}",
        affects=f"each of {sentence}",
        commands=(command,),
        links=(link,),
    )
    lines = as_text(FACTS, [wide]).splitlines()
    shown = lines[lines.index("Torch") + 1 : lines.index("Devices") - 1]
    indent = len("  ✗ torch  ")
    assert f"{' ' * indent}$ {command}" in shown
    assert f"{' ' * indent}see {link}" in shown
    wrapped = [line for line in shown if command not in line and link not in line]
    assert max(map(len, wrapped)) <= WIDTH
    words = " ".join(line.strip() for line in wrapped)
    assert words == (
        f"✗ torch  {sentence} because {sentence} do {sentence} affects each of {sentence}"
    )
    assert all(line.startswith(" " * indent) for line in shown[1:])


def test_text_wraps_folded_titles_too() -> None:
    names = [f"a-longer-title-{number}" for number in range(12)]
    findings = [finding(Status.NOT_APPLICABLE, name, summary="not a Mac") for name in names]
    lines = as_text(FACTS, findings).splitlines()
    shown = lines[lines.index("Torch") + 1 : lines.index("Devices") - 1]
    assert len(shown) > 1
    assert max(map(len, shown)) <= WIDTH
    assert " ".join(line.strip() for line in shown) == f"· {', '.join(names)}: not a Mac"


@given(st.text(st.characters(categories=["L", "N"]), max_size=200) | st.text(max_size=200))
def test_text_survives_any_summary(summary: str) -> None:
    lines = as_text(FACTS, [finding(Status.WARN, summary=summary)]).splitlines()
    assert "           because" in lines  # under the summary, whatever that was


def test_text_explains_what_needs_attention_or_is_unknown_only() -> None:
    for status in Status:
        explained = "because" in as_text(FACTS, [finding(status)])
        assert explained == (status in (Status.WARN, Status.FAIL, Status.UNKNOWN))


def test_text_while_torch_is_probed_says_so() -> None:
    assert "  — …probing" in as_text(DoctorFacts(machine=MACHINE), []).splitlines()


def test_json_is_one_document_with_every_device() -> None:
    document = json.loads(as_json(FACTS, FINDINGS))
    assert list(document) == ["machine", "conditions", "torch", "devices", "findings", "ops"]
    assert document["conditions"] is None
    assert document["ops"] == []
    assert [device["device"] for device in document["devices"]] == ["cpu", "cuda", "hpu"]
    assert document["torch"]["state"] == "known"
    assert document["torch"]["version"] == "2.14.1+cu130"
    assert "devices" not in document["torch"]
    assert document["findings"][0]["status"] == "not applicable"


def test_json_has_surroundings_and_op_checks_once_they_are_known() -> None:
    odd = OpResult(
        case="everyday/softmax", kind="everyday", status=OpStatus.FAULTY, error=0.5, where="output"
    )
    facts = msgspec.structs.replace(
        FACTS,
        conditions=Conditions(
            variables={"OMP_NUM_THREADS": "4"}, power=Power(source="mains", saving=False)
        ),
        ops=(OpsRun(device="cpu", planned=9, done=9, everyday_sound=8, everyday_odd=(odd,)),),
    )
    document = json.loads(as_json(facts, []))
    assert document["conditions"]["variables"] == {"OMP_NUM_THREADS": "4"}
    assert document["conditions"]["power"]["source"] == "mains"
    (ops,) = document["ops"]
    assert (ops["device"], ops["everyday_sound"]) == ("cpu", 8)
    assert [(each["case"], each["status"]) for each in ops["everyday_odd"]] == [
        ("everyday/softmax", "faulty")
    ]


def test_json_holds_what_went_in_when_there_is_nobody_to_hide() -> None:
    document = json.loads(as_json(FACTS, FINDINGS))
    assert msgspec.convert(document["machine"], Machine) == MACHINE
    assert msgspec.convert(document["devices"], tuple[DeviceFact, ...]) == DEVICES
    assert msgspec.convert(document["findings"], list[Finding]) == FINDINGS


def test_markdown_has_what_needs_attention_first_and_then_tables() -> None:
    assert as_markdown(FACTS, FINDINGS).splitlines() == [
        "### mpstui doctor",
        "",
        "AMD EPYC · Debian GNU/Linux 12 x86_64 · 16 threads · 32 GB · Python 3.12.4",
        "",
        "1 ok, 1 with a warning, 1 not applicable",
        "",
        "- ⚠️ **vision**: vision is so",
        "  because",
        "  `unset X`",
        "",
        "<details><summary>Every finding</summary>",
        "",
        "| | finding | |",
        "|-|-|-|",
        "| | **Prerequisites** | |",
        "| ➖ | apple-silicon | apple-silicon is so |",
        "| | **Torch** | |",
        "| ✅ | torch | torch is so |",
        "| ⚠️ | vision | vision is so |",
        "",
        "</details>",
        "",
        "<details><summary>Devices that torch names</summary>",
        "",
        "| device | built | available | usable | forward+backward | name or reason |",
        "| - | - | - | - | - | - |",
        "| cpu | yes | yes | yes | 1.73 ms | AMD EPYC |",
        "| cuda | yes | no | no | — | no driver |",
        "| hpu | no | no | no | — | not built |",
        "",
        "</details>",
        "",
        f"mpstui {__version__}",
    ]
    assert as_markdown(FACTS, FINDINGS).endswith(f"{__version__}\n")


def test_markdown_gives_reason_remedy_commands_and_links_of_a_failure() -> None:
    failed = msgspec.structs.replace(
        finding(Status.FAIL),
        remedy="Install it.",
        commands=("pip install torch", "pip check"),
        links=("https://pytorch.org/get-started/locally/",),
    )
    lines = as_markdown(FACTS, [failed, finding(Status.UNKNOWN, "vision")]).splitlines()
    start = lines.index("- ❌ **torch**: torch is so")
    assert lines[start + 1 : start + 7] == [
        "  because",
        "  Install it.",
        "  `pip install torch`",
        "  `pip check`",
        "  https://pytorch.org/get-started/locally/",
        "",
    ]
    assert "| ❔ | vision | vision is so |" in lines
    assert not any(line.startswith("- ❔") for line in lines)


def test_markdown_without_findings_and_torch_is_still_whole() -> None:
    lines = as_markdown(DoctorFacts(machine=MACHINE), []).splitlines()
    assert lines.count("</details>") == 2
    assert not any(line.startswith("- ") for line in lines)


CELLS = st.text(
    st.characters(exclude_categories=["Cc", "Zl", "Zp"], exclude_characters="/\\~"), max_size=60
)


@given(CELLS | st.lists(CELLS, min_size=2).map(" |\n| ".join))
def test_markdown_tables_keep_their_columns_whatever_a_cell_holds(text: str) -> None:
    odd = finding(Status.OK, text, summary=text)
    device = DeviceFact(device="cuda", built=True, available=False, usable=False, reason=text)
    torch = msgspec.structs.replace(FACTS.torch, devices=(device,)) if FACTS.torch else None
    lines = as_markdown(msgspec.structs.replace(FACTS, torch=torch), [odd]).splitlines()
    (row,) = (line for line in lines if line.startswith("| ✅"))
    assert row.replace("\\|", "").count("|") == 4
    (row,) = (line for line in lines if line.startswith("| cuda"))
    assert row.replace("\\|", "").count("|") == 7


def test_markdown_tables_keep_their_columns_after_a_folder() -> None:
    lines = as_markdown(FACTS, [finding(Status.OK, summary="in /opt/torch/|x")]).splitlines()
    (row,) = (line for line in lines if line.startswith("| ✅"))
    assert row.replace("\\|", "").count("|") == 4


def test_without_torch_all_say_why_and_name_nobody(person: pytest.MonkeyPatch) -> None:
    failed = finding(Status.FAIL, summary="cannot be imported", reason=BROKEN.torch_error)
    assert "undefined symbol: x" in as_text(BROKEN, [])
    assert "undefined symbol: x" in as_markdown(BROKEN, [failed])
    parsed = json.loads(as_json(BROKEN, [failed]))
    assert parsed["devices"] == []
    assert parsed["torch"]["state"] == "failed"
    assert parsed["torch"]["error"] == "ImportError: …/libtorch.so: undefined symbol: x"
    for form in FORMS:
        assert SECRET not in form(BROKEN, [failed])


def test_only_a_failure_sets_the_exit_code() -> None:
    assert exit_code(FINDINGS) == 0
    assert exit_code([finding(Status.UNKNOWN)]) == 0
    assert exit_code([*FINDINGS, finding(Status.FAIL)]) == 1
    assert exit_code([]) == 0


# Nobody is named

NAMING = (
    f"dlopen(/srv/secrets/{SECRET}/venv/libtorch.dylib, 0x6): tried: '/scratch/secrets/c.so' (no)",
    f"permission denied for {SECRET} on {HOST}.local ({HOST})",
    f"PermissionError: [Errno 13] Permission denied: '/srv/secrets/{SECRET}'",
    f"ssh {SECRET}@{HOST}: connection refused",
    rf'File "C:\Users\{SECRET}\secrets\x.py", line 3',
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", NAMING)
@pytest.mark.parametrize(
    "place",
    ["torch_error", "summary", "reason", "remedy", "affects", "commands", "device", "gauge"],
)
def test_no_form_names_anybody_wherever_the_name_sits(
    form: Form, text: str, place: str, person: pytest.MonkeyPatch
) -> None:
    shown, facts = finding(Status.FAIL), FACTS
    if place == "torch_error":
        facts = msgspec.structs.replace(BROKEN, torch_error=text)
    elif place == "device":
        device = msgspec.structs.replace(DEVICES[1], reason=text)
        assert FACTS.torch is not None
        torch = msgspec.structs.replace(FACTS.torch, devices=(device,))
        facts = msgspec.structs.replace(FACTS, torch=torch)
    elif place == "gauge":
        gauge = Gauge(what="energy", by="RAPL", available=False, reason=text, commands=(text,))
        facts = msgspec.structs.replace(FACTS, conditions=Conditions(gauges=(gauge,)))
    elif place == "commands":
        shown = msgspec.structs.replace(shown, commands=(text,))
    else:
        shown = msgspec.structs.replace(shown, **{place: text})
    report = form(facts, [shown])
    for secret in (SECRET, HOST, "/srv", "/scratch", "secrets", "Users"):
        assert secret not in report


@pytest.mark.parametrize("form", FORMS)
def test_variables_of_the_environment_name_nobody(form: Form, person: pytest.MonkeyPatch) -> None:
    variables = {"KMP_AFFINITY": f"/home/{SECRET}/affinity"}
    facts = msgspec.structs.replace(FACTS, conditions=Conditions(variables=variables))
    assert SECRET not in form(facts, FINDINGS)


@pytest.mark.parametrize("form", FORMS)
def test_a_report_without_names_is_left_as_it_is(form: Form, person: pytest.MonkeyPatch) -> None:
    before = form(FACTS, FINDINGS)
    person.setattr(getpass, "getuser", lambda: "somebody-else")
    _names.cache_clear()
    assert form(FACTS, FINDINGS) == before
    assert "…" not in before


@pytest.mark.parametrize(
    "path",
    [
        "/home/bob",
        "'/home/bob'",
        "/Users/bob/Library/x.dylib",
        "/scratch/bob/venv/lib/x.so",
        "(/scratch/bob/x.so)",
        "LIB=/scratch/bob/x.so",
        "`/scratch/bob/x.so`",
        "/srv/secrets/bob",
        "/srv/secrets/bob/x.so",
        "~/bob/x.so",
        r"C:\Users\bob\x.dll",
        r"'C:\\Users\\bob\\x.dll'",
        r"D:\work\bob\x.dll",
        r"\\server\bob\x.dll",
        "/Volumes/My Disk/bob/x.so",
        "/a/b.so:/scratch/bob/x.so",
        "-L/scratch/bob/x.so",
        "file:///scratch/bob/x.so",
    ],
)
def test_folders_are_left_out(path: str, person: pytest.MonkeyPatch) -> None:
    person.setattr(getpass, "getuser", lambda: "alice")  # so that bob is only a folder's name
    person.setattr(socket, "gethostname", lambda: "")
    _names.cache_clear()
    cleaned = without_names(f"OSError: {path}: not found")
    assert SECRET not in cleaned
    assert cleaned.startswith("OSError: ")
    assert cleaned.endswith(": not found")
    for name in ("x.so", "x.dll", "x.dylib"):
        assert (name in cleaned) == (name in path)


FOLDER = st.from_regex(r"[A-Za-z0-9_.+@%-]{3,12}", fullmatch=True)


@given(
    st.lists(FOLDER, max_size=4),
    st.sampled_from(["", "C:"]),
    st.sampled_from(["/", "\\", "\\\\"]),
    st.sampled_from([" ", "'", '"', "(", "=", "<", "["]),
)
def test_no_absolute_folder_is_left(
    folders: list[str], drive: str, slash: str, before: str
) -> None:
    path = drive + slash + slash.join(["sEcReT", *folders, "SeCrEt", "x.so"])
    cleaned = without_names(f"OSError:{before}{path}: not found")
    assert "secret" not in cleaned.lower()
    assert cleaned.endswith("…/x.so: not found")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("bob", "…"),
        ("bob's", "…'s"),
        ("user=bob,", "user=…,"),
        ("bob@example", "…@example"),
        ("bobs-macbook.local", "…"),
        ("bobs-macbook:22", "…:22"),
        ("bobsled, bob-cat, kabob, x.bob", "bobsled, bob-cat, kabob, x.bob"),
        ("/tmp/torchinductor_bob", "…/torchinductor_…"),
        ("Bobs-MacBook.local", "…"),
    ],
)
def test_names_are_taken_out_as_words(text: str, cleaned: str, person: pytest.MonkeyPatch) -> None:
    assert without_names(text) == cleaned


def test_a_name_of_two_words_is_not_hidden_by_wrapping(person: pytest.MonkeyPatch) -> None:
    person.setattr(getpass, "getuser", lambda: "Robert Smith")
    _names.cache_clear()
    reports = [
        as_text(FACTS, [finding(Status.FAIL, reason=f"{'x' * width} denied to Robert Smith")])
        for width in range(50, 90)
    ]
    assert not any("Smith" in report for report in reports)


@pytest.mark.parametrize("name", ["root", "user", "cpu", "Linux", "ed", ""])
def test_names_that_tell_nothing_are_left(name: str, person: pytest.MonkeyPatch) -> None:
    person.setattr(getpass, "getuser", lambda: name)
    person.setattr(socket, "gethostname", lambda: name)
    _names.cache_clear()
    text = "only root may read it; a user runs cpu on Linux, edited by ed"
    assert without_names(text) == text


@pytest.mark.parametrize("error", [KeyError, OSError, ImportError])
def test_a_user_without_a_name_is_survived(
    error: type[Exception], person: pytest.MonkeyPatch
) -> None:
    def fails() -> str:
        raise error("uid 1234")

    person.setattr(getpass, "getuser", fails)
    _names.cache_clear()
    assert without_names(f"bob on {HOST}") == "bob on …"


ADDRESSES = (
    "https://pytorch.org/get-started/locally/",
    "https://github.com/pytorch/pytorch/issues/77753#issuecomment-1",
    "http://127.0.0.1:8000/a/b/c",
    "git+https://github.com/pytorch/vision.git@main",
)


def test_addresses_and_fractions_stay(person: pytest.MonkeyPatch) -> None:
    text = f"see {', '.join(ADDRESSES)} on Linux/x86_64 and/or .venv/bin/activate; ½ or 1/2/3"
    assert without_names(text) == text


@pytest.mark.parametrize("form", FORMS)
def test_links_are_whole_in_every_form(form: Form, person: pytest.MonkeyPatch) -> None:
    failed = msgspec.structs.replace(finding(Status.FAIL), links=ADDRESSES)
    report = form(FACTS, [failed])
    assert all(address in report for address in ADDRESSES)


@pytest.mark.parametrize(
    ("home", "text"),
    [
        ("/data", "https://pytorch.org/data/index.html"),
        ("/root", "see /rootless.md"),
    ],
)
def test_a_short_home_folder_spoils_nothing(
    home: str, text: str, person: pytest.MonkeyPatch
) -> None:
    person.setenv("HOME", home)
    person.setenv("USERPROFILE", home)
    assert without_names(text) == text


@pytest.mark.parametrize("form", FORMS)
def test_commands_with_a_systems_own_paths_can_be_copied(
    form: Form, person: pytest.MonkeyPatch
) -> None:
    command = "sudo chmod a+r /sys/class/powercap/intel-rapl:0/energy_uj"  # telemetry's remedy
    failed = msgspec.structs.replace(finding(Status.FAIL), commands=(command,))
    assert command in form(FACTS, [failed])


PIECES = [
    os.path.expanduser("~"),
    "/",
    "\\",
    "~",
    "C:",
    ":",
    ".",
    "-",
    " ",
    "x",
    "home",
    "https://",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join))
def test_any_text_is_survived_without_this_home(text: str) -> None:
    home = os.path.expanduser("~")
    cleaned = without_names(f"{text} {home}")
    assert len(home) == 1 or not cleaned.endswith(home)


@given(st.text(st.characters(categories=["L", "N", "Zs"])))
def test_json_is_read_back_whatever_a_text_holds(text: str) -> None:
    reason = f'"{text}"\n\\'
    document = json.loads(as_json(FACTS, [finding(Status.FAIL, summary="s", reason=reason)]))
    assert document["findings"][0]["reason"] == without_names(reason)


def test_the_interpreter_is_whole_in_lines_for_the_machine_and_hidden_in_what_is_shared(
    person: pytest.MonkeyPatch,
) -> None:
    executable = f"/srv/secrets/{SECRET}/.venv/bin/python"
    environment = PythonEnvironment(
        executable=executable, kind="venv", folder=f"/home/{SECRET}/.venv"
    )
    machine = msgspec.structs.replace(MACHINE, environment=environment)
    facts = msgspec.structs.replace(BROKEN, machine=machine, torch_error="torch is not installed")
    found = findings(facts)
    shown = as_text(facts, found, with_names=True)
    assert f"3.12.4 in .venv: {executable}" in shown
    assert f"$ {executable} -m pip install torch torchvision" in shown
    for form in FORMS:
        assert SECRET not in form(facts, found)
        assert "/bin/" not in form(facts, found)
