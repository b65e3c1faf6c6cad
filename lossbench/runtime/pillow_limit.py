"""Pillow's limit on the size of pictures, which holds for a whole process."""

from __future__ import annotations


def lift_pixel_limit() -> None:
    """Let this process decode pictures of any size.

    Only for programs that read nothing but the user's own files, as the command does: the limit
    guards its host against files of strangers.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
