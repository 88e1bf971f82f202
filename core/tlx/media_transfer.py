"""Images brought along into an output: copied or linked, never over anything."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Literal

from tlx.errors import DataError, UsageError
from tlx.folder_walk import has_file

Media = Literal["reference", "copy", "hardlink", "symlink"]
"""Leave images where they are, or bring them into the output in one of three ways."""


def bring(source: Path, folder: Path, name: str, media: Media) -> None:
    """Bring one image into a folder of the output.

    Args:
        source: The image file.
        folder: Where images go.
        name: Its path below ``folder``, with slashes; folders are made.
        media: How; ``reference`` does nothing.

    Raises:
        DataError: If the image is not there, its name leads out of ``folder``, or something lies
            at its place already.
        UsageError: If the file system cannot make such a link.
    """
    if media == "reference":
        return
    target = folder / name
    if ".." in target.parts or not target.is_relative_to(folder):
        raise DataError(
            f"the image {name!r} lies outside the media root.",
            place=source,
            hint="Leave the images where they are: --media reference",
        )
    if not has_file(source.parent, source.name):
        raise DataError(
            "the image is not there.",
            place=source,
            hint="Put it in its place, or leave the images where they are: --media reference",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if media == "copy":
            # Exclusive, as the links are: other threads may be bringing images too.
            with target.open("xb"):
                pass
            shutil.copyfile(source, target)
        elif media == "hardlink":
            os.link(source, target)
        else:
            target.symlink_to(source.resolve())
    except FileExistsError as error:
        raise DataError(f"two images would become {name}.", place=source) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            # The system names the image that is read, and it is the output that is full.
            raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
            raise
        raise UsageError(
            f"no {media} to {source} can be made there: {os.strerror(error.errno)}.",
            hint="Bring the images in another way: --media copy",
        ) from error
