from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hptl_deploy.engines.flavour import (
    FLAVOURS,
    Flavour,
    Messages,
    installed_flavours,
    load_flavour,
    new_logger,
    tidy,
)
from hptl_deploy.errors import EnvironmentLacks, HptlError, UsageError

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Each flavour that is installed."""
    try:
        return load_flavour(request.param)
    except EnvironmentLacks as exc:
        pytest.skip(str(exc))


def sentence(key: str) -> str:
    with pytest.raises(HptlError) as caught:
        load_flavour(key)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UsageError if key not in FLAVOURS else EnvironmentLacks)
    return str(caught.value)


def installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, text: str | None = None
) -> None:
    """A module of the flavour's name that holds `text`; None hides the real one."""
    module = MODULES[key]
    # Also where it was not loaded yet, so that what is loaded instead goes with the test.
    monkeypatch.setitem(sys.modules, module, None)
    if text is None:
        return
    monkeypatch.delitem(sys.modules, module)
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)


def test_an_unknown_flavour() -> None:
    assert sentence("openvino") == "engine openvino: expected tensorrt or tensorrt-rtx"


@pytest.mark.parametrize(
    ("key", "title"), [("tensorrt", "TensorRT"), ("tensorrt-rtx", "TensorRT for RTX")]
)
def test_a_flavour_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, title: str
) -> None:
    installed(tmp_path, monkeypatch, key)
    assert sentence(key) == (
        f"{title} is not installed (no module {MODULES[key]}). "
        f'Install it: pip install "hptl-deploy[{key}]"'
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise OSError('libnvinfer.so.11: cannot open\\nshared object')",
         "libnvinfer.so.11: cannot open"),
        ("raise RuntimeError('a stub; the libraries come from elsewhere')",
         "a stub; the libraries come from elsewhere"),
        ("raise ImportError", "ImportError"),
        ("", "module 'tensorrt' has no attribute '__version__'"),
    ],
)  # fmt: skip
def test_a_flavour_that_is_half_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    installed(tmp_path, monkeypatch, "tensorrt", text)
    assert sentence("tensorrt") == (
        f"TensorRT is installed but cannot be loaded ({reason}). "
        "Install it again: pip install --force-reinstall tensorrt"
    )


@pytest.mark.parametrize(
    ("key", "found", "oldest"),
    [
        ("tensorrt", "8.6.1", "10.12"),
        ("tensorrt", "10.9.0.34", "10.12"),
        ("tensorrt", "unknown", "10.12"),
        ("tensorrt-rtx", "1.1.1.26", "1.2"),
    ],
)
def test_a_flavour_that_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, found: str, oldest: str
) -> None:
    installed(tmp_path, monkeypatch, key, f"__version__ = {found!r}")
    assert sentence(key).endswith(
        f" {found} is installed, expected {oldest} or newer. "
        f"Install a newer one: pip install --upgrade {key}"
    )


def test_the_preferred_flavour_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "tensorrt-rtx", "__version__ = '1.2.0'")
    installed(tmp_path, monkeypatch, "tensorrt")
    assert [flavour.key for flavour in installed_flavours()] == ["tensorrt-rtx"]
    installed(tmp_path, monkeypatch, "tensorrt", "__version__ = '11.0.0'")
    found = installed_flavours()
    assert [(f.key, f.version) for f in found] == [
        ("tensorrt", "11.0.0"),
        ("tensorrt-rtx", "1.2.0"),
    ]
    assert [f.portable for f in found] == [False, True]


def test_an_installed_flavour(flavour: Flavour) -> None:
    assert flavour.version == flavour.trt.__version__
    assert flavour in installed_flavours()


def test_what_a_library_says_is_kept_and_not_printed(
    flavour: Flavour, capfd: pytest.CaptureFixture[str]
) -> None:
    logger, messages = new_logger(flavour)
    severity = flavour.trt.ILogger.Severity
    logger.log(severity.WARNING, "a warning")
    logger.log(severity.INTERNAL_ERROR, "Thread context has not been set! Using another.")
    assert messages.cause() == "no reason given"
    logger.log(severity.ERROR, "the cause")
    logger.log(severity.ERROR, "what came of it")
    assert messages.cause() == "the cause"
    messages.forget()
    assert messages.cause() == "no reason given"
    # An object of the library that complains: without a logger it would do so on the screen.
    assert not flavour.trt.Runtime(logger).deserialize_cuda_engine(b"no engine")
    assert messages.cause() != "no reason given"
    assert capfd.readouterr() == ("", "")


def test_endless_complaints_are_cut() -> None:
    messages = Messages()
    for number in range(5000):
        messages.add(f"error {number}")
    assert messages.cause() == "error 0"
    assert len(messages._errors) == 1000


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (x: out of bounds In "
         "processCheck at /_src/a/b.cpp:1066 In analyzeShapes at /_src/c.cpp:2825)",
         "API Usage Error (x: out of bounds)"),
        ("Invalid Node - n\nITensor::getDimensions: Error Code 4: Shape Error (not "
         "conformable In op at /_src/x.cpp:9)\n[checkMacros.cpp::catchCudaError::250] Error Code "
         "1: Cuda Runtime", "Shape Error (not conformable)"),
        ("[cudaResources.cpp::ScopedCudaStream::25] Error Code 1: Cuda Runtime (no driver)",
         "Error Code 1: Cuda Runtime (no driver)"),
        ("  two   blanks.\n", "two blanks"),
        ("", "no reason given"),
        ("x" * 301, "x" * 297 + "..."),
    ],
)  # fmt: skip
def test_a_message_becomes_one_line(text: str, line: str) -> None:
    assert tidy(text) == line
