"""Makes the Object Detection API's generated protobuf modules work with today's protobuf.

The package carries ``*_pb2.py`` files that protoc wrote in 2022; protobuf >= 4 refuses them with
"Descriptors cannot be created directly". What they say is still good: each holds its serialized
``FileDescriptorProto``. The hook reads that out of the file's syntax tree and builds the messages
from it, so nothing on disk is changed, no protoc is needed, and the fast implementation is used.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

_PACKAGE = "object_detection.protos."
_SUFFIX = "_pb2"


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a generated module from the descriptor that it holds."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of a module that builds the messages from the serialized descriptor."""
        path = self.get_filename(fullname)
        dependencies, descriptor = _contents(ast.parse(self.get_data(path)), path)
        lines = [f"from {package} import {name}" for package, name in dependencies]
        lines += [
            "from google.protobuf import descriptor_pool as _pool",
            "from google.protobuf.internal import builder as _builder",
            f"DESCRIPTOR = _pool.Default().AddSerializedFile({descriptor!r})",
            "_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())",
            f"_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, {fullname!r}, globals())",
        ]
        return compile("\n".join(lines) + "\n", path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Answers for the API's generated modules only."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec with our loader for ``object_detection.protos.*_pb2``; else None."""
        del target
        if not (fullname.startswith(_PACKAGE) and fullname.endswith(_SUFFIX)):
            return None
        for folder in path or ():
            file = Path(folder) / f"{fullname.rpartition('.')[2]}.py"
            if file.is_file():
                loader = _Loader(fullname, str(file))
                return importlib.util.spec_from_file_location(fullname, file, loader=loader)
        return None


def _contents(tree: ast.Module, path: str) -> tuple[list[tuple[str, str]], bytes]:
    """The generated modules that a generated module needs, and its serialized descriptor."""
    dependencies = []
    descriptor: bytes | None = None
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("object_detection"):
            dependencies += [(str(node.module), alias.name) for alias in node.names]
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            for keyword in node.value.keywords:
                if keyword.arg == "serialized_pb" and descriptor is None:
                    descriptor = bytes(ast.literal_eval(keyword.value))
    if descriptor is None:
        raise ImportError(f"{path} holds no serialized descriptor", path=path)
    return dependencies, descriptor


def install() -> None:
    """Put the hook first in the import system; a second call does nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
