"""The kit for pytest: a class for each kind of plugin, and a test for each of its checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tlx.testing.conformance import Check, ConformanceError, Kind, checks_for
from tlx.testing.trial import NAMES, Trial, Values


class _Checks:
    """What the classes share; see `FormatChecks`."""

    kind: ClassVar[Kind]
    plugin: ClassVar[Any]
    expected_failures: ClassVar[Mapping[str, str]] = {}
    only: ClassVar[tuple[str, ...]] = ()

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make a test of every check."""
        import pytest

        if "check" not in metafunc.fixturenames:
            return
        checks = checks_for(self.kind)
        named = {*self.expected_failures, *self.only}
        unknown = sorted(named - {check.name for check in checks})
        if unknown:
            raise pytest.UsageError(f"{type(self).__name__}: there is no check {unknown[0]!r}.")
        metafunc.parametrize(
            "check",
            [
                pytest.param(c, id=c.name, marks=self._marks(c))
                for c in checks
                if not self.only or c.name in self.only
            ],
        )

    def _marks(self, check: Check) -> list[Any]:
        import pytest

        reason = self.expected_failures.get(check.name)
        if reason is None:
            return []
        return [pytest.mark.xfail(reason=reason, raises=ConformanceError, strict=True)]

    def test_conformance(self, check: Check, tmp_path: Path) -> None:
        """Run one check."""
        check.run(self.trial(tmp_path))

    def trial(self, room: Path) -> Trial:
        """The plugin with what its class says about it."""
        return Trial(self.plugin, room)


class SourceChecks(_Checks):
    """Checks of a source.

    Attributes:
        plugin: The source.
        read_options: Options for every reading, as plain values.
        expected_failures: Check to reason, for promises that the plugin knowingly breaks; such a
            test must fail, so that the entry goes when the reason does.
    """

    kind = "source"
    read_options: ClassVar[Values] = {}

    def material(self, folder: Path) -> Path:
        """Put something that the source recognises below a folder; returns what to read."""
        raise NotImplementedError(f"{type(self).__name__} has to define material(folder).")

    def trial(self, room: Path) -> Trial:
        """The source with its material."""
        return Trial(self.plugin, room, make=self.material, read_options=self.read_options)


class FormatChecks(_Checks):
    """Checks of a format.

    Three lines are enough::

        class TestMyFormat(FormatChecks):
            plugin = MyFormat()

    Attributes:
        plugin: The format.
        read_options: Options for every reading, as plain values.
        write_options: Options for every writing, such as ``{"media": "copy"}``.
        returns_anyway: Fields that the traits declare as dropped and that come back to tlx all the
            same, with the reason to declare them (other readers do not see them).
        added_attributes: Attributes that the reader adds to what was written.
        classes: Seven names of classes for the samples, if the format cannot hold what XML, CSV
            and YAML take for their own; refusing others with an error of tlx is no fault.
        expected_failures: Check to reason, for promises that the plugin knowingly breaks; such a
            test must fail, so that the entry goes when the reason does.
        only: Names of checks to run, for a second class with other options; all by default.
    """

    kind = "format"
    read_options: ClassVar[Values] = {}
    write_options: ClassVar[Values] = {}
    returns_anyway: ClassVar[Mapping[str, str]] = {}
    added_attributes: ClassVar[tuple[str, ...]] = ()
    classes: ClassVar[tuple[str, ...]] = NAMES

    def judge(self, output: Path) -> Mapping[str, int]:
        """Count the objects of each class with another reader of the format, if there is one."""
        raise NotImplementedError(f"nobody but tlx reads {output}.")

    def trial(self, room: Path) -> Trial:
        """The format with what its class says about it."""
        return Trial(
            self.plugin,
            room,
            read_options=self.read_options,
            write_options=self.write_options,
            returns_anyway=self.returns_anyway,
            added_attributes=self.added_attributes,
            classes=self.classes,
            judge=None if type(self).judge is FormatChecks.judge else self.judge,
        )


class BackendChecks(_Checks):
    """Checks of a backend; where it cannot run, those that train are skipped with its reason.

    Attributes:
        plugin: The backend.
        model: The network to train; the first of its list by default.
        train_options: Options for every training, as plain values.
        expected_failures: Check to reason, as in `FormatChecks`.
    """

    kind = "backend"
    model: ClassVar[str | None] = None
    train_options: ClassVar[Values] = {}

    def trial(self, room: Path) -> Trial:
        """The backend with its network."""
        return Trial(self.plugin, room, model=self.model, train_options=self.train_options)

    def test_conformance(self, check: Check, tmp_path: Path) -> None:
        """Run one check; without what it needs a backend has to say so, and cannot train."""
        import pytest

        found = self.plugin.availability()
        if not found.ok and check.kinds == ("backend",):
            pytest.skip(f"{self.plugin.name} cannot run here: {found.detail}")
        super().test_conformance(check, tmp_path)


class ViewerChecks(_Checks):
    """Checks of a viewer that nobody has to look at."""

    kind = "viewer"


class CommandChecks(_Checks):
    """Checks of a command: its name and options; what it does is for its own tests."""

    kind = "command"


class DecoderChecks(_Checks):
    """Checks of a decoder: what it must not take; what it makes is for its own tests."""

    kind = "decoder"
