"""Makes source archives reproducible: with SOURCE_DATE_EPOCH set, two builds are the same bytes.

Everything else that a build needs is in pyproject.toml.
"""

import gzip
import os
import tarfile
from io import BytesIO
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist


class ReproducibleSdist(sdist):
    """The command `sdist`, whose archive does not depend on who builds it, and when."""

    def make_archive(self, *arguments, **options):
        archive = super().make_archive(*arguments, **options)
        if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
            normalize(Path(archive), int(epoch))
        return archive


def normalize(archive: Path, epoch: int) -> None:
    """Rewrite a .tar.gz with one time, one owner and plain permissions for all its members."""
    rewritten = BytesIO()
    with (
        tarfile.open(archive) as original,
        gzip.GzipFile("", "wb", fileobj=rewritten, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w") as target,
    ):
        for member in sorted(original.getmembers(), key=lambda member: member.name):
            content = original.extractfile(member)
            member.mode = 0o755 if member.isdir() else 0o644
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime, member.pax_headers = epoch, {}
            target.addfile(member, content)
    archive.write_bytes(rewritten.getvalue())


setup(cmdclass={"sdist": ReproducibleSdist})
