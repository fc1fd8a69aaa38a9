"""Tests of scripts/fetch-onnxruntime with a wheel made here in place of the one that pip would download."""

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import io
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch-onnxruntime"
CONTENT = b"not really a library"


def load_script():
    loader = importlib.machinery.SourceFileLoader("fetch_onnxruntime", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    # dataclasses look the module up there. No compiled copy is left beside the script.
    with mock.patch.dict("sys.modules", {loader.name: module}), mock.patch("sys.dont_write_bytecode", True):
        loader.exec_module(module)
    return module


script = load_script()
LIBRARY = script.Library("some_platform", "inside/lib.so.1", "lib.so", hashlib.sha256(CONTENT).hexdigest())


def fake_download(content, calls):
    def download(library, folder):
        calls.append(library)
        wheel = folder / "onnxruntime-0-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(library.member, content)
        return wheel

    return download


class Fetching(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "not" / "there" / "yet"
        self.calls = []

    def fetch(self, content=CONTENT):
        with (
            mock.patch.object(script, "download", fake_download(content, self.calls)),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            return script.fetch(LIBRARY, self.folder)

    def test_the_library_is_fetched_once(self):
        for _ in range(2):
            self.assertEqual(self.fetch().read_bytes(), CONTENT)
        self.assertEqual(len(self.calls), 1)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["lib.so"], "nothing else is left")

    def test_a_damaged_library_is_fetched_again(self):
        self.fetch().write_bytes(b"damaged")
        self.assertEqual(self.fetch().read_bytes(), CONTENT)

    def test_another_library_is_not_installed(self):
        with self.assertRaisesRegex(script.SetupError, "not the pinned library"):
            self.fetch(b"something else")
        self.assertEqual(list(self.folder.iterdir()), [])


class Places(unittest.TestCase):
    def test_the_cache_folder_follows_the_environment(self):
        cases = [
            ({"SENTOR_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
            ({"SENTOR_CACHE_DIR": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/sentor"),
            ({"HOME": "/c"}, "/c/.cache/sentor"),
        ]
        for environment, expected in cases:
            self.assertEqual(script.cache_folder(environment), Path(expected))
        with self.assertRaisesRegex(script.SetupError, "SENTOR_CACHE_DIR"):
            script.cache_folder({})

    def test_an_unknown_machine_is_told_which_setting_helps(self):
        with self.assertRaisesRegex(script.SetupError, "SENTOR_ONNXRUNTIME"):
            script.library_for("Linux", "riscv64")

    def test_every_library_has_its_wheel_pinned(self):
        pinned = script.REQUIREMENTS.read_text(encoding="utf-8")
        self.assertIn(f"onnxruntime=={script.VERSION}", pinned)
        self.assertEqual(pinned.count("--hash=sha256:"), len(script.LIBRARIES))


if __name__ == "__main__":
    unittest.main()
