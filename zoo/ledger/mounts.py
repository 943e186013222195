"""Whether a file lies on a file system that SQLite's locks cannot be trusted on."""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"),
    *("fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "smb3", "smbfs"),
}
_MOUNTS = Path("/proc/self/mountinfo")


def on_network_file_system(path: Path) -> str | None:
    """Return the name of the file system that a file lies on, or will lie on, where that is one of a network.

    None where it is a local one, or the system does not tell: it is read from Linux's /proc/self/mountinfo.
    """
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        place = path.resolve()
    except OSError:
        return None
    deepest, found = -1, None
    for line in lines:
        # proc_pid_mountinfo(5): the fifth field is the mount point; after a hyphen stands the type.
        fields, _, rest = line.partition(" - ")
        mount = Path(_unescaped(fields.split(" ")[4]))
        # Of two at one point, the later one hides the earlier.
        if (place == mount or mount in place.parents) and len(mount.parts) >= deepest:
            deepest, found = len(mount.parts), rest.split(" ")[0]
    return found if found in _NETWORK else None


def _unescaped(text: str) -> str:
    """Return a mount point as it is; spaces and the like stand there as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
